//! The outcome of a claim whose holder is gone: nothing is sent again, so it is derived from what the holder left and
//! from the process list. Pure.

use jiff::{SignedDuration, Timestamp};
use kube_core::ResourceExt as _;
use sessionkill_api::{Dispatch, SessionKill, SessionKillReceipt, SessionOutcome, SessionStatus};

use crate::kill::conclusion::{Conclusion, dispatch, nothing_certain, orphaned};
use crate::kill::outcome::sends_nothing;
use crate::kill::verification::{Goal, close, is_open, look};
use crate::snapshot::Snapshot;

/// How long an orphaned claim is observed after its settle deadline, before it ends with an unknown outcome.
const OBSERVATION_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// The end of the orphaned `receipt`, or `None` while a later look may tell more. `request` is the object stored under
/// the name of the request that made the claim. `snapshot` is the process list, which by now shows whatever was
/// executed; `None` if it cannot be read.
#[must_use]
pub fn conclude(
    receipt: &SessionKillReceipt,
    request: Option<&SessionKill>,
    snapshot: Option<&Snapshot>,
    now: Timestamp,
) -> Option<Conclusion> {
    if sends_nothing(&receipt.spec) {
        return Some(Conclusion::unsendable(receipt));
    }
    let known = Known::of(receipt, request);
    let sessions = known.after(snapshot, now);
    let is_told = !is_open(&known.sessions, known.goal.policy)
        || snapshot.is_some() && sessions.iter().all(|session| session.outcome != SessionOutcome::Unknown);
    let settle_deadline = receipt.spec.settle_deadline_time.0;
    let gives_up = settle_deadline.saturating_add(OBSERVATION_WINDOW).unwrap_or(Timestamp::MAX);
    (is_told || now >= gives_up).then(|| {
        Conclusion::called(sessions, known.dispatch, &nothing_certain(receipt)).of_matched(receipt.spec.matched)
    })
}

/// The end of `object` after its receipt was deleted, from the call in its status and the process list; `None` if its
/// status names no call.
#[must_use]
pub fn without_receipt(object: &SessionKill, snapshot: Option<&Snapshot>, now: Timestamp) -> Option<Conclusion> {
    let status = object.status.as_ref()?;
    let (sessions, dispatch) = (status.sessions.clone(), status.dispatch.clone()?);
    let why =
        format!("SessionKillReceipt {} was deleted, and the process list could not be read", dispatch.receipt_name);
    let goal = Goal { scope: object.spec.scope, policy: object.spec.verification.policy };
    let known = Known { sessions, dispatch, goal };
    Some(Conclusion::called(known.after(snapshot, now), known.dispatch, &why))
}

/// The traces that the holder left.
struct Known {
    sessions: Vec<SessionStatus>,
    dispatch: Dispatch,
    goal: Goal,
}

impl Known {
    /// The request's status, if the holder recorded the call there; else only that the call may have been made.
    fn of(receipt: &SessionKillReceipt, request: Option<&SessionKill>) -> Self {
        let made_by = |request: &&SessionKill| Some(&receipt.spec.session_kill_ref.uid) == request.uid().as_ref();
        let request = request.filter(made_by);
        let policy = request.map(|request| request.spec.verification.policy).unwrap_or_default();
        let status = request.and_then(|request| request.status.as_ref());
        let told = status.and_then(|status| {
            let dispatch = status.dispatch.as_ref().filter(|call| call.attempt_id == receipt.spec.attempt_id)?;
            Some((status.sessions.clone(), dispatch.clone()))
        });
        let (sessions, dispatch) =
            told.unwrap_or_else(|| (orphaned(receipt), dispatch(receipt, receipt.spec.operation, "")));
        Self { sessions, dispatch, goal: Goal { scope: receipt.spec.scope, policy } }
    }

