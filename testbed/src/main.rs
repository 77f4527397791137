//! The testbed's commands.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod hold;

#[derive(Parser)]
#[command(about = "The real parts that sessionkill is tested on", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts one child and holds it until it is killed: the test of what happens to children then.
    #[command(hide = true)]
    Hold {
        /// Where the child's log goes.
        directory: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Hold { directory } => hold::run(&directory).await,
    }
}
