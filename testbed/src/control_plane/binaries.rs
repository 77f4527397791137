//! The programs of the control plane. They are found, or built once from the Go modules that the `go.mod` of the chosen
//! Kubernetes pins.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};

use crate::{cache, go};

const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// The variables that choose the programs.
const ASSETS: &str = "KUBEBUILDER_ASSETS";
const CHOICE: &str = "TESTBED_KUBERNETES";

/// The versions of Kubernetes that a control plane can be built of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kubernetes {
    /// The newest version that is tested.
    Newest,
    /// The oldest supported version.
    Oldest,
}

impl Kubernetes {
    /// The version that `TESTBED_KUBERNETES` names: `newest` (the default) or `oldest`.
    fn chosen() -> anyhow::Result<Self> {
        Self::named(env::var_os(CHOICE).as_deref().unwrap_or_default())
    }

    fn named(name: &OsStr) -> anyhow::Result<Self> {
        match name.to_str() {
            Some("" | "newest") => Ok(Self::Newest),
            Some("oldest") => Ok(Self::Oldest),
            _ => bail!("{CHOICE} is {}: set it to oldest or newest, or unset it", name.display()),
        }
    }

    /// Its version, as `v1.37.2`.
    pub fn version(self) -> anyhow::Result<String> {
        go::pinned(&self.sources(), "k8s.io/kubernetes")
    }

    /// Its minor version, as 37 for `v1.37.2`.
    pub fn minor(self) -> anyhow::Result<u32> {
        let version = self.version()?;
        let (_, minor) = numbers(&version)?;
        minor.parse().with_context(|| format!("{version} is not a version of Kubernetes"))
    }

    fn sources(self) -> PathBuf {
        go::module(match self {
            Self::Newest => "control-plane",
            Self::Oldest => "control-plane-oldest",
        })
    }
}

/// The version of the kube-apiserver that control planes start, such as `v1.37.2`. The first use on a machine builds
/// it.
pub fn server_version() -> anyhow::Result<String> {
    let program = locate()?.join("kube-apiserver");
    let said = Command::new(&program).arg("--version").output();
    let said = said.with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8(said.stdout)?;
    let version = said.split_whitespace().find(|word| word.starts_with('v'));
    version.map(str::to_owned).with_context(|| format!("{} --version says {said:?}", program.display()))
}

/// A directory with `etcd`, `kube-apiserver` and `kubectl`: `KUBEBUILDER_ASSETS` if set, else the cache. If the cache
/// is empty, it is filled with the programs of the chosen Kubernetes. That takes several minutes once. Progress goes to
/// standard error.
pub(super) fn locate() -> anyhow::Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value: &OsString| !value.is_empty());
    if let Some(assets) = set(ASSETS) {
        ensure!(
            set(CHOICE).is_none(),
            "{ASSETS} and {CHOICE} are both set, and each names programs: unset one of them"
        );
        return complete(PathBuf::from(assets))
            .with_context(|| format!("{ASSETS} is set: unset it, or point it elsewhere"));
    }
    let sources = Kubernetes::chosen()?.sources();
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

/// Builds a component of Kubernetes, of the version that the module in `sources` pins.
pub(crate) fn build(sources: &Path, binary: &Path, package: &str, kubernetes: &str) -> anyhow::Result<()> {
    let (major, minor) = numbers(kubernetes)?;
    // Set the version: a server that does not know its version serves no API, as each API was introduced in some
    // version.
    let set = "-X k8s.io/component-base/version";
    let flags = format!("-s -w {set}.gitVersion={kubernetes} {set}.gitMajor={major} {set}.gitMinor={minor}");
    go::compile(sources, &["-ldflags", &flags], &[package], binary)
}

/// Major and minor of a version such as `v1.37.2`.
fn numbers(version: &str) -> anyhow::Result<(&str, &str)> {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        bail!("{version} is not a version of Kubernetes");
    };
    Ok((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_chooses_the_version() {
        let named = |name: &str| Kubernetes::named(OsStr::new(name));
        assert_eq!(named("").unwrap(), Kubernetes::Newest);
        assert_eq!(named("newest").unwrap(), Kubernetes::Newest);
        assert_eq!(named("oldest").unwrap(), Kubernetes::Oldest);
        let refused = named("1.36").unwrap_err().to_string();
        assert!(refused.contains("TESTBED_KUBERNETES") && refused.contains("oldest or newest"), "{refused}");
    }

    #[test]
    fn the_oldest_is_older_than_the_newest() {
        assert!(Kubernetes::Oldest.minor().unwrap() < Kubernetes::Newest.minor().unwrap());
        assert_eq!(numbers("v1.37.2").unwrap(), ("1", "37"));
        assert!(numbers("1").is_err());
    }
}
