//! The programs of nodes, built once from the Go modules `testbed/node`, `testbed/dns` and `testbed/network-policy`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{cache, control_plane, controller_manager, go, image, process::missing_tool};

const KUBERNETES: [&str; 3] = ["kube-proxy", "kube-scheduler", "kubelet"];
/// The image of the first container of each Pod. Its source is part of Kubernetes.
const PAUSE: &str = "pause";

/// Their paths.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The programs of Kubernetes, and `pause`.
    pub(super) directory: PathBuf,
    /// The controller manager of Kubernetes, which is also used without nodes.
    pub(super) controller_manager: PathBuf,
    pub(super) dns: PathBuf,
    pub(super) network_policy: PathBuf,
    pub(super) crane: PathBuf,
}

impl Programs {
    /// Finds them, or builds them, which takes some minutes once and needs the machine's network. It blocks.
    pub fn locate() -> anyhow::Result<Self> {
        let sources = go::module("node");
        let version = go::pinned(&sources, "k8s.io/kubernetes")?;
        let directory = cache::directory(&format!("node-{version}"), |directory| {
            for program in KUBERNETES {
                eprintln!("building {program} {version} (once, a minute or two) ...");
                let package = format!("k8s.io/kubernetes/cmd/{program}");
                control_plane::build_component(&sources, &directory.join(program), &package, &version)
                    .with_context(|| format!("cannot build {program}"))?;
            }
            build_pause(&sources, &directory.join(PAUSE))
        })?;
        Ok(Self {
            directory,
            controller_manager: controller_manager::locate()?,
            dns: go::build(&go::module("dns"), "coredns", "coredns")?,
            network_policy: go::build(&go::module("network-policy"), "network-policy", "network-policy")?,
            crane: image::crane()?,
        })
    }

    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    pub(super) fn pause(&self) -> PathBuf {
        self.path(PAUSE)
    }
}

fn build_pause(sources: &Path, binary: &Path) -> anyhow::Result<()> {
    let list = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"])
        .current_dir(sources)
        .output()
        .map_err(|error| missing_tool(error, "go", "Go 1.26 or later"))?;
    let module = String::from_utf8(list.stdout)?;
    let source = Path::new(module.trim()).join("build/pause/linux/pause.c");
    let status = Command::new("cc")
        .args(["-Os", "-static", "-o"])
        .args([binary, &source])
        .status()
        .map_err(|error| missing_tool(error, "cc", "the Debian packages gcc and libc6-dev"))?;
    ensure!(status.success(), "cc cannot build {} ({status}), see above", source.display());
    Ok(())
}
