//! The backends of the gateway: where it lists and kills sessions.

use std::sync::Arc;

use anyhow::Result;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub mod memory;
pub mod oceanbase;

/// A database session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Session {
    /// The server the session is on.
    pub server_ip: String,
    /// The session's id on that server.
    pub session_id: i64,
    /// The tenant it belongs to; empty means the gateway's first one.
    pub tenant_id: String,
    /// The application's address.
    pub client_ip: String,
    /// The user it is logged in as.
    pub user: String,
    /// The current database.
    pub database: String,
    /// `Query`, `Sleep` or another command of the protocol.
    pub command: String,
    /// The session's state, `ACTIVE` or `SLEEP`.
    pub status: String,
    /// The running statement.
    pub sql_text: String,
    /// The running statement's id.
    pub sql_id: String,
    /// The running request's trace.
    pub trace_id: String,
    /// The proxy's session in front of it: a 64-bit number, which JSON numbers do not hold.
    pub proxy_sess_id: Option<String>,
    /// How long it has been in this state, in seconds.
    pub execute_time: i64,
    /// CPU time of the statement, in seconds.
    pub cpu_time: i64,
    /// Memory backend only: stays in the list after it was killed.
    pub lingering: bool,
    /// Memory backend only: cannot be killed, as another user's session.
    pub protected: bool,
}

/// The tenant of a session; the first one, if it names none.
#[must_use]
pub fn tenant_of<'a>(session: &'a Session, first: &'a str) -> &'a str {
    if session.tenant_id.is_empty() { first } else { &session.tenant_id }
}

/// The result of a kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The session was killed.
    Killed,
    /// The database refused, in its own words.
    Refused(String),
}

impl Verdict {
    /// There is no such session.
    #[must_use]
    pub fn unknown(session_id: i64) -> Self {
        Self::Refused(format!("Unknown thread id: {session_id}"))
    }
}

/// Which sessions to list.
pub type Wanted<'a> = dyn Fn(&Session) -> bool + Sync + 'a;

/// Lists and kills sessions. An error means that the store cannot be reached, so the result is unknown.
pub trait SessionStore: Send + Sync {
    /// All sessions that are wanted, without the gateway's own.
    fn list<'a>(&'a self, is_wanted: &'a Wanted<'a>) -> BoxFuture<'a, Result<Vec<Arc<Session>>>>;

    /// Kills one session, at most once.
    fn kill<'a>(&'a self, server_ip: &'a str, session_id: i64) -> BoxFuture<'a, Result<Verdict>>;

    /// The version of the database.
    fn version(&self) -> BoxFuture<'_, Result<String>>;

    /// Replaces all sessions. A store with real sessions refuses.
    fn replace(&self, sessions: Vec<Session>) -> Result<()>;

    /// Adds sessions. A store with real sessions refuses.
    fn add(&self, sessions: Vec<Session>) -> Result<()>;
}
