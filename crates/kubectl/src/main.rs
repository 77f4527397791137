//! `kubectl sessionkill`: sessions from the terminal, by objects of the operator. No credential leaves the cluster.

mod advice;
mod ask;
mod cli;
mod client;
mod dry_run;
mod errors;
mod exit;
mod filters;
mod follow;
mod interrupt;
mod kill;
mod output;
mod request;
mod session;
mod sessions;
mod target;

use clap::Parser as _;

use cli::{Cli, Command};
use client::Place;
use errors::{Failure, Result, failure};
use exit::Exit;

fn main() {
    let exit = match run(Cli::parse()) {
        Ok(exit) => exit,
        Err(Failure::Said(message, exit)) => {
            output::say(&format!("error: {message}"));
            exit
        }
        Err(Failure::OutputClosed) => Exit::AllEnded,
    };
    // Not by returning: a thread may still wait for a line of the terminal.
    std::process::exit(exit as i32);
}

fn run(cli: Cli) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failure(format!("cannot start: {error}")))?;
    let exit = runtime.block_on(command(cli));
    // Do not wait for that thread here either.
    runtime.shutdown_background();
    exit
}

async fn command(cli: Cli) -> Result<Exit> {
    let place = Place::open(&cli.place).await?;
    match cli.command {
        Command::Sessions(flags) => sessions::run(&place, &flags).await,
        Command::Kill(flags) => kill::run(&place, &flags).await,
    }
}
