//! The flags of `kill`.

use crate::{filters, target};

/// The flags of `kill`.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// The sessions, as `kubectl sessionkill sessions` shows them: SERVER_IP/ID, or ID if that is unique. Or give filters
    #[arg(value_name = "SESSION", value_parser = crate::session::parse)]
    pub sessions: Vec<crate::session::Named>,
    /// The connection: NAME, or cobc/NAME for one of no namespace. May be left out if there is one only
    #[arg(short, long, value_name = "NAME", add = crate::names::connections())]
    pub connection: Option<String>,
    /// Which tenant.
    #[command(flatten)]
    pub target: target::Flags,
    /// Which sessions.
    #[command(flatten)]
    pub filters: filters::Flags,
    /// The request.
    #[command(flatten)]
    pub request: RequestFlags,
}

/// The flags of the request itself.
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
#[derive(clap::Args, Debug)]
#[group(skip)]
#[command(next_help_heading = "Request")]
pub struct RequestFlags {
    /// Why, for people: an incident number or a sentence. Asked for if it is missing
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Nothing is sent later than this after the request was made
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = filters::seconds)]
    pub lifetime: i32,
    /// End only the statements that run, and let the sessions live. By SQL only
    #[arg(long)]
    pub query: bool,
    /// The most sessions to end, 1 to 100: if more match, none is ended, unless --take says which
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub max: i32,
    /// Which sessions to end if more than --max match
    #[arg(long, value_name = "WHICH")]
    pub take: Option<Take>,
    /// Send the filters instead of the sessions that match now: the operator ends what matches right before the kill
    #[arg(long, conflicts_with = "sessions")]
    pub selector: bool,
    /// The name of the request. Unset means kill- and some digits
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How long the request is kept after its end. Its receipt is kept in any case
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = filters::seconds)]
    pub ttl: i32,
    /// Do not ask: for scripts
    #[arg(short, long)]
    pub yes: bool,
    /// Print the request instead of making it: for Git
    #[arg(long, value_name = "WHERE")]
    pub dry_run: Option<DryRun>,
    /// Print the request in this format, as it is at its end
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Wait until the sessions have ended. That is so unless --detach is given
    #[arg(long, conflicts_with = "detach")]
    pub wait: bool,
    /// Do not wait: the exit code 0 says only that the request was made
    #[arg(long)]
    pub detach: bool,
}

/// Which sessions are ended if more match.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Those that have been in their present state longest.
    Longest,
    /// Those that have been in it for the shortest time.
    Newest,
}

/// Where nothing is made.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    /// The request is only printed.
    Client,
}

/// How a request is printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As YAML.
    Yaml,
    /// As JSON.
    Json,
    /// sessionkill.sessionkill.dev/NAME.
    Name,
}
