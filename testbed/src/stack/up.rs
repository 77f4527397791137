//! `testbed up`: the stack by hand.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::{OperatorChoice, Sessions, Stack, StackOptions};
use crate::scratch;

/// What to start.
#[derive(Args, Debug)]
#[command(about = "Run control plane, engine, gateway and operator on loopback until interrupted")]
pub struct UpArgs {
    /// Data, logs and the file `env` to source; kept. Default: a temporary directory.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Where the sessions are.
    #[arg(long, value_enum, default_value = "oceanbase")]
    backend: BackendKind,
    /// Leave the operator out, to run one by hand.
    #[arg(long)]
    no_operator: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BackendKind {
    Oceanbase,
    Memory,
}

/// Starts the stack, prints `ready`, and stops it at SIGINT or SIGTERM. Ends with an error if the operator does.
pub async fn up(args: UpArgs) -> anyhow::Result<()> {
    let (directory, _removed_at_the_end) = scratch::chosen_or_new(args.dir)?;
    let options = StackOptions {
        directory,
        sessions: match args.backend {
            BackendKind::Oceanbase => Sessions::OceanBase,
            BackendKind::Memory => Sessions::Memory,
        },
        operator: if args.no_operator { OperatorChoice::None } else { OperatorChoice::Build },
    };
    let stack = Stack::start(options).await?;
    // From here on only: before, there is nothing that must end in order, and the default action is immediate.
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

/// Never, without an operator.
async fn operator_ended(stack: &Stack) -> String {
    let Some(operator) = &stack.operator else {
        return std::future::pending().await;
    };
    let status = operator.process().ended().await;
    format!("the operator ended ({status}); {}", operator.process().tail())
}
