//! Reads the outcome of a kill from the process list: the answer's `Status` is a state, not proof of an end. Pure.

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::{
    ObservedSession, Scope, SessionKillReceipt, SessionOutcome, SessionReason, SessionStatus, Verification,
    VerificationPolicy,
};

use crate::clock::CLOCK_SKEW;
use crate::kill::outcome::ended;
use crate::session::{MAX_ADDRESS, MAX_NAME, Seen, same_address};
use crate::snapshot::{Presence, Snapshot};
use crate::text::{clamp, quoted};

/// A call may still execute this long after its dispatch deadline by our clock (7 s), as the gateway checks it by its
/// own clock, which may be behind. Until then, an unanswered call may still kill a session that is in the list.
const EXECUTION_MARGIN: SignedDuration = SignedDuration::from_secs(CLOCK_SKEW.as_secs() + 2);

/// How long to follow the call under `receipt`, which was answered or given up at `now`.
#[must_use]
pub fn followed_until(
    receipt: &SessionKillReceipt,
    verification: &Verification,
    is_answered: bool,
    now: Timestamp,
) -> Timestamp {
    let later = |time: Timestamp, by| time.saturating_add(by).unwrap_or(Timestamp::MAX);
    let until = later(now, SignedDuration::from_secs(verification.timeout_seconds.into()));
    if is_answered { until } else { until.max(later(receipt.spec.dispatch_deadline_time.0, EXECUTION_MARGIN)) }
}

/// What a request wants to see in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// What must have ended.
    pub scope: Scope,
    /// What proves it.
    pub policy: VerificationPolicy,
}

impl From<VerificationPolicy> for Goal {
    /// That sessions have ended.
    fn from(policy: VerificationPolicy) -> Self {
        Self { scope: Scope::Session, policy }
    }
}

/// The result of one look at the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// The outcome of each session so far.
    pub sessions: Vec<SessionStatus>,
    /// Whether another look may change an outcome.
    pub is_open: bool,
}

/// Whether the process list can still change an outcome in `sessions`.
#[must_use]
pub fn is_open(sessions: &[SessionStatus], policy: VerificationPolicy) -> bool {
    sessions.iter().any(|session| end_of(session, policy).is_some())
}

/// The outcome of each session, given its state after the call and a list read after the call.
#[must_use]
pub fn look(sessions: &[SessionStatus], snapshot: &Snapshot, goal: impl Into<Goal>) -> Looked {
    let goal = goal.into();
    let mut is_open = false;
    let looked = |session: &SessionStatus| {
        let Some(end) = end_of(session, goal.policy) else { return session.clone() };
        match state_of(session, snapshot, goal.scope) {
            State::Ended => ended(session, end.absent.0, end.absent.1),
            State::Replaced => ended(session, end.absent.0, SessionReason::IdReused),
            State::QueryEnded => ended(session, end.absent.0, SessionReason::QueryEnded),
            State::Present(_) | State::Unclear => {
                is_open |= !end.is_final;
                session.clone()
            }
        }
    };
    let sessions = sessions.iter().map(looked).collect();
    Looked { sessions, is_open }
}

/// The result of one read of the process list.
#[derive(Clone, Copy, Debug)]
pub enum Read<'a> {
    /// The list.
    List(&'a Snapshot),
    /// No list now; another try may succeed.
    NotYet,
    /// No list until somebody changes something.
    Refused,
}

/// The outcome of each session after one more read of a list that is followed until `until`. `is_open` is false once
/// nothing more can be learned.
#[must_use]
pub fn follow(
    sessions: &[SessionStatus],
    read: Read<'_>,
    goal: impl Into<Goal>,
    until: Timestamp,
    now: Timestamp,
) -> Looked {
    let goal = goal.into();
    let snapshot = if let Read::List(snapshot) = read { Some(snapshot) } else { None };
    let sessions = match snapshot.map(|snapshot| look(sessions, snapshot, goal)) {
        Some(looked) if !looked.is_open => return looked,
        Some(looked) => looked.sessions,
        None => sessions.to_vec(),
    };
    if now < until && !is_in_vain(&sessions, read, goal.policy) {
        return Looked { sessions, is_open: true };
    }
    Looked { sessions: close(&sessions, snapshot, goal, now), is_open: false }
}

