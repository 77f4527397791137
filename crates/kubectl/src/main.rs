//! `kubectl sessionkill`: sessions from the terminal, by objects of the operator. No credential leaves the cluster.

#![allow(clippy::large_futures, reason = "one command runs, once: its future is not moved around")]

mod advice;
mod ask;
mod check;
mod cli;
mod client;
mod completion;
mod dry_run;
mod edit;
mod errors;
mod exit;
mod explain;
mod filters;
mod follow;
mod history;
mod interrupt;
mod kill;
mod names;
mod output;
#[cfg(test)]
mod reference;
mod request;
mod session;
mod sessions;
mod target;
#[cfg(test)]
mod test_objects;
mod version;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::CompleteEnv;

use cli::{Cli, Command};
use client::Place;
use errors::{Failure, Result, failure};
use exit::Exit;

fn main() {
    CompleteEnv::with_factory(Cli::command).var(completion::VARIABLE).complete();
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
    match &cli.command {
        Command::Completion(flags) => return completion::run(flags),
        Command::Complete { words } => return completion::candidates(&mut Cli::command(), words),
        _ => (),
    }
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
        Command::Explain(flags) => explain::run(&place, &flags).await,
        Command::History(flags) => history::run(&place, &flags).await,
        Command::Check(flags) => check::run(&place, &flags).await,
        Command::Suspend(flags) => edit::suspend(&place, &flags, true).await,
        Command::Resume(flags) => edit::suspend(&place, &flags, false).await,
        Command::Delete(flags) => edit::delete(&place, &flags).await,
        Command::Version(flags) => version::run(&place, &flags).await,
        // They need no cluster, and were run already.
        Command::Completion(_) | Command::Complete { .. } => Ok(Exit::AllEnded),
    }
}
