//! What the process list says of the sessions of a request, before the kill. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::expect::{mismatch, same_address};
use super::outcome::session_status;
use super::sql_text::stored;
use super::text::clamp;
use crate::api::{ObservedSession, Session, SessionOutcome, SessionReason, SessionStatus, SqlTextPolicy};

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

/// Which sessions must be seen in the list before they are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MustSee {
    /// Those of which something is expected.
    Expected,
    /// All.
    All,
}

/// How each session stands before the kill: `Pending` if it is to be killed, else decided. Without a list nothing can be
/// decided. `Err` if that leaves a session that must be seen: it could be the wrong one.
pub fn precheck(
    sessions: &[Session],
    snapshot: Option<&Snapshot>,
    must_see: MustSee,
    policy: SqlTextPolicy,
) -> Result<Vec<SessionStatus>, Undecided> {
    sessions.iter().map(|session| check(session, snapshot, must_see, policy)).collect()
}

/// The process list cannot tell of a session that must be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided;

fn check(
    session: &Session,
    snapshot: Option<&Snapshot>,
    must_see: MustSee,
    policy: SqlTextPolicy,
) -> Result<SessionStatus, Undecided> {
    let must_be_seen = must_see == MustSee::All || session.expect.is_some();
    let pending = session_status(session, SessionOutcome::Pending, SessionReason::Waiting);
    let presence = snapshot.map(|snapshot| (snapshot.presence(&session.server_ip, session.session_id), snapshot.time));
    match presence {
        None | Some((Presence::Unknown, _)) if must_be_seen => Err(Undecided),
        None | Some((Presence::Unknown, _)) => Ok(pending),
        Some((Presence::Absent, _)) => Ok(session_status(session, SessionOutcome::Gone, SessionReason::NotFound)),
        Some((Presence::Present(seen), time)) => {
            let pending = SessionStatus { observed: Some(observed(seen, policy, time)), ..pending };
            Ok(match session.expect.as_ref().and_then(|expect| mismatch(expect, seen)) {
                None => pending,
                Some(difference) => SessionStatus {
                    outcome: SessionOutcome::Skipped,
                    reason: SessionReason::PreconditionMismatch,
                    message: clamp(&difference, 1024),
                    ..pending
                },
            })
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Expect;
    use crate::domain::test_objects::{request, seen, snapshot, time};

    fn expecting(user: &str) -> Session {
        let expect = Expect { user: Some(user.to_owned()), ..Expect::default() };
        Session { expect: Some(expect), ..request().spec.sessions[0].clone() }
    }

    fn checked(session: Session, snapshot: Option<&Snapshot>) -> Result<SessionStatus, Undecided> {
        precheck(&[session], snapshot, MustSee::Expected, SqlTextPolicy::Truncated)
            .map(|mut sessions| sessions.remove(0))
    }

    #[test]
    fn a_session_that_is_there_and_as_expected_is_to_be_killed() {
        let session = checked(expecting("report_ro"), Some(&snapshot(vec![seen(0)]))).unwrap();
        assert_eq!((session.outcome, session.reason), (SessionOutcome::Pending, SessionReason::Waiting));
        let observed = session.observed.unwrap();
        assert_eq!((observed.user.as_str(), observed.observation_time), ("report_ro", Some(Time(time("10:00:00")))));
    }

    #[test]
    fn another_session_is_skipped_and_the_message_says_how_it_differs() {
        let session = checked(expecting("app"), Some(&snapshot(vec![seen(0)]))).unwrap();
        assert_eq!((session.outcome, session.reason), (SessionOutcome::Skipped, SessionReason::PreconditionMismatch));
        assert_eq!(session.message, r#"user is "report_ro", expected "app""#);
        assert!(session.observed.is_some());
    }

    #[test]
    fn only_absence_from_a_complete_list_is_an_end() {
        let session = checked(expecting("app"), Some(&snapshot(vec![seen(1)]))).unwrap();
        assert_eq!((session.outcome, session.reason), (SessionOutcome::Gone, SessionReason::NotFound));
        let part = Snapshot::new(vec![seen(1)], false, time("10:00:00"));
        assert_eq!(checked(expecting("app"), Some(&part)), Err(Undecided));
        let plain = checked(request().spec.sessions[0].clone(), Some(&part)).unwrap();
        assert_eq!(plain.outcome, SessionOutcome::Pending);
    }

    #[test]
    fn absence_from_a_list_that_was_not_read_for_a_session_is_no_end() {
        let ids = Arc::new([seen(1).session_id].into());
        let list = snapshot(vec![seen(1)]).of_those_asked_for(ids);
        assert!(list.tells_of(&[seen(1).session_id]) && !list.tells_of(&[seen(1).session_id, seen(0).session_id]));
        assert_eq!(list.presence(&seen(0).server_ip, seen(0).session_id), Presence::Unknown);
        assert_eq!(checked(expecting("app"), Some(&list)), Err(Undecided));
        // Another server's session of an ID that was asked for is not there.
        assert_eq!(list.presence("10.9.9.9", seen(1).session_id), Presence::Absent);
    }

    #[test]
    fn without_a_list_only_sessions_of_which_nothing_is_expected_are_killed() {
        assert_eq!(checked(expecting("report_ro"), None), Err(Undecided));
        let plain = checked(request().spec.sessions[0].clone(), None).unwrap();
        assert_eq!((plain.outcome, plain.observed), (SessionOutcome::Pending, None));
    }

    #[test]
    fn where_all_must_be_seen_none_is_killed_without_the_list_or_that_it_does_not_show() {
        let plain = &request().spec.sessions[..1];
        let checked = |list: Option<&Snapshot>| {
            let checked = precheck(plain, list, MustSee::All, SqlTextPolicy::None);
            checked.map(|sessions| sessions[0].outcome)
        };
        let part = Snapshot::new(vec![seen(1)], false, time("10:00:00"));
        assert_eq!([checked(None), checked(Some(&part))], [Err(Undecided); 2]);
        assert_eq!(checked(Some(&snapshot(vec![seen(1)]))), Ok(SessionOutcome::Gone));
        assert_eq!(checked(Some(&snapshot(vec![seen(0)]))), Ok(SessionOutcome::Pending));
    }

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
