//! The programs of the control plane: found, or built once from the Go modules that `testbed/control-plane/go.mod` pins.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use crate::{cache, process::missing_tool};

const GO_MOD: &str = include_str!("../../control-plane/go.mod");
const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// A directory that holds `etcd`, `kube-apiserver` and `kubectl`: `KUBEBUILDER_ASSETS` if set, else the cache, which is
/// filled first if need be. That takes several minutes once; progress goes to standard error.
pub(super) fn locate() -> anyhow::Result<PathBuf> {
    if let Some(assets) = env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()) {
        return complete(PathBuf::from(assets)).context("KUBEBUILDER_ASSETS is set: unset it, or point it elsewhere");
    }
    let kubernetes = version("k8s.io/kubernetes")?;
    let etcd = version("go.etcd.io/etcd/server/v3")?;
    let built = cache::directory(&format!("kubernetes-{kubernetes}-etcd-{etcd}"), |directory| {
        for (program, package) in PROGRAMS {
            let version = if program == "etcd" { etcd } else { kubernetes };
            eprintln!("building {program} {version} (once, several minutes) ...");
            build(&directory.join(program), package, kubernetes).with_context(|| format!("cannot build {program}"))?;
        }
        Ok(())
    })?;
    complete(built).context("remove this directory of the cache, it is then built again")
}

fn complete(directory: PathBuf) -> anyhow::Result<PathBuf> {
    for (program, _) in PROGRAMS {
        ensure!(directory.join(program).is_file(), "{} has no {program}", directory.display());
    }
    Ok(directory)
}

fn build(binary: &Path, package: &str, kubernetes: &str) -> anyhow::Result<()> {
    let mut numbers = kubernetes.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        bail!("{kubernetes} is not a version of kubernetes");
    };
    // A server that does not know its version serves no API: every one of them is introduced in some version.
    let set = "-X k8s.io/component-base/version";
    let flags = format!("-s -w {set}.gitVersion={kubernetes} {set}.gitMajor={major} {set}.gitMinor={minor}");
    let status = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
        .arg(binary)
        .arg(package)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane"))
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .status()
        .map_err(|error| missing_tool(error, "go", "Go 1.26 or later"))?;
    ensure!(status.success(), "go build {package} failed ({status}), see above");
    Ok(())
}

/// The version at which go.mod pins `module`.
fn version(module: &str) -> anyhow::Result<&'static str> {
    GO_MOD
        .lines()
        .filter_map(|line| line.trim().strip_prefix(module))
        .find_map(|rest| rest.split_whitespace().next().filter(|word| word.starts_with('v')))
        .with_context(|| format!("testbed/control-plane/go.mod does not pin {module}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_the_ones_go_mod_pins() {
        assert!(version("k8s.io/kubernetes").unwrap().starts_with("v1."));
        assert!(version("go.etcd.io/etcd/server/v3").unwrap().starts_with("v3."));
        assert!(version("k8s.io/kubernetes/cmd/kubectl").is_err());
    }
}
