//! The programs of the control plane: found, or built once from the Go modules that `testbed/control-plane/go.mod` pins.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use crate::{cache, go};

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
    let sources = go::module("control-plane");
    let kubernetes = go::pinned(&sources, "k8s.io/kubernetes")?;
    let etcd = go::pinned(&sources, "go.etcd.io/etcd/server/v3")?;
    let built = cache::directory(&format!("kubernetes-{kubernetes}-etcd-{etcd}"), |directory| {
        for (program, package) in PROGRAMS {
            let version = if program == "etcd" { &etcd } else { &kubernetes };
            eprintln!("building {program} {version} (once, several minutes) ...");
            let binary = directory.join(program);
            build(&sources, &binary, package, &kubernetes).with_context(|| format!("cannot build {program}"))?;
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

fn build(sources: &Path, binary: &Path, package: &str, kubernetes: &str) -> anyhow::Result<()> {
    let mut numbers = kubernetes.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        bail!("{kubernetes} is not a version of kubernetes");
    };
    // A server that does not know its version serves no API: every one of them is introduced in some version.
    let set = "-X k8s.io/component-base/version";
    let flags = format!("-s -w {set}.gitVersion={kubernetes} {set}.gitMajor={major} {set}.gitMinor={minor}");
    go::compile(sources, &["-ldflags", &flags], &[package], binary)
}
