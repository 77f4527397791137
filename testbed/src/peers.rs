//! Peers, to compare with: operators with frameworks of other ecosystems, and a script.
//!
//! Their sources, and what each of them promises, are in `testbed/peers`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};

use crate::{
    control_plane::ControlPlane,
    go,
    process::{Output, Process},
    python,
};

const START_LIMIT: Duration = Duration::from_mins(2);

/// Variables that would put a proxy between a peer and the gateway on loopback.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// A peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An operator in Go.
    ControllerRuntime,
    /// An operator in Python.
    Kopf,
    /// A loop in Python, which is not an operator.
    Script,
}

/// How a peer runs.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// Its kubeconfig: see [`kubeconfig`].
    pub kubeconfig: PathBuf,
    /// The directory for its logs `peer.out` and `peer.log`. Made if missing.
    pub directory: PathBuf,
    /// Whether it makes the same writes as sessionkill: a receipt as the claim, the request's status, an Event, and the
    /// receipt's status. Otherwise it makes the writes that are natural for it. The script can only do the latter.
    pub equal_writes: bool,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ControllerRuntime, Self::Kopf, Self::Script];

    /// Its name, for people, files and service accounts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ControllerRuntime => "controller-runtime",
            Self::Kopf => "kopf",
            Self::Script => "script",
        }
    }

    /// The user to which its requests are counted when it runs with its own [`kubeconfig`].
    #[must_use]
    pub fn user(self) -> String {
        format!("system:serviceaccount:default:{}", self.service_account())
    }

    fn service_account(self) -> String {
        format!("peer-{}", self.name())
    }

    fn sources(self) -> PathBuf {
        all_sources().join(self.name())
    }
}

/// Grants the peers their rights, and returns a kubeconfig with which `peer` has its own user. The custom resources
/// must be installed.
pub async fn kubeconfig(peer: Peer, control_plane: &ControlPlane) -> anyhow::Result<PathBuf> {
    control_plane.apply_path(&all_sources().join("rbac.yaml")).await?;
    control_plane.service_account_kubeconfig("default", &peer.service_account()).await
}

/// Starts `peer` and returns when it watches for requests in the namespace `default`. An `OceanBaseConnection` and its
/// Secret must exist, as they name the gateway. The first start on a machine builds the peer, which takes minutes. It
/// ends when the returned process is dropped.
pub async fn start(peer: Peer, options: &PeerOptions) -> anyhow::Result<Process> {
    ensure!(
        !(peer == Peer::Script && options.equal_writes),
        "the script makes one write only: start it without equal_writes"
    );
    let equal_writes = options.equal_writes;
    let mut command = tokio::task::spawn_blocking(move || command(peer, equal_writes)).await??;
    for name in PROXIES {
        command.env_remove(name);
    }
    // Keep Python from writing bytecode beside the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("KUBECONFIG", &options.kubeconfig);
    let directory = &options.directory;
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let stdout = directory.join("peer.out");
    // Read only what is new: the log is appended to if a peer is started again in the same directory.
    let seen = fs::metadata(&stdout).map_or(0, |file| file.len());
    let process = Process::start(&command, Output { stdout, stderr: directory.join("peer.log") })?;
    process
        .ready(START_LIMIT, async || {
            let said = fs::read(process.stdout())?;
            let new = said.get(usize::try_from(seen)?..).unwrap_or_default();
            ensure!(
                new.split(|byte| *byte == b'\n').any(|line| line == b"ready"),
                "the peer {} has not said that it is ready: is there an OceanBaseConnection in default?",
                peer.name()
            );
            Ok(())
        })
        .await?;
    Ok(process)
}

/// Builds what `peer` needs if the cache does not have it, so that its first start is as quick as any other. Blocks,
/// possibly for minutes.
pub fn build(peer: Peer) -> anyhow::Result<()> {
    command(peer, false).map(drop)
}

/// Builds what `peer` needs if the cache does not have it, and returns its command.
fn command(peer: Peer, equal_writes: bool) -> anyhow::Result<Command> {
    let sources = peer.sources();
    match peer {
        Peer::ControllerRuntime => {
            let mut command = Command::new(go::build(&sources, &format!("peer-{}", peer.name()), "peer")?);
            command.arg(format!("--equal-writes={equal_writes}"));
            Ok(command)
        }
        Peer::Kopf => {
            let mut command = Command::new(python_environment(&sources, "kopf")?.join("bin/kopf"));
            command
                .args(["run", "--quiet", "--standalone", "--namespace=default"])
                .arg(sources.join("handlers.py"))
                .env("EQUAL_WRITES", if equal_writes { "1" } else { "0" });
            Ok(command)
        }
        Peer::Script => {
            let mut command = Command::new(python_environment(&sources, "script")?.join("bin/python"));
            command.arg(sources.join("kill_sessions.py"));
            Ok(command)
        }
    }
}

fn python_environment(sources: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = sources.join("requirements.txt");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    python::environment(&format!("peer-{name}"), &requirements(&text))
}

fn requirements(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

fn all_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_requirement_of_a_peer_is_pinned() {
        for peer in [Peer::Kopf, Peer::Script] {
            let text = fs::read_to_string(peer.sources().join("requirements.txt")).unwrap();
            let requirements = requirements(&text);
            assert!(requirements.len() > 3, "{peer:?}");
            assert!(requirements.iter().all(|line| line.contains("==")), "{requirements:?}");
        }
    }

    #[tokio::test]
    async fn the_script_is_not_started_with_writes_that_it_does_not_make() {
        let options = PeerOptions { kubeconfig: "none".into(), directory: "none".into(), equal_writes: true };
        let error = start(Peer::Script, &options).await.unwrap_err().to_string();
        assert!(error.contains("without equal_writes"), "{error}");
    }
}