/// Whether waiting is useless: the list is refused, and the API's answer is enough for every session.
fn is_in_vain(sessions: &[SessionStatus], read: Read<'_>, policy: VerificationPolicy) -> bool {
    matches!(read, Read::Refused)
        && policy == VerificationPolicy::BestEffort
        && sessions.iter().all(|session| session.outcome != SessionOutcome::Unknown)
}

/// The final outcome of each session. `last` is the list as just read; `None` if it could not be read.
#[must_use]
pub fn close(
    sessions: &[SessionStatus],
    last: Option<&Snapshot>,
    goal: impl Into<Goal>,
    now: Timestamp,
) -> Vec<SessionStatus> {
    let Goal { scope, policy } = goal.into();
    let closed = |session: &SessionStatus| {
        let Some(end) = end_of(session, policy) else { return session.clone() };
        match last.map_or(State::Unclear, |snapshot| state_of(session, snapshot, scope)) {
            _ if end.is_final => session.clone(),
            State::Present(seen) => SessionStatus {
                message: still_there(session, seen, now),
                ..ended(session, SessionOutcome::Failed, SessionReason::StillPresent)
            },
            _ if session.reason == SessionReason::Accepted && policy == VerificationPolicy::Required => {
                ended(session, SessionOutcome::Unknown, SessionReason::NotVerified)
            }
            _ => session.clone(),
        }
    };
    sessions.iter().map(closed).collect()
}

/// What a session's absence from the list means, given its state after the call.
struct End {
    absent: (SessionOutcome, SessionReason),
    /// Its presence in the list changes nothing.
    is_final: bool,
}

/// `None` if the list can tell nothing more about the session.
fn end_of(session: &SessionStatus, policy: VerificationPolicy) -> Option<End> {
    use SessionOutcome::{Failed, Gone, Killed, Unknown};
    let end = |absent, is_final| Some(End { absent, is_final });
    match (session.outcome, session.reason) {
        // The request asked for no more than the API's answer.
        (Killed, SessionReason::Accepted) | (Failed, SessionReason::KillRefused)
            if policy == VerificationPolicy::None =>
        {
            None
        }
        (Killed, SessionReason::Accepted) | (Unknown, SessionReason::NotVerified) => {
            end((Killed, SessionReason::Verified), false)
        }
        // Sent or not: if it is absent it has ended, and nobody can tell why.
        (Unknown, _) => end((Gone, SessionReason::NotFound), false),
        // "Unknown thread id" is no failure: the session had just ended by itself.
        (Failed, SessionReason::KillRefused) => end((Gone, SessionReason::NotFound), true),
        _ => None,
    }
}

enum State<'a> {
    Present(&'a Seen),
    Ended,
    /// Another session has the same ID.
    Replaced,
    /// The session lives, and the statement has ended.
    QueryEnded,
    Unclear,
}

fn state_of<'a>(session: &SessionStatus, snapshot: &'a Snapshot, scope: Scope) -> State<'a> {
    let server = (session.server_ip.as_str(), session.server_port);
    match snapshot.presence_at(server, session.session_id) {
        Presence::Absent => State::Ended,
        Presence::Unknown => State::Unclear,
        Presence::Present(seen) if session.observed.as_ref().is_some_and(|before| is_another(before, seen)) => {
            State::Replaced
        }
        Presence::Present(seen) if scope == Scope::Query && has_ended(session, seen) => State::QueryEnded,
        Presence::Present(seen) => State::Present(seen),
    }
}

/// Whether the statement that `session` ran before the kill is not the one that it runs now. Without its trace ID only an idle
/// session proves that.
fn has_ended(session: &SessionStatus, seen: &Seen) -> bool {
    let before = session.observed.as_ref().map(|before| before.trace_id.as_str()).unwrap_or_default();
    let is_idle = seen.trace_id.is_empty() && seen.status.eq_ignore_ascii_case("SLEEP");
    is_idle || !before.is_empty() && !seen.trace_id.is_empty() && before != clamp(&seen.trace_id, 64)
}