    /// The sessions after the last look at the process list.
    fn after(&self, snapshot: Option<&Snapshot>, now: Timestamp) -> Vec<SessionStatus> {
        let looked = snapshot.map(|snapshot| look(&self.sessions, snapshot, self.goal).sessions);
        let sessions = looked.unwrap_or_else(|| self.sessions.clone());
        close(&sessions, snapshot, self.goal, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::claim::receipt;
    use crate::kill::outcome::{ended, for_sent};
    use crate::kill::status::{InVerification, verifying};
    use crate::test_objects::{attempt, request, seen, snapshot, time};
    use sessionkill_api::{Operation, Outcome, SessionReason};

    #[test]
    fn what_is_gone_from_the_list_has_ended_and_what_is_still_there_was_not_killed() {
        let receipt = receipt(&request(), &attempt());
        let list = snapshot(vec![seen(0)]);
        let end = conclude(&receipt, None, Some(&list), time("10:02:00")).unwrap();
        let reasons: Vec<_> = end.sessions.iter().map(|session| (session.outcome, session.reason)).collect();
        assert_eq!(
            reasons,
            [(SessionOutcome::Failed, SessionReason::StillPresent), (SessionOutcome::Gone, SessionReason::NotFound)]
        );
    }

    #[test]
    fn without_a_list_it_is_given_up_only_after_a_while() {
        let receipt = receipt(&request(), &attempt());
        let gives_up = receipt.spec.settle_deadline_time.0 + OBSERVATION_WINDOW;
        assert_eq!(conclude(&receipt, None, None, gives_up - SignedDuration::from_secs(1)), None);
        assert_eq!(conclude(&receipt, None, None, gives_up).unwrap().reason, Outcome::OutcomeUnknown);
        let message = conclude(&receipt, None, None, gives_up).unwrap().message;
        let why =
            "operator pod-1 claimed the call and recorded no certain answer, and the process list could not be read";
        assert!(message.contains(why), "{message}");
    }

    #[test]
    fn what_the_holder_could_still_write_is_believed_of_its_own_request_only() {
        let mut object = request();
        let receipt = receipt(&object, &attempt());
        let call = InVerification {
            dispatch: dispatch(&receipt, Operation::KillProcessList, "R"),
            sessions: for_sent(&receipt.spec.sessions, SessionOutcome::Killed, SessionReason::Accepted),
            target_mismatch: None,
            until: time("10:01:00"),
        };
        object.status = Some(verifying(&object, &call, time("10:00:02")));
        let end = |request: &SessionKill| {
            conclude(&receipt, Some(request), Some(&snapshot(vec![])), time("10:02:00")).unwrap().reason
        };
        assert_eq!(end(&object), Outcome::SessionsKilled);
        object.metadata.uid = Some("uid-2".to_owned());
        assert_eq!(end(&object), Outcome::SessionsGone);
    }

    #[test]
    fn what_the_list_can_no_longer_change_is_told_at_once() {
        let mut attempt = attempt();
        let decided = |session: &SessionStatus| ended(session, SessionOutcome::Gone, SessionReason::NotFound);
        attempt.planned = attempt.planned.iter().map(decided).collect();
        let end = conclude(&receipt(&request(), &attempt), None, None, time("10:02:00")).unwrap();
        assert_eq!(end.reason, Outcome::SessionsGone);
    }

    #[test]
    fn what_a_list_leaves_unknown_is_looked_for_again() {
        let receipt = receipt(&request(), &attempt());
        let part = Snapshot::new(vec![seen(0)], false, time("10:02:00"));
        assert_eq!(conclude(&receipt, None, Some(&part), time("10:02:00")), None);
    }

    #[test]
    fn without_a_receipt_a_call_ends_by_the_status_that_names_it() {
        let mut object = request();
        assert_eq!(without_receipt(&object, Some(&snapshot(vec![])), time("10:02:00")), None);
        let receipt = receipt(&object, &attempt());
        let call = InVerification {
            dispatch: dispatch(&receipt, Operation::KillProcessList, "R"),
            sessions: for_sent(&receipt.spec.sessions, SessionOutcome::Unknown, SessionReason::AnswerLost),
            target_mismatch: None,
            until: time("10:01:00"),
        };
        object.status = Some(verifying(&object, &call, time("10:00:02")));
        let end = |list: Option<&Snapshot>| without_receipt(&object, list, time("10:02:00")).unwrap();
        assert_eq!(end(Some(&snapshot(vec![]))).reason, Outcome::SessionsGone);
        let unknown = end(None);
        assert_eq!((unknown.reason, unknown.dispatch), (Outcome::OutcomeUnknown, Some(call.dispatch)));
        assert!(unknown.message.contains("was deleted, and the process list could not be read"), "{}", unknown.message);
    }
}
