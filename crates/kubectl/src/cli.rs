//! The command line.

use clap::{Parser, Subcommand};

use crate::{client, completion, edit, exit, explain, history, kill, sessions, version};

/// Shows and ends database sessions of OceanBase through the objects of the sessionkill operator. It needs no password
/// and no access key: it only creates, reads, suspends and deletes SessionKills.
#[derive(Parser, Debug)]
#[command(
    name = "kubectl-sessionkill",
    bin_name = "kubectl sessionkill",
    version,
    after_help = exit::HELP,
    disable_help_subcommand = true
)]
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
    Sessions(Box<sessions::Flags>),
    /// End sessions: named ones, or those that match. Shows them, and asks before
    #[command(after_help = exit::HELP)]
    Kill(Box<kill::Flags>),
    /// Say what happened to a request, step by step, and what to do
    Explain(explain::Flags),
    /// Show what was asked for in the namespace, and what became of it
    History(history::Flags),
    /// Check that everything is there: definitions, an operator, your rights, connections
    Check(version::Flags),
    /// Hold requests back
    Suspend(edit::Flags),
    /// Let requests go on that are held back
    Resume(edit::Flags),
    /// Delete requests, and say what that means for their sessions
    Delete(edit::DeleteFlags),
    /// Print the versions of this plugin, of the definitions and of the operator
    Version(version::Flags),
    /// Print what makes a shell complete commands and names
    Completion(completion::Flags),
    /// Candidates for kubectl
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The words so far, the last of which is completed.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}
