//! Compares the sessions of a request with the process list before the kill. Pure.

use sessionkill_api::{Session, SessionOutcome, SessionReason, SessionStatus, SqlTextPolicy};

use crate::kill::expect::mismatch;
use crate::session::{Seen, observed, session_status};
use crate::snapshot::{Presence, Snapshot};
use crate::text::clamp;

/// Which sessions must be in the list before they are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MustSee {
    /// Those with an `expect`.
    Expected,
    /// All.
    All,
}

/// The state of each session before the kill: `Pending` if it is to be killed, else decided. If the list cannot tell, a
/// session stays `Pending`, but one that must be seen gives `Err`, as it could be the wrong one.
pub fn precheck(
    sessions: &[Session],
    snapshot: Option<&Snapshot>,
    must_see: MustSee,
    policy: SqlTextPolicy,
) -> Result<Vec<SessionStatus>, Undecided> {
    sessions.iter().map(|session| check(session, snapshot, must_see, policy)).collect()
}

/// The process list does not show whether a required session exists and is the one that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// It is not complete, or there is none; the text says why, if that is known.
    Incomplete(&'static str),
    /// It has no session of this server, which may be down or not be reached.
    NoServer(String),
    /// It cannot tell this field of `expect`.
    Untold(&'static str),
    /// It has more statements than the selector's pattern is held against.
    TooMuchText,
    /// It cannot tell what a criterion of the selector asks for.
    Unselectable(&'static str),
}

impl std::fmt::Display for Undecided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Incomplete("") => f.write_str("it is not complete"),
            Self::Incomplete(why) => write!(f, "it is not complete: {why}"),
            Self::NoServer(server) => write!(f, "it has no session of the server {server}"),
            Self::Untold(field) => write!(f, "it does not have what expect.{field} asks for"),
            Self::TooMuchText => {
                f.write_str("it has more statements than a pattern is held against: add another field to the selector")
            }
            Self::Unselectable(field) => write!(f, "it does not have {field}, which the selector asks for"),
        }
    }
}

