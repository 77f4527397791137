//! A session as the backend shows it and as a status stores it, and the process list of a tenant. Pure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sessionkill_api::{
    Expect, ObservedSession, Scope, Session, SessionOutcome, SessionReason, SessionStatus, SqlTextPolicy,
};

use crate::sql_text::stored;
use crate::text::clamp;

/// The longest time that a list may decide kills (15 s). Session IDs are reused, so that a process that was frozen
/// after reading the list could kill a new session.
const DECIDES_FOR: SignedDuration = SignedDuration::from_secs(15);

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

/// The process list of one tenant at one time, or the part of it that was asked for.
#[derive(Debug)]
pub struct Snapshot {
    sessions: HashMap<i64, Vec<Seen>>,
    complete: bool,
    /// The servers whose sessions it has, by address and port; `None` for all servers.
    servers: Option<HashSet<(String, String)>>,
    /// The fields of `expect` that it cannot tell.
    untold: Vec<&'static str>,
    /// Why it is not complete, for people; empty if it is.
    gap: &'static str,
    /// The IDs whose absence it proves; `None` for all IDs.
    asked: Option<Arc<HashSet<i64>>>,
    /// When reading it began.
    pub time: Timestamp,
}

/// Whether a session is in a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence<'a> {
    /// In the list.
    Present(&'a Seen),
    /// Not in the list, and the list is complete.
    Absent,
    /// Not in the list, but the list is incomplete or was not read for its ID, so that it may still exist.
    Unknown,
}

impl Snapshot {
    /// `complete` says that the list has every session.
    #[must_use]
    pub fn new(sessions: Vec<Seen>, complete: bool, time: Timestamp) -> Self {
        let mut by_id = HashMap::<i64, Vec<Seen>>::with_capacity(sessions.len());
        for seen in sessions {
            by_id.entry(seen.session_id).or_default().push(seen);
        }
        Self { sessions: by_id, complete, servers: None, untold: vec![], gap: "", asked: None, time }
    }

    /// Says of what the list tells nothing: see [`ProcessList`](crate::backend::ProcessList).
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        let Limits { servers, untold, gap } = limits;
        Self { servers, untold, gap, ..self }
    }

    /// The first field of `expect` that the list cannot tell.
    #[must_use]
    pub fn cannot_tell(&self, expect: &Expect) -> Option<&'static str> {
        let is_given = |field: &&'static str| gives(expect, field);
        self.untold.iter().copied().find(is_given)
    }

    /// Why the list is not complete, for people; empty if nothing is known.
    #[must_use]
    pub const fn gap(&self) -> &'static str {
        self.gap
    }

    /// Marks a list as filtered to `ids`, so that it proves nothing about any other session.
    #[must_use]
    pub fn of_those_asked_for(self, ids: Arc<HashSet<i64>>) -> Self {
        Self { asked: Some(ids), ..self }
    }

    /// Whether the list was read for all of `ids`.
    #[must_use]
    pub fn tells_of(&self, ids: &[i64]) -> bool {
        self.asked.as_ref().is_none_or(|asked| ids.iter().all(|id| asked.contains(id)))
    }

    /// Whether the list is recent enough at `now` to decide kills. False if the clock was set back since it was read:
    /// its age is then unknown.
    #[must_use]
    pub fn may_decide(&self, now: Timestamp) -> bool {
        (SignedDuration::ZERO..=DECIDES_FOR).contains(&now.duration_since(self.time))
    }

    /// Finds the session with this ID on this server.
    #[must_use]
    pub fn presence(&self, server_ip: &str, session_id: i64) -> Presence<'_> {
        self.presence_at((server_ip, None), session_id)
    }

    /// Finds the session with this ID on this server, whose port counts if both sides tell it.
    #[must_use]
    pub fn presence_at(&self, (server_ip, server_port): (&str, Option<i32>), session_id: i64) -> Presence<'_> {
        let same_id = self.sessions.get(&session_id).map(Vec::as_slice).unwrap_or_default();
        let port = server_port.map(|port| port.to_string());
        let is_at = |seen: &&Seen| {
            let other_port =
                port.as_ref().is_some_and(|port| !seen.server_port.is_empty() && *port != seen.server_port);
            same_address(server_ip, &seen.server_ip) && !other_port
        };
        match same_id.iter().find(is_at) {
            Some(seen) => Presence::Present(seen),
            None if self.complete && self.tells_of(&[session_id]) && self.has_server(server_ip, server_port) => {
                Presence::Absent
            }
            None => Presence::Unknown,
        }
    }

    /// Whether it has a session of this server, whose port counts if both sides tell it.
    #[must_use]
    pub fn has_server(&self, server_ip: &str, server_port: Option<i32>) -> bool {
        let port = server_port.map(|port| port.to_string());
        let is_it = |(ip, told): &(String, String)| {
            same_address(server_ip, ip) && (told.is_empty() || port.as_ref().is_none_or(|port| port == told))
        };
        self.servers.as_ref().is_none_or(|servers| servers.iter().any(is_it))
    }
}

