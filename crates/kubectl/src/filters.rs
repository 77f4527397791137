//! Which sessions: the flags that become a selector.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{Span, SpanRelativeTo};
use sessionkill_api::{SessionCriteria, SessionSelector, SessionState, Take, TransactionState};

use crate::errors::{Result, failure};

/// What a session must be like, and what it must not be like.
#[derive(clap::Args, Clone, Debug, Default)]
#[group(skip)]
#[command(next_help_heading = "Filters (each given one must hold; of several values of one flag, any)")]
pub struct Flags {
    /// Its database user
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub user: Vec<String>,
    /// Its database
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub database: Vec<String>,
    /// The address of its client, or a range of addresses, such as 10.2.0.0/16
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = range)]
    pub client: Vec<String>,
    /// Its type of command, such as Query or Sleep
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub command: Vec<String>,
    /// Active: it runs a statement. Sleep: it waits for its client
    #[arg(long, value_name = "STATE", conflicts_with = "active", ignore_case = true)]
    pub state: Option<State>,
    /// It runs a statement: short for --state active
    #[arg(long)]
    pub active: bool,
    /// A regular expression that is found in its statement, such as '(?i)from orders'
    #[arg(long, value_name = "REGEX")]
    pub sql: Option<String>,
    /// The ID of its statement
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub sql_id: Vec<String>,
    /// It has been in its present state for at least this long, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub min: Option<i32>,
    /// Whether a transaction is open. By SQL only
    #[arg(long, value_name = "WHICH", ignore_case = true)]
    pub transaction: Option<Transaction>,
    /// Not this database user
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub exclude_user: Vec<String>,
    /// Not this database
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub exclude_database: Vec<String>,
    /// Not from these addresses
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = range)]
    pub exclude_client: Vec<String>,
    /// Not this type of command
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub exclude_command: Vec<String>,
    /// Not a statement in which this is found
    #[arg(long, value_name = "REGEX")]
    pub exclude_sql: Option<String>,
    /// Not this statement
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub exclude_sql_id: Vec<String>,
}

/// The state of a session.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs a statement.
    Active,
    /// It waits for its client.
    Sleep,
}

/// Whether a transaction is open.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// One is open.
    Open,
    /// None is open.
    None,
}

impl Flags {
    /// The selector that they mean. It matches every session if no flag is given.
    pub fn selector(&self) -> SessionSelector {
        let exclude = SessionCriteria {
            users: self.exclude_user.clone(),
            databases: self.exclude_database.clone(),
            client_cidrs: self.exclude_client.clone(),
            commands: self.exclude_command.clone(),
            sql_ids: self.exclude_sql_id.clone(),
            sql_text_pattern: self.exclude_sql.clone(),
            ..SessionCriteria::default()
        };
        let exclude = (exclude != SessionCriteria::default()).then_some(exclude);
        SessionSelector { matches: self.criteria(), exclude, max_sessions: None, take: Take::None }
    }

    /// What a session must be like.
    pub fn criteria(&self) -> SessionCriteria {
        SessionCriteria {
            users: self.user.clone(),
            databases: self.database.clone(),
            client_cidrs: self.client.clone(),
            commands: self.command.clone(),
            states: self.session_state().into_iter().collect(),
            sql_ids: self.sql_id.clone(),
            sql_text_pattern: self.sql.clone(),
            min_execution_seconds: self.min,
            transaction: self.transaction.map(|transaction| match transaction {
                Transaction::Open => TransactionState::Open,
                Transaction::None => TransactionState::None,
            }),
        }
    }

    fn session_state(&self) -> Option<SessionState> {
        match self.state {
            Some(State::Active) => Some(SessionState::Active),
            Some(State::Sleep) => Some(SessionState::Sleep),
            None => self.active.then_some(SessionState::Active),
        }
    }

    /// Whether any is given.
    pub fn is_any(&self) -> bool {
        self.selector() != SessionSelector::default()
    }

    /// Refuses filters that name nobody: no filter never means all. The definition of the kind has the same rule.
    pub fn name_somebody(&self) -> Result<()> {
        let only_states = SessionCriteria {
            states: self.criteria().states,
            transaction: self.criteria().transaction,
            ..SessionCriteria::default()
        };
        if self.criteria() != only_states {
            return Ok(());
        }
        Err(failure(
            "say which sessions: give SESSION, or one of --user, --database, --client, --command, --sql, --sql-id, --min: \
             no filter never means all",
        ))
    }
}

/// A range of addresses as the kind wants it: without bits beyond the prefix. A single address is a range of one.
fn range(text: &str) -> std::result::Result<String, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| "not an address, and not a range such as 10.2.0.0/16".to_owned())?;
    Ok(net.trunc().to_string())
}

/// A length of time such as 90s, 5m, 1h30m or 1d, in whole seconds. A bare number is seconds.
pub fn seconds(text: &str) -> std::result::Result<i32, String> {
    let seconds = text.parse::<i64>().ok().or_else(|| {
        let spelled: Span = text.parse().ok()?;
        let spelled = spelled.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        (spelled.subsec_nanos() == 0).then_some(spelled.as_secs())
    });
    let seconds = seconds.and_then(|seconds| i32::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    seconds.ok_or_else(|| "not a length of time such as 90s, 5m, 1h30m or 1d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(line: &str) -> Flags {
        Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace())).map(|line| line.flags).unwrap()
    }

    #[test]
    fn flags_become_a_selector() {
        let given = flags(
            "--user report,batch --database shop --client 10.2.3.4/16,fd00::1 --command Query --active --sql from \
             --sql-id AB --min 5m --transaction open --exclude-user admin --exclude-sql audit",
        );
        let selector = json!({
            "match": {
                "users": ["report", "batch"], "databases": ["shop"], "clientCIDRs": ["10.2.0.0/16", "fd00::1/128"],
                "commands": ["Query"], "states": ["Active"], "sqlIDs": ["AB"], "sqlTextPattern": "from",
                "minExecutionSeconds": 300, "transaction": "Open",
            },
            "exclude": {"users": ["admin"], "sqlTextPattern": "audit"},
        });
        assert_eq!(serde_json::to_value(given.selector()).unwrap(), selector);
        assert_eq!(serde_json::to_value(flags("").selector()).unwrap(), json!({"match": {}}));
    }

    #[test]
    fn no_filter_never_means_all() {
        for line in ["", "--active", "--transaction open", "--exclude-user admin", "--state sleep"] {
            assert!(flags(line).name_somebody().is_err(), "{line}");
        }
        for line in ["--user a", "--min 1m", "--client 10.0.0.1", "--sql x --active"] {
            assert!(flags(line).name_somebody().is_ok(), "{line}");
        }
    }

    #[test]
    fn lengths_of_time_and_ranges_that_are_none_are_refused() {
        assert_eq!(["90", "1h30m", "2s", "1d"].map(seconds), [Ok(90), Ok(5400), Ok(2), Ok(86_400)]);
        for text in ["", "0", "-5m", "1.5s", "soon", "99999999999"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(range("10.2.3").is_err());
    }
}
