//! `testbed up`: starts the stack for a person.

use std::{path::PathBuf, time::Duration};

use anyhow::{bail, ensure};
use clap::{Args, ValueEnum, value_parser};
use tokio::signal::unix::{SignalKind, signal};

use super::{Install, NodeArgs, OperatorChoice, Sessions, Stack, StackOptions};
use crate::{node::Entered, scratch};

/// Options of `testbed up`.
#[derive(Args, Debug)]
#[command(about = "Run control plane, engine, gateway and operator on loopback until interrupted")]
pub struct UpArgs {
    /// The directory for data, logs and the file `env` to source. It is kept. Unset means a temporary directory.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Where the sessions are: in a real engine, or in memory.
    #[arg(long, value_enum, default_value = "oceanbase")]
    backend: BackendKind,
    /// Let the engine speak TLS, too.
    #[arg(long)]
    sql_tls: bool,
    /// Do not start the operator, so that you can run one yourself.
    #[arg(long, conflicts_with = "nodes")]
    no_operator: bool,
    /// Let the gateway be STS too, with a metadata service beside it. Their temporary keys live this long, in seconds,
    /// whatever is asked for. The file `env` names the roles.
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=43_200))]
    sts_ttl: Option<u32>,
    #[command(flatten)]
    nodes: NodeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BackendKind {
    Oceanbase,
    Memory,
}

impl UpArgs {
    /// See [`NodeArgs::enter`].
    pub async fn enter(&self) -> anyhow::Result<Entered> {
        ensure!(
            !self.sql_tls || matches!(self.backend, BackendKind::Oceanbase),
            "--sql-tls is for an engine: leave it out, or use --backend oceanbase"
        );
        self.nodes.enter(self.sessions()).await
    }

    fn sessions(&self) -> Sessions {
        match (self.backend, self.sql_tls) {
            (BackendKind::Oceanbase, false) => Sessions::OceanBase,
            (BackendKind::Oceanbase, true) => Sessions::SecureOceanBase,
            (BackendKind::Memory, _) => Sessions::Memory,
        }
    }
}

/// Starts the stack, prints `ready`, and stops it at SIGINT or SIGTERM. Fails if the operator ends.
pub async fn up(args: UpArgs) -> anyhow::Result<()> {
    let (directory, _removed_at_the_end) = scratch::chosen_or_new(args.dir.clone())?;
    let pods = args.nodes.pods(None)?;
    let is_process = !args.no_operator && pods.is_none();
    let operator = if is_process { OperatorChoice::Build } else { OperatorChoice::None };
    let sts = args.sts_ttl.map(|seconds| Duration::from_secs(seconds.into()));
    let options = StackOptions { directory, sessions: args.sessions(), operator, sts };
    let stack = Stack::start_installed(options, pods.map_or(Install::Base, Install::Pods)).await?;
    // Handle signals only from here on. Before, nothing must end in order, and the default action is immediate.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let environment = stack.write_environment().await?;
    println!("to use it: . {}", environment.display());
    println!("ready");
    let ended = tokio::select! {
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
        error = operator_ended(&stack) => Some(error),
    };
    stack.stop().await;
    match ended {
        None => Ok(()),
        Some(error) => bail!(error),
    }
}

/// Never returns without an operator.
async fn operator_ended(stack: &Stack) -> String {
    let Some(operator) = &stack.operator else {
        return std::future::pending().await;
    };
    let status = operator.process().ended().await;
    format!("the operator ended ({status}); {}", operator.process().tail())
}