/// Of what a process list tells nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The servers whose sessions it has, by address and port, which is empty if not told: of another server it tells nothing, as
    /// that may be unreachable. `None` for all.
    pub servers: Option<HashSet<(String, String)>>,
    /// The fields of `expect` that it cannot tell, by their names.
    pub untold: Vec<&'static str>,
    /// Why it is not complete, for people.
    pub gap: &'static str,
}

/// Whether `expect` gives the field of this name.
fn gives(expect: &Expect, field: &str) -> bool {
    match field {
        "user" => expect.user.is_some(),
        "database" => expect.database.is_some(),
        "clientIP" => expect.client_ip.is_some(),
        "clientPort" => expect.client_port.is_some(),
        "command" => expect.command.is_some(),
        "state" => expect.state.is_some(),
        "sqlID" => expect.sql_id.is_some(),
        "traceID" => expect.trace_id.is_some(),
        "transactionID" => expect.transaction_id.is_some(),
        "transaction" => expect.transaction.is_some(),
        "proxySessionID" => expect.proxy_session_id.is_some(),
        "minExecutionSeconds" => expect.min_execution_seconds.is_some(),
        _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{seen, snapshot, time};

    #[test]
    fn the_same_id_on_another_server_is_another_session() {
        let other = Seen { server_ip: "10.9.9.9".to_owned(), ..seen(0) };
        let list = snapshot(vec![other, seen(1)]);
        assert_eq!(list.presence(&seen(0).server_ip, seen(0).session_id), Presence::Absent);
        assert!(matches!(list.presence("10.9.9.9", seen(0).session_id), Presence::Present(_)));
    }

    #[test]
    fn a_list_decides_for_a_while_and_not_if_nobody_can_tell_how_old_it_is() {
        let list = snapshot(vec![]);
        for (clock, expected) in [("09:59:59", false), ("10:00:00", true), ("10:00:15", true), ("10:00:16", false)] {
            assert_eq!(list.may_decide(time(clock)), expected, "{clock}");
        }
    }

    #[test]
    fn a_list_tells_only_of_the_servers_that_it_has() {
        let servers = Some(HashSet::from([("10.0.0.1".to_owned(), String::new())]));
        let list = Snapshot::new(vec![], true, crate::test_objects::time("10:00:00"));
        let list = list.with_limits(Limits { servers, ..Limits::default() });
        assert_eq!(list.presence("10.0.0.1", 7), Presence::Absent);
        assert_eq!(list.presence("10.0.0.2", 7), Presence::Unknown, "that server may be unreachable");
    }

    #[test]
    fn two_servers_on_one_address_are_told_apart_by_their_ports() {
        let at = |port: &str| Seen {
            server_ip: "10.0.0.1".to_owned(),
            server_port: port.to_owned(),
            session_id: 7,
            ..Seen::default()
        };
        let list = |seen| Snapshot::new(vec![seen], true, crate::test_objects::time("10:00:00"));
        let presence = |seen: &Snapshot, port| seen.presence_at(("10.0.0.1", port), 7) != Presence::Absent;
        assert!(presence(&list(at("2881")), Some(2881)) && presence(&list(at("2881")), None));
        assert!(!presence(&list(at("2882")), Some(2881)));
        assert!(presence(&list(at("")), Some(2881)), "a list that tells no port");
    }

    #[test]
    fn a_list_says_what_it_cannot_tell() {
        let list = Snapshot::new(vec![], true, crate::test_objects::time("10:00:00"));
        let list = list.with_limits(Limits { untold: vec!["traceID", "database"], ..Limits::default() });
        let of = |expect| list.cannot_tell(&expect);
        assert_eq!(of(Expect { trace_id: Some("Y".to_owned()), ..Expect::default() }), Some("traceID"));
        assert_eq!(of(Expect { user: Some("a".to_owned()), ..Expect::default() }), None);
    }
}
