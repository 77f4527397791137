//! The testbed's programs.

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
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Gateway(args) => gateway::run(args).await,
    }
}
