//! The contenders, which finish `SessionKill`s: each is a process that is started, measured and stopped in the same
//! way.

use std::{
    env, iter,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{net::TcpStream, task::spawn_blocking, time::sleep};

use super::{
    by_sql::{database::Database, tool::Tool},
    scene::{ACCOUNTS, Scene},
};
use crate::{
    base::{NAMESPACE, SERVICE_ACCOUNT},
    hostile::Needs,
    operator::{Operator, build_operator},
    peers::{self, Peer, PeerOptions},
    port,
    process::{Output, Process},
};

/// The operator's default for calls in flight.
const FLOOR_CONCURRENCY: &str = "32";
const READY_LIMIT: Duration = Duration::from_mins(5);
const READY_POLL: Duration = Duration::from_millis(2);
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A contender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The name in the tables.
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The operator: this binary, or the one of this source tree.
    Operator(Option<PathBuf>),
    /// The floor: only the requests that every contender needs.
    Floor,
    /// A peer, and whether it makes the same writes as the operator.
    Peer(Peer, bool),
    /// A tool that ends sessions by SQL, and knows nothing of Kubernetes.
    Tool(Tool),
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = match text.split_once('=') {
            Some((_, binary)) => Kind::Operator(Some(binary.into())),
            None if text == "sessionkill" => Kind::Operator(None),
            None if text == "floor" => Kind::Floor,
            None => Tool::named(text).map(Kind::Tool).or_else(|| peer(text)).ok_or(
                "a contender is sessionkill, floor, controller-runtime, kopf, either of these with +writes, script, pymysql, \
                 pt-kill, or NAME=PATH of a binary of the operator",
            )?,
        };
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        Ok(Self { name: name.to_owned(), kind })
    }
}

impl Contender {
    /// Whether it is a peer.
    pub(super) fn is_peer(&self) -> bool {
        matches!(self.kind, Kind::Peer(..))
    }

    /// The tool, if it is one. It is not started before a load.
    pub(super) fn tool(&self) -> Option<Tool> {
        if let Kind::Tool(tool) = self.kind { Some(tool) } else { None }
    }

    /// Whether it is the floor, with which all others are compared. Its start is not measured, and it never waits.
    pub(super) fn is_floor(&self) -> bool {
        self.kind == Kind::Floor
    }

    /// Builds what is not built yet. No measurement includes the build.
    pub(super) async fn build(&mut self, profile: &str) -> anyhow::Result<()> {
        if self.kind == Kind::Operator(None) {
            let profile = profile.to_owned();
            self.kind = Kind::Operator(Some(spawn_blocking(move || build_operator(&profile)).await??));
        }
        if let Kind::Peer(peer, _) = self.kind {
            spawn_blocking(move || peers::build(peer)).await??;
        }
        if let Kind::Tool(tool) = self.kind {
            tool.build().await?;
        }
        Ok(())
    }

    /// Starts it on `scene` with its logs in `directory`, and returns when it is ready.
    pub(super) async fn start(&self, scene: &Scene, directory: &Path) -> anyhow::Result<Running> {
        self.start_with(&Needs::default(), scene, directory).await
    }

    /// The same, with the operator's options that an attack needs.
    pub(super) async fn start_with(&self, needs: &Needs, scene: &Scene, directory: &Path) -> anyhow::Result<Running> {
        match &self.kind {
            Kind::Operator(binary) => {
                let binary = binary.as_deref().context("the operator is not built")?;
                start_operator(binary, needs, scene, directory).await
            }
            Kind::Floor => start_floor(scene, directory).await,
            Kind::Peer(peer, equal_writes) => start_peer(*peer, *equal_writes, scene, directory).await,
            Kind::Tool(_) => bail!("a tool is started by its load"),
        }
    }
}

/// A running contender. It ends when this value is dropped.
pub(super) struct Running {
    held: Held,
    /// The user name of its requests to the API server.
    pub user: String,
    /// From the start of its process until it was ready.
    pub ready_after: Duration,
    /// The address at which it is told of requests, if it does not watch.
    pub announce_to: Option<SocketAddr>,
}

enum Held {
    Operator(Operator),
    Process(Process),
}

impl Running {
    /// Its process.
    pub(super) fn process(&self) -> &Process {
        match &self.held {
            Held::Operator(operator) => operator.process(),
            Held::Process(process) => process,
        }
    }

    /// Where it serves its health, if it is an operator.
    pub(super) fn health(&self) -> Option<SocketAddr> {
        let Held::Operator(operator) = &self.held else { return None };
        operator.health_url().strip_prefix("http://")?.parse().ok()
    }

    /// Asks it to end, and waits until it has.
    pub(super) async fn stop(self) {
        self.process().stop(STOP_PATIENCE).await;
    }
}