fn check(
    session: &Session,
    snapshot: Option<&Snapshot>,
    must_see: MustSee,
    policy: SqlTextPolicy,
) -> Result<SessionStatus, Undecided> {
    let must_be_seen = must_see == MustSee::All || session.expect.is_some();
    let pending = session_status(session, SessionOutcome::Pending, SessionReason::Waiting);
    if let (Some(expect), Some(snapshot)) = (&session.expect, snapshot)
        && let Some(field) = snapshot.cannot_tell(expect)
    {
        return Err(Undecided::Untold(field));
    }
    let presence = snapshot.map(|snapshot| {
        let server = (session.server_ip.as_str(), session.server_port);
        (snapshot.presence_at(server, session.session_id), snapshot.time)
    });
    match presence {
        None | Some((Presence::Unknown, _)) if must_be_seen => Err(unseen(session, snapshot)),
        None | Some((Presence::Unknown, _)) => Ok(pending),
        Some((Presence::Absent, _)) => Ok(session_status(session, SessionOutcome::Gone, SessionReason::NotFound)),
        Some((Presence::Present(seen), _)) if lacks_port(session, seen) => Err(Undecided::Untold("clientPort")),
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

/// Why a session that must be seen is not in the list for certain.
fn unseen(session: &Session, snapshot: Option<&Snapshot>) -> Undecided {
    match snapshot {
        Some(list) if !list.has_server(&session.server_ip, session.server_port) => {
            let port = session.server_port.map(|port| format!(", SQL port {port}")).unwrap_or_default();
            Undecided::NoServer(format!("{}{port}", session.server_ip))
        }
        list => Undecided::Incomplete(list.map(Snapshot::gap).unwrap_or_default()),
    }
}

/// Whether `expect` names the client's port, which only the row itself can tell or not: behind a proxy some versions do not.
fn lacks_port(session: &Session, seen: &Seen) -> bool {
    seen.client_port.is_empty() && session.expect.as_ref().is_some_and(|expect| expect.client_port.is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::selection::Wanted;
    use crate::snapshot::Limits;
    use crate::test_objects::{request, seen, snapshot, time};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use sessionkill_api::Expect;

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
        assert_eq!(checked(expecting("app"), Some(&part)), Err(Undecided::Incomplete("")));
        let plain = checked(request().spec.sessions[0].clone(), Some(&part)).unwrap();
        assert_eq!(plain.outcome, SessionOutcome::Pending);
    }

    #[test]
    fn absence_from_a_list_that_was_not_read_for_a_session_is_no_end() {
        let ids = Arc::new(Wanted::by_id([seen(1).session_id]));
        let list = snapshot(vec![seen(1)]).of_those_asked_for(ids, vec![]);
        assert!(list.tells_of(&Wanted::by_id([seen(1).session_id])));
        assert!(!list.tells_of(&Wanted::by_id([seen(1).session_id, seen(0).session_id])));
        assert_eq!(list.presence(&seen(0).server_ip, seen(0).session_id), Presence::Unknown);
        assert_eq!(checked(expecting("app"), Some(&list)), Err(Undecided::Incomplete("")));
        // A session with the same ID on another server does not count.
        assert_eq!(list.presence("10.9.9.9", seen(1).session_id), Presence::Absent);
    }

    #[test]
    fn without_a_list_only_sessions_of_which_nothing_is_expected_are_killed() {
        assert_eq!(checked(expecting("report_ro"), None), Err(Undecided::Incomplete("")));
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
        for list in [None, Some(&part)] {
            assert_eq!(checked(list), Err(Undecided::Incomplete("")));
        }
        assert_eq!(checked(Some(&snapshot(vec![seen(1)]))), Ok(SessionOutcome::Gone));
        assert_eq!(checked(Some(&snapshot(vec![seen(0)]))), Ok(SessionOutcome::Pending));
    }

    #[test]
    fn a_server_that_has_no_session_in_the_list_may_be_down_whatever_its_address_shares() {
        let there = Seen { server_port: "2881".to_owned(), ..seen(1) };
        let servers = Some([(there.server_ip.clone(), there.server_port.clone())].into());
        let list = snapshot(vec![there]).with_limits(Limits { servers, ..Limits::default() });
        let at = |server_ip: &str, server_port: Option<i32>| {
            let session =
                Session { server_ip: server_ip.to_owned(), server_port, ..request().spec.sessions[0].clone() };
            let checked = precheck(&[session], Some(&list), MustSee::All, SqlTextPolicy::None);
            checked.map(|sessions| sessions[0].outcome).map_err(|undecided| undecided.to_string())
        };
        let ip = seen(1).server_ip;
        assert_eq!([at(&ip, None), at(&ip, Some(2881))], [Ok(SessionOutcome::Gone), Ok(SessionOutcome::Gone)]);
        let missing = |server: &str| Err(format!("it has no session of the server {server}"));
        assert_eq!(at(&ip, Some(3881)), missing(&format!("{ip}, SQL port 3881")));
        assert_eq!(at("10.9.9.9", None), missing("10.9.9.9"));
    }

    #[test]
    fn a_clients_port_that_its_row_does_not_tell_is_no_mismatch() {
        let expect = Some(Expect { client_port: Some(4711), ..Expect::default() });
        let session = Session { expect, ..request().spec.sessions[0].clone() };
        let told = |port: &str| Seen { client_port: port.to_owned(), ..seen(0) };
        let checked = |port| checked(session.clone(), Some(&snapshot(vec![told(port)]))).map(|session| session.outcome);
        assert_eq!(checked(""), Err(Undecided::Untold("clientPort")));
        assert_eq!(checked("4711"), Ok(SessionOutcome::Pending));
        assert_eq!(checked("4712"), Ok(SessionOutcome::Skipped));
    }
}
