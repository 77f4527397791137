//! A session as it is seen and as it is told of, and the process list of a tenant. Pure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sessionkill_api::{ObservedSession, Session, SessionOutcome, SessionReason, SessionStatus, SqlTextPolicy};

use crate::sql_text::stored;
use crate::text::clamp;

/// For how long after it was read a list decides what may be killed: IDs are used again, and a process that was frozen
/// meanwhile would act on what is long over.
const DECIDES_FOR: SignedDuration = SignedDuration::from_secs(15);

/// The most characters that are stored of the name of a user or a database, and of an address.
pub const MAX_NAME: usize = 128;
/// See [`MAX_NAME`].
pub const MAX_ADDRESS: usize = 64;

/// A session as the API shows it, text as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `ServerIp`.
    pub server_ip: String,
    /// `SessionId`.
    pub session_id: i64,
    /// `Status`: the session's state.
    pub status: String,
    /// `ClientIp`.
    pub client_ip: String,
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
    /// `Command`.
    pub command: String,
    /// `ExecuteTime`, as text.
    pub execute_time: String,
    /// `ProxySessId`; only the process list has it.
    pub proxy_session_id: String,
}

/// The process list of one tenant at one time, or what of it was asked for.
#[derive(Debug)]
pub struct Snapshot {
    sessions: HashMap<i64, Vec<Seen>>,
    complete: bool,
    /// Whose absence it can tell; none if anybody's.
    asked: Option<Arc<HashSet<i64>>>,
    /// When its reading began.
    pub time: Timestamp,
}

/// Where a session stands in a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence<'a> {
    /// In the list.
    Present(&'a Seen),
    /// Not in the list, and the list is complete.
    Absent,
    /// Not in a list that is not complete, or that was not read for its ID: that proves nothing.
    Unknown,
}

impl Snapshot {
    /// The sessions of a list. `complete` says that no session is missing from it.
    #[must_use]
    pub fn new(sessions: Vec<Seen>, complete: bool, time: Timestamp) -> Self {
        let mut by_id = HashMap::<i64, Vec<Seen>>::with_capacity(sessions.len());
        for seen in sessions {
            by_id.entry(seen.session_id).or_default().push(seen);
        }
        Self { sessions: by_id, complete, asked: None, time }
    }

    /// The same of a list of which only the sessions with these IDs were kept: it tells nothing of any other.
    #[must_use]
    pub fn of_those_asked_for(self, ids: Arc<HashSet<i64>>) -> Self {
        Self { asked: Some(ids), ..self }
    }

    /// Whether the sessions with `ids` would be in it.
    #[must_use]
    pub fn tells_of(&self, ids: &[i64]) -> bool {
        self.asked.as_ref().is_none_or(|asked| ids.iter().all(|id| asked.contains(id)))
    }

    /// Whether at `now` the list is recent enough to decide what may be killed. Not if the clock was set back since: then
    /// nobody can tell.
    #[must_use]
    pub fn may_decide(&self, now: Timestamp) -> bool {
        (SignedDuration::ZERO..=DECIDES_FOR).contains(&now.duration_since(self.time))
    }

    /// Where the session with this ID on this server stands.
    #[must_use]
    pub fn presence(&self, server_ip: &str, session_id: i64) -> Presence<'_> {
        let same_id = self.sessions.get(&session_id).map(Vec::as_slice).unwrap_or_default();
        match same_id.iter().find(|seen| same_address(server_ip, &seen.server_ip)) {
            Some(seen) => Presence::Present(seen),
            None if self.complete && self.tells_of(&[session_id]) => Presence::Absent,
            None => Presence::Unknown,
        }
    }
}

/// A session in the answer to a kill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The session as the row shows it.
    pub seen: Seen,
    /// `ErrorMessage`.
    pub error_message: String,
}

/// Compares addresses, not spellings: the API may write an IPv6 address in another form than the request.
#[must_use]
pub fn same_address(one: &str, other: &str) -> bool {
    match (one.trim().parse::<IpAddr>(), other.trim().parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one.to_canonical() == other.to_canonical(),
        _ => one == other,
    }
}

/// What is stored of a session that was seen at `time`.
#[must_use]
pub fn observed(seen: &Seen, policy: SqlTextPolicy, time: Timestamp) -> ObservedSession {
    ObservedSession {
        client_ip: clamp(&seen.client_ip, MAX_ADDRESS),
        user: clamp(&seen.user, MAX_NAME),
        database: clamp(&seen.database, MAX_NAME),
        command: clamp(&seen.command, 64),
        execute_time: clamp(&seen.execute_time, 32),
        sql_id: clamp(&seen.sql_id, 64),
        proxy_session_id: clamp(&seen.proxy_session_id, 32),
        sql_text: stored(&seen.sql_text, policy),
        tenant_id: clamp(&seen.tenant_id, 64),
        observation_time: Some(Time(time)),
    }
}

/// The status of a session of which nothing is known yet.
#[must_use]
pub fn session_status(session: &Session, outcome: SessionOutcome, reason: SessionReason) -> SessionStatus {
    SessionStatus {
        server_ip: session.server_ip.clone(),
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
}
