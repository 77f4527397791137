//! The command line.

use clap::{Parser, Subcommand};

use crate::{client, exit, kill, sessions};

/// Shows and ends database sessions of OceanBase through the objects of the sessionkill operator. It needs no password and
/// no access key: it only creates, reads, suspends and deletes SessionKills.
#[derive(Parser, Debug)]
#[command(name = "kubectl-sessionkill", bin_name = "kubectl sessionkill", version, after_help = exit::HELP)]
pub struct Cli {
    /// Which cluster and namespace.
    #[command(flatten)]
    pub place: client::Flags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show the sessions of a tenant, longest in their present state first
    #[command(visible_alias = "ps")]
    Sessions(sessions::Flags),
    /// End sessions: named ones, or those that match
    Kill(kill::Flags),
}