async fn start_operator(binary: &Path, needs: &Needs, scene: &Scene, directory: &Path) -> anyhow::Result<Running> {
    let kubeconfig = scene.control_plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT).await?;
    let gateway = scene.gateway.url();
    let mut arguments = vec!["run"];
    arguments.extend(iter::once(&gateway).chain(&needs.endpoints).flat_map(|it| ["--allow-endpoint", it]));
    let sql_host = scene.database.as_ref().map(Database::host);
    arguments.extend(sql_host.iter().flat_map(|host| ["--allow-sql-host", host]));
    let sts = scene.gateway.sts_url();
    arguments.extend(sts.iter().flat_map(|url| ["--sts-endpoint", url]));
    let sweep = needs.sweep_seconds.map(|seconds| seconds.to_string());
    arguments.extend(sweep.iter().flat_map(|seconds| ["--sweep-interval-seconds", seconds]));
    let limited = needs.soft_files.map(|files| format!("ulimit -Sn {files} && exec \"$0\" \"$@\""));
    let program = limited.as_ref().map_or(binary, |script| {
        arguments.splice(0..0, ["-c", script, binary.to_str().unwrap_or_default()]);
        Path::new("sh")
    });
    let stdout = needs.stdout.clone().unwrap_or_else(|| directory.join("audit.jsonl"));
    let http = reqwest::Client::builder().no_proxy().build()?;
    let started = Instant::now();
    let operator = Operator::start_writing_to(&stdout, program, &kubeconfig, directory, &arguments)?;
    let url = format!("{}/readyz", operator.health_url());
    let is_ready = async || Ok(http.get(&url).send().await?.error_for_status().map(drop)?);
    until_ready(operator.process(), is_ready).await?;
    Ok(Running {
        held: Held::Operator(operator),
        user: user(NAMESPACE, SERVICE_ACCOUNT),
        ready_after: started.elapsed(),
        announce_to: None,
    })
}

fn peer(text: &str) -> Option<Kind> {
    let (name, equal_writes) = text.strip_suffix("+writes").map_or((text, false), |name| (name, true));
    let peer = Peer::ALL.into_iter().find(|peer| peer.name() == name)?;
    (peer != Peer::Script || !equal_writes).then_some(Kind::Peer(peer, equal_writes))
}

async fn start_peer(peer: Peer, equal_writes: bool, scene: &Scene, directory: &Path) -> anyhow::Result<Running> {
    let kubeconfig = peers::kubeconfig(peer, &scene.control_plane).await?;
    let options = PeerOptions { kubeconfig, directory: directory.into(), equal_writes };
    let started = Instant::now();
    let process = peers::start(peer, &options).await?;
    Ok(Running { held: Held::Process(process), user: peer.user(), ready_after: started.elapsed(), announce_to: None })
}

async fn start_floor(scene: &Scene, directory: &Path) -> anyhow::Result<Running> {
    std::fs::create_dir_all(directory)?;
    let kubeconfig = scene.control_plane.service_account_kubeconfig(ACCOUNTS, "floor").await?;
    let address = SocketAddr::from(([127, 0, 0, 1], port::free()?));
    let mut command = Command::new(env::current_exe()?);
    command.arg("bench-floor").arg(kubeconfig);
    command.args([&scene.gateway.url(), &address.to_string(), FLOOR_CONCURRENCY]);
    command.args(scene.database.iter().flat_map(|database| ["--sql".to_owned(), database.host()]));
    let started = Instant::now();
    let process = Process::start(&command, Output::together(directory.join("floor.log")))?;
    until_ready(&process, async || Ok(TcpStream::connect(address).await.map(drop)?)).await?;
    Ok(Running {
        held: Held::Process(process),
        user: user(ACCOUNTS, "floor"),
        ready_after: started.elapsed(),
        announce_to: Some(address),
    })
}

fn user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Checks every few milliseconds, as a start is measured with that resolution.
pub(super) async fn until_ready(process: &Process, check: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while let Err(error) = check().await {
        if !process.is_running() || Instant::now() > deadline {
            return Err(error.context(format!("not ready; {}", process.tail())));
        }
        sleep(READY_POLL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_is_named_or_is_a_binary_with_a_name() {
        let before: Contender = "before=/t/operator".parse().unwrap();
        assert_eq!((before.name.as_str(), before.kind), ("before", Kind::Operator(Some("/t/operator".into()))));
        assert!(!"sessionkill".parse::<Contender>().unwrap().is_floor());
        assert!("floor".parse::<Contender>().unwrap().is_floor());
        assert!("nobody".parse::<Contender>().is_err());
    }
}
