//! Helm, built once from the Go modules that `testbed/helm/go.mod` pins.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, bail, ensure};

use crate::{cache, go};

const MODULE: &str = "helm.sh/helm/v4";

/// Helm for one user, independent of the configuration and caches of this machine's user.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// Helm with its files in `home`. The first use on a machine builds it, which takes a few minutes and blocks.
    /// Progress goes to standard error.
    pub fn in_home(home: &Path) -> anyhow::Result<Self> {
        Ok(Self { program: locate()?, home: home.into() })
    }

    /// Runs it with the identity of `kubeconfig`, and returns its output. Its error output becomes the error.
    pub async fn run(&self, kubeconfig: Option<&Path>, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(arguments)
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            // Use a cache of its own: it is keyed by address, and a later control plane may have the same port.
            .env("KUBECACHEDIR", self.home.join("kube-cache"))
            .env("KUBECONFIG", kubeconfig.unwrap_or(Path::new("/dev/null")))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let shown = || format!("helm {}", arguments.join(" "));
        let output = command.output().await.with_context(|| format!("cannot run {}", shown()))?;
        if !output.status.success() {
            bail!("{}: {}", shown(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn locate() -> anyhow::Result<PathBuf> {
    let sources = go::module("helm");
    let version = go::pinned(&sources, MODULE)?;
    let directory = cache::directory(&format!("helm-{version}"), |directory| {
        eprintln!("building helm {version} (once, a few minutes) ...");
        go::compile(&sources, &[], &[&format!("{MODULE}/cmd/helm")], &directory.join("helm"))
    })?;
    let program = directory.join("helm");
    ensure!(program.is_file(), "{} has no helm: remove it, it is then built again", directory.display());
    Ok(program)
}
