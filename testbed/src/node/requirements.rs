//! What a machine needs for nodes, and the message if it is missing.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context, bail, ensure};

/// The required programs, each with its Debian package.
const PROGRAMS: [(&str, &str); 10] = [
    ("bash", "bash"),
    ("cc", "gcc, libc6-dev"),
    ("containerd", "containerd"),
    ("ip", "iproute2"),
    ("ipset", "ipset"),
    ("iptables", "iptables"),
    ("nsenter", "util-linux"),
    ("runc", "runc"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];
/// The Debian packages of all required programs and plugins.
const PACKAGES: &str =
    "bash containerd containernetworking-plugins gcc iproute2 ipset iptables libc6-dev runc util-linux";
/// The directories in which distributions and the plugins' own releases install them.
const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
/// The namespaces of nodes, asked for by name, so that what one of them needs is asked for as well.
pub(super) const NAMESPACES: [&str; 7] =
    ["--mount", "--net", "--uts", "--ipc", "--pid", "--kill-child=KILL", "--mount-proc"];

/// Whether nodes are wanted, by the variable [`VARIABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// If the machine can run them: the default.
    IfPossible,
    /// `required`: it is a failure if the machine cannot run them.
    Required,
    /// `skip`: never.
    Skip,
}

/// The variable that says whether tests on nodes are wanted: `required` or `skip`.
pub const VARIABLE: &str = "SESSIONKILL_NODES";

impl Wanted {
    /// The value of the variable.
    pub fn from_environment() -> anyhow::Result<Self> {
        match env::var(VARIABLE).unwrap_or_default().as_str() {
            "" => Ok(Self::IfPossible),
            "required" => Ok(Self::Required),
            "skip" => Ok(Self::Skip),
            other => bail!("{VARIABLE} is {other}: set it to required or skip, or to nothing"),
        }
    }
}

/// Fails if no node can run here, with what is missing and what to do. It checks the machine, so call it outside of an
/// enclosure.
pub fn check() -> anyhow::Result<()> {
    tried().with_context(|| {
        format!(
            "this machine cannot run a node, which takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN on Linux with control\n\
             groups v1, and the Debian packages {PACKAGES}"
        )
    })
}

fn tried() -> anyhow::Result<()> {
    ensure!(cfg!(target_os = "linux"), "this is not Linux");
    ensure!(rustix::process::geteuid().is_root(), "this is not root");
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !is_on_path(program)).collect();
    ensure!(missing.is_empty(), "not on the PATH: {missing:?}");
    plugins()?;
    // Test rights that a container does not have by default.
    let mut probe = Command::new("unshare");
    probe.args(NAMESPACES).args(["sh", "-c", "ip link add dev probe0 type veth peer name probe1"]);
    let said = probe.output().context("cannot run unshare")?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr).trim());
    let memory = Path::new("/sys/fs/cgroup/memory");
    ensure!(memory.join("tasks").exists(), "{} is no hierarchy of control groups v1", memory.display());
    let group = memory.join(format!("sessionkill-probe-{}", std::process::id()));
    fs::create_dir(&group).and_then(|()| fs::remove_dir(&group)).context("cannot make a control group")?;
    ensure!(Path::new("/dev/kmsg").exists(), "there is no /dev/kmsg");
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The directory of the plugins for the network of Pods.
pub(super) fn plugins() -> anyhow::Result<&'static str> {
    let found = PLUGINS.into_iter().find(|directory| Path::new(directory).join("bridge").is_file());
    found.with_context(|| format!("no CNI plugins in {}", PLUGINS.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_are_those_that_are_installed_and_named_to_people() {
        let packages: Vec<_> = PACKAGES.split(' ').collect();
        let needed =
            PROGRAMS.iter().flat_map(|(_, packages)| packages.split(", ")).chain(["containernetworking-plugins"]);
        assert!(needed.clone().all(|package| packages.contains(&package)));
        assert!(packages.iter().all(|package| needed.clone().any(|other| other == *package)));
        for text in [include_str!("../../../.ci/run"), include_str!("../../../docs/install.md")] {
            assert!(text.contains(PACKAGES));
        }
    }
}
