//! A session as the backend shows it and as a status stores it. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sessionkill_api::{
    Expect, ObservedSession, Scope, Session, SessionOutcome, SessionReason, SessionStatus, SqlTextPolicy,
};

use crate::sql_text::stored;
use crate::text::clamp;

/// The most characters stored of a user name or a database name.
pub const MAX_NAME: usize = 128;
/// The most characters stored of an address.
pub const MAX_ADDRESS: usize = 64;

/// A session as the API shows it, with unchanged text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `ServerIp`.
    pub server_ip: String,
    /// The SQL port of the server, as text; empty if not told.
    pub server_port: String,
    /// `SessionId`.
    pub session_id: i64,
    /// `Status`: the session's state.
    pub status: String,
    /// The address and port of the session's connection, as the server sees them; empty if not told.
    pub host: String,
    /// `ClientIp`.
    pub client_ip: String,
    /// The port of the client, as text; empty if not told.
    pub client_port: String,
    /// `TenantId`.
    pub tenant_id: String,
    /// `User`.
    pub user: String,
    /// `Database`.
    pub database: String,
    /// `SqlText`.
    pub sql_text: String,
    /// `SqlId`; only the process list has it.
    pub sql_id: String,
    /// The trace ID of the running statement; empty if none runs or if not told.
    pub trace_id: String,
    /// The ID of the open transaction, as text; empty if none is open or if not told.
    pub transaction_id: String,
    /// `Command`.
    pub command: String,
    /// `ExecuteTime`, as text.
    pub execute_time: String,
    /// `ProxySessId`; only the process list has it.
    pub proxy_session_id: String,
}

impl Seen {
    /// How many whole seconds it has been in its present state; `None` if that cannot be read. The API declares a number of
    /// seconds.
    #[must_use]
    pub fn seconds(&self) -> Option<i64> {
        self.execute_time.split('.').next().and_then(|text| text.trim().parse().ok())
    }
}

/// What a request means by a session: two requests may name the same one, and mean different things.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meant {
    /// What is ended of it.
    pub scope: Scope,
    /// The port of its server, if the request names it.
    pub server_port: Option<i32>,
    /// What it must be like.
    pub expect: Option<Expect>,
}

/// A session in the answer to a kill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The session as the row shows it.
    pub seen: Seen,
    /// `ErrorMessage`.
    pub error_message: String,
    /// What is known of this one session.
    pub verdict: Verdict,
    /// Which request's session it is, if the answer depends on that.
    pub meant: Option<Meant>,
}

/// What is known of one session after a call that has an answer for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It was answered for: refused, if there is an error message.
    #[default]
    Answered,
    /// Nothing was sent for it, as it is not what the request means: the text says how it differs.
    Skipped(String),
    /// Nothing was sent for it, as it has ended: it is gone, or its ID belongs to another session.
    Gone(SessionReason),
    /// Sent, and no certain answer came.
    Ambiguous(String),
    /// Nothing was sent for it, as the call ended before: the text says why.
    NotSent(String),
}

/// Compares addresses instead of spellings, as the API may write an IPv6 address differently than the request.
#[must_use]
pub fn same_address(one: &str, other: &str) -> bool {
    let parsed = |text: &str| text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical());
    // Most are spelled alike, and parsing is most of the work.
    one == other || parsed(one).is_some_and(|one| parsed(other) == Some(one))
}

/// The part of a session seen at `time` that is stored, with each field cut to its limit in characters.
#[must_use]
pub fn observed(seen: &Seen, policy: SqlTextPolicy, time: Timestamp) -> ObservedSession {
    ObservedSession {
        host: clamp(&seen.host, MAX_ADDRESS),
        client_ip: clamp(&seen.client_ip, MAX_ADDRESS),
        user: clamp(&seen.user, MAX_NAME),
        database: clamp(&seen.database, MAX_NAME),
        command: clamp(&seen.command, 64),
        execute_time: clamp(&seen.execute_time, 32),
        sql_id: clamp(&seen.sql_id, 64),
        trace_id: clamp(&seen.trace_id, 64),
        transaction_id: clamp(&seen.transaction_id, 32),
        proxy_session_id: clamp(&seen.proxy_session_id, 32),
        sql_text: stored(&seen.sql_text, policy),
        tenant_id: clamp(&seen.tenant_id, 64),
        observation_time: Some(Time(time)),
    }
}

/// The status of a session that has not been observed.
#[must_use]
pub fn session_status(session: &Session, outcome: SessionOutcome, reason: SessionReason) -> SessionStatus {
    SessionStatus {
        server_ip: session.server_ip.clone(),
        server_port: session.server_port,
        session_id: session.session_id,
        outcome,
        reason,
        status: String::new(),
        error_message: String::new(),
        message: String::new(),
        observed: None,
    }
}
