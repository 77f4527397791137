//! The testbed's programs.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::gateway;

/// The real parts that sessionkill is tested on.
#[derive(Parser)]
#[command(name = "testbed")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Gateway(gateway::GatewayArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Gateway(args) => gateway::run(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // One line: a backtrace would bury what is to be done.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