/// Whether `seen` is another session with a reused ID: a field that never changes in a session's life differs. The
/// database and the statement may change; an empty field proves nothing.
fn is_another(before: &ObservedSession, seen: &Seen) -> bool {
    let same_text: fn(&str, &str) -> bool = |before, now| before == now;
    let fields = [
        (&before.user, clamp(&seen.user, MAX_NAME), same_text),
        (&before.host, clamp(&seen.host, MAX_ADDRESS), same_text),
        // The answer to a kill and the list may spell an address differently.
        (&before.client_ip, clamp(&seen.client_ip, MAX_ADDRESS), same_address),
        (&before.proxy_session_id, clamp(&seen.proxy_session_id, 32), same_text),
    ];
    fields.iter().any(|(before, now, same)| !before.is_empty() && !now.is_empty() && !same(before, now))
}

fn still_there(session: &SessionStatus, seen: &Seen, now: Timestamp) -> String {
    let state = if seen.status.is_empty() { "unknown".to_owned() } else { quoted(&seen.status, 64) };
    let seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    let seen = format!("still in the process list at {seconds}, in state {state}; nothing is sent again");
    if session.message.is_empty() { seen } else { clamp(&format!("{}; {seen}", session.message), 1024) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::claim::receipt;
    use crate::test_objects::{attempt, request, seen, snapshot, time};
    use SessionOutcome::{Failed, Gone, Killed, Skipped, Unknown};
    use SessionReason::{
        Accepted, AnswerLost, HolderLost, IdReused, KillRefused, MissingInAnswer, NotFound, NotVerified,
        PreconditionMismatch, StillPresent, Verified,
    };
    use VerificationPolicy::{BestEffort, None as Trusting, Required};

    fn after(outcome: SessionOutcome, reason: SessionReason) -> Vec<SessionStatus> {
        vec![ended(&attempt().planned[0], outcome, reason)]
    }

    fn of(sessions: &[SessionStatus]) -> (SessionOutcome, SessionReason) {
        (sessions[0].outcome, sessions[0].reason)
    }

    /// The outcome by a complete list without the session.
    fn gone(outcome: SessionOutcome, reason: SessionReason) -> (SessionOutcome, SessionReason) {
        let looked = look(&after(outcome, reason), &snapshot(vec![seen(1)]), BestEffort);
        assert!(!looked.is_open);
        of(&looked.sessions)
    }

    /// The outcome by a list in which another session has the ID.
    fn reused(outcome: SessionOutcome, reason: SessionReason) -> (SessionOutcome, SessionReason) {
        let other = Seen { user: "app".to_owned(), ..seen(0) };
        let looked = look(&after(outcome, reason), &snapshot(vec![other]), BestEffort);
        assert!(!looked.is_open);
        of(&looked.sessions)
    }

    #[test]
    fn a_statement_has_ended_when_its_session_is_idle_or_runs_another() {
        let running =
            |trace_id: &str, status: &str| Seen { trace_id: trace_id.to_owned(), status: status.to_owned(), ..seen(0) };
        let killed = |seen: Option<Seen>, outcome, reason| {
            let mut before = after(outcome, reason);
            before[0].observed.as_mut().unwrap().trace_id = "YB-1".to_owned();
            let goal = Goal { scope: Scope::Query, policy: BestEffort };
            let looked = look(&before, &snapshot(seen.into_iter().collect()), goal);
            (!looked.is_open).then(|| of(&looked.sessions))
        };
        let ended = Some((Killed, SessionReason::QueryEnded));
        assert_eq!(killed(Some(running("YB-2", "ACTIVE")), Killed, Accepted), ended);
        assert_eq!(killed(Some(running("", "SLEEP")), Killed, Accepted), ended);
        assert_eq!(killed(Some(running("YB-1", "QUERY_KILLED")), Killed, Accepted), None);
        assert_eq!(killed(Some(running("", "ACTIVE")), Killed, Accepted), None, "nothing tells what it runs");
        assert_eq!(killed(None, Killed, Accepted), Some((Killed, Verified)), "its session ended too");
        let lost = killed(Some(running("YB-2", "ACTIVE")), Unknown, AnswerLost);
        assert_eq!(lost, Some((Gone, SessionReason::QueryEnded)), "nobody can tell why it ended");
        // Of a whole session, the same list says that it is still there.
        let present = look(&after(Killed, Accepted), &snapshot(vec![running("", "SLEEP")]), BestEffort);
        assert!(present.is_open);
    }

    #[test]
    fn the_same_id_at_another_port_of_the_address_is_no_news_of_the_session() {
        let mut before = after(Killed, Accepted);
        before[0].server_port = Some(3881);
        before[0].observed.as_mut().unwrap().host = "10.2.3.4:5".to_owned();
        let at = |port: &str, host: &str| Seen { server_port: port.to_owned(), host: host.to_owned(), ..seen(0) };
        let looked = |list: Vec<Seen>| look(&before, &snapshot(list), BestEffort);
        let both = looked(vec![at("2881", "10.2.3.4:6"), at("3881", "10.2.3.4:5")]);
        assert!(both.is_open && of(&both.sessions) == (Killed, Accepted), "it is still there");
        assert_eq!(of(&looked(vec![at("2881", "10.2.3.4:6")]).sessions), (Killed, Verified));
    }

    #[test]
    fn another_connection_under_the_same_id_is_another_session() {
        let mut before = after(Killed, Accepted);
        before[0].observed.as_mut().unwrap().host = "10.2.3.4:5".to_owned();
        let at = |host: &str| Seen { host: host.to_owned(), ..seen(0) };
        let looked = |host| of(&look(&before, &snapshot(vec![at(host)]), BestEffort).sessions);
        assert_eq!(looked("10.2.3.4:6"), (Killed, IdReused));
        assert_eq!(looked("10.2.3.4:5"), (Killed, Accepted));
    }

    #[test]
    fn a_call_is_followed_until_its_end_or_until_nothing_more_can_be_learned() {
        let (until, accepted) = (time("10:01:00"), after(Killed, Accepted));
        let end = |sessions: &[SessionStatus], read, now| {
            let looked = follow(sessions, read, BestEffort, until, time(now));
            (!looked.is_open).then(|| of(&looked.sessions))
        };
        let (present, gone) = (snapshot(vec![seen(0)]), snapshot(vec![]));
        assert_eq!(end(&accepted, Read::List(&gone), "10:00:10"), Some((Killed, Verified)));
        assert_eq!(end(&accepted, Read::List(&present), "10:00:59"), None);
        assert_eq!(end(&accepted, Read::List(&present), "10:01:00"), Some((Failed, StillPresent)));
        assert_eq!(end(&accepted, Read::NotYet, "10:00:10"), None);
        assert_eq!(end(&accepted, Read::Refused, "10:00:10"), Some((Killed, Accepted)));
        let lost = after(Unknown, AnswerLost);
        assert_eq!(end(&lost, Read::Refused, "10:00:10"), None, "only the list can tell");
        assert_eq!(end(&lost, Read::NotYet, "10:01:00"), Some((Unknown, AnswerLost)));
    }

    #[test]
    fn a_call_without_an_answer_is_followed_until_the_gateway_refuses_it_by_any_clock() {
        let receipt = receipt(&request(), &attempt());
        let verification = Verification { timeout_seconds: 1, ..Verification::default() };
        let deadline = receipt.spec.dispatch_deadline_time.0;
        let until = |is_answered, now| followed_until(&receipt, &verification, is_answered, time(now));
        assert_eq!(until(true, "10:00:02"), time("10:00:03"));
        assert!(until(false, "10:00:02") > deadline + CLOCK_SKEW, "the gateway takes it up to its own deadline");
        assert_eq!(
            until(false, "10:00:02"),
            deadline + SignedDuration::from_secs(7),
            "and a little while to execute it"
        );
        assert_eq!(until(false, "10:01:00"), time("10:01:01"));
    }

    #[test]
    fn a_session_that_is_gone_was_killed_if_the_api_took_the_kill() {
        assert_eq!(gone(Killed, Accepted), (Killed, Verified));
        assert_eq!(gone(Unknown, NotVerified), (Killed, Verified));
        assert_eq!(reused(Killed, Accepted), (Killed, IdReused));
    }

    #[test]
    fn a_session_that_is_gone_after_no_answer_has_ended_by_whomever() {
        for reason in [AnswerLost, MissingInAnswer, HolderLost] {
            assert_eq!(gone(Unknown, reason), (Gone, NotFound));
            assert_eq!(reused(Unknown, reason), (Gone, IdReused));
        }
        assert_eq!(gone(Failed, KillRefused), (Gone, NotFound));
        assert_eq!(reused(Failed, KillRefused), (Gone, IdReused));
    }

    #[test]
    fn a_session_that_is_there_is_waited_for_and_then_failed() {
        let list = snapshot(vec![seen(0)]);
        for (outcome, reason) in [(Killed, Accepted), (Unknown, NotVerified), (Unknown, AnswerLost)] {
            let sessions = after(outcome, reason);
            let looked = look(&sessions, &list, BestEffort);
            assert!(looked.is_open);
            assert_eq!(looked.sessions, sessions);
            let closed = close(&sessions, Some(&list), BestEffort, time("10:01:00"));
            assert_eq!(of(&closed), (Failed, StillPresent));
            assert_eq!(
                closed[0].message,
                "still in the process list at 2026-10-05T10:01:00Z, in state \"ACTIVE\"; nothing is sent again"
            );
        }
    }

    #[test]
    fn a_refusal_of_a_session_that_is_there_is_not_waited_for() {
        let (sessions, list) = (after(Failed, KillRefused), snapshot(vec![seen(0)]));
        let looked = look(&sessions, &list, BestEffort);
        assert!(!looked.is_open);
        assert_eq!(of(&looked.sessions), (Failed, KillRefused));
        assert_eq!(of(&close(&sessions, Some(&list), BestEffort, time("10:01:00"))), (Failed, KillRefused));
    }

    #[test]
    fn without_a_list_the_policy_decides() {
        let closed = |sessions: &[SessionStatus], policy| of(&close(sessions, None, policy, time("10:01:00")));
        assert_eq!(closed(&after(Killed, Accepted), BestEffort), (Killed, Accepted));
        assert_eq!(closed(&after(Killed, Accepted), Required), (Unknown, NotVerified));
        assert_eq!(closed(&after(Unknown, AnswerLost), BestEffort), (Unknown, AnswerLost));
        assert_eq!(closed(&after(Unknown, NotVerified), BestEffort), (Unknown, NotVerified));
    }

    #[test]
    fn an_incomplete_list_proves_no_end() {
        let part = Snapshot::new(vec![], false, time("10:00:30"));
        let sessions = after(Killed, Accepted);
        assert!(look(&sessions, &part, Required).is_open);
        assert_eq!(of(&close(&sessions, Some(&part), Required, time("10:01:00"))), (Unknown, NotVerified));
    }

    #[test]
    fn only_what_is_missing_is_looked_for_if_the_word_of_the_api_is_enough() {
        assert!(!is_open(&after(Killed, Accepted), Trusting));
        assert!(!is_open(&after(Failed, KillRefused), Trusting));
        assert!(is_open(&after(Unknown, AnswerLost), Trusting));
        assert!(is_open(&after(Unknown, NotVerified), Trusting));
        assert!(is_open(&after(Killed, Accepted), BestEffort));
    }

    #[test]
    fn what_was_decided_before_the_call_is_not_looked_for() {
        for sessions in [after(Skipped, PreconditionMismatch), after(Gone, NotFound), after(Killed, Verified)] {
            assert!(!is_open(&sessions, Required));
            assert_eq!(look(&sessions, &snapshot(vec![seen(0)]), Required).sessions, sessions);
        }
    }

    #[test]
    fn a_session_stays_the_same_while_its_statement_and_database_change() {
        let changed = Seen { database: "hr".to_owned(), execute_time: "0".to_owned(), ..seen(0) };
        let looked = look(&after(Killed, Accepted), &snapshot(vec![changed]), Required);
        assert!(looked.is_open);
        let spelt_otherwise = Seen { client_ip: "::ffff:10.2.3.4".to_owned(), ..seen(0) };
        let looked = look(&after(Killed, Accepted), &snapshot(vec![spelt_otherwise]), Required);
        assert!(looked.is_open, "the same address in another spelling");
        let behind_proxy = Seen { proxy_session_id: "1".to_owned(), ..seen(0) };
        let looked = look(&after(Killed, Accepted), &snapshot(vec![behind_proxy]), Required);
        assert!(looked.is_open, "nothing was known of a proxy before");
    }
}
