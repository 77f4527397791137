//! Builds the status to write for a waiting or ended request. Pure; the operator only sends it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use sessionkill_api::{
    ConditionType, Counts, Dispatch, Notice, Outcome, SessionKill, SessionKillStatus, SessionOutcome, SessionReason,
    SessionStatus, WaitReason,
};

use crate::conditions::{condition, without_request};
use crate::kill::conclusion::{Conclusion, bounded, is_goal_reached, is_neutral};
use crate::kill::outcome::{counts, for_all};
use crate::text::clamp;

/// Why a request waits, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The reason of the `Succeeded` condition.
    pub reason: WaitReason,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// The earliest next try; `None` if only a change of the object continues it.
    pub next_attempt: Option<Timestamp>,
}

/// A call that was sent and is being verified.
#[derive(Clone, Debug, PartialEq)]
pub struct InVerification {
    /// The call.
    pub dispatch: Dispatch,
    /// The outcome of each session so far.
    pub sessions: Vec<SessionStatus>,
    /// For which sessions the answer named another user, database or client than was meant.
    pub target_mismatch: Option<String>,
    /// When the verification ends.
    pub until: Timestamp,
}

/// The status of `object` while it waits.
#[must_use]
pub fn waiting(object: &SessionKill, waiting: &Waiting, now: Timestamp) -> SessionKillStatus {
    let old = object.status.clone().unwrap_or_default();
    let held_back = matches!(waiting.reason, WaitReason::Suspended | WaitReason::Scheduled | WaitReason::ClockSkew);
    let reason = waiting.reason.as_str();
    // Keep the results of a call that was made, whatever the request waits for.
    let sessions = match &old.dispatch {
        Some(_) => old.sessions,
        None => for_all(&object.spec.sessions, SessionOutcome::Pending, SessionReason::Waiting),
    };
    let mut set = vec![(ConditionType::Succeeded, "Unknown", reason), (ConditionType::Ready, "False", reason)];
    // A suspended request is not being worked on; Argo CD shows it as Suspended.
    if waiting.reason != WaitReason::Suspended {
        set.push((ConditionType::Reconciling, "True", reason));
    }
    SessionKillStatus {
        observed_generation: object.metadata.generation.unwrap_or_default(),
        // Pauses grow with the time since startTime, so that time without any possible try must not count.
        start_time: if held_back { old.start_time } else { old.start_time.or(Some(Time(now))) },
        completion_time: None,
        next_attempt_time: waiting.next_attempt.map(Time),
        dispatch: old.dispatch,
        counts: Some(counts(&sessions)),
        sessions,
        conditions: conditions(object.metadata.generation, &old.conditions, &set, &waiting.message, now)
            .into_iter()
            .chain(target_mismatch(object, None, now))
            .collect(),
    }
}

/// The status of `object` while the call that was made for it is verified.
#[must_use]
pub fn verifying(object: &SessionKill, call: &InVerification, now: Timestamp) -> SessionKillStatus {
    let message = format!(
        "{} was called: the process list is read until the sessions are gone from it, until {} at most",
        call.dispatch.operation.as_str(),
        call.until.strftime("%Y-%m-%dT%H:%M:%SZ")
    );
    let why = Waiting { reason: WaitReason::Verifying, message, next_attempt: None };
    let mut status = waiting(object, &why, now);
    status.dispatch = Some(call.dispatch.clone());
    status.counts = Some(counts(&call.sessions));
    status.sessions = bounded(call.sessions.clone());
    if call.target_mismatch.is_some() {
        status.conditions.retain(|condition| condition.type_ != ConditionType::TargetMismatch.as_str());
        status.conditions.extend(target_mismatch(object, call.target_mismatch.as_deref(), now));
    }
    status
}

/// The condition for an answer that named another user, database or client than was meant; it stays once set.
fn target_mismatch(object: &SessionKill, named: Option<&str>, now: Timestamp) -> Option<Condition> {
    let old = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let type_ = ConditionType::TargetMismatch.as_str();
    let Some(named) = named else { return old.iter().find(|condition| condition.type_ == type_).cloned() };
    let message = format!("{named}: see whether the right sessions were ended");
    conditions(
        object.metadata.generation,
        old,
        &[(ConditionType::TargetMismatch, "True", Notice::AnswerDiffers.as_str())],
        &message,
        now,
    )
    .pop()
}

/// The status of `object` at its end.
#[must_use]
pub fn finished(object: &SessionKill, conclusion: &Conclusion, now: Timestamp) -> SessionKillStatus {
    let old = object.status.clone().unwrap_or_default();
    let reason = conclusion.reason.as_str();
    let goal_reached = is_goal_reached(conclusion.reason);
    let succeeded = if goal_reached { "True" } else { "False" };
    let mut set = vec![(ConditionType::Succeeded, succeeded, reason)];
    // Otherwise a GitOps tool would show the request as degraded.
    if goal_reached || is_neutral(conclusion.reason) {
        set.push((ConditionType::Ready, "True", reason));
    } else {
        set.push((ConditionType::Ready, "False", reason));
        set.push((ConditionType::Stalled, "True", reason));
    }
    let first_worked_on = conclusion.dispatch.as_ref().map_or(Time(now), |d| d.start_time.clone());
    SessionKillStatus {
        observed_generation: object.metadata.generation.unwrap_or_default(),
        start_time: old.start_time.or(Some(first_worked_on)),
        completion_time: Some(Time(now)),
        next_attempt_time: None,
        dispatch: conclusion.dispatch.clone(),
        counts: Some(Counts { matched: conclusion.matched, ..counts(&conclusion.sessions) }),
        sessions: bounded(conclusion.sessions.clone()),
        conditions: conditions(object.metadata.generation, &old.conditions, &set, &conclusion.message, now)
            .into_iter()
            .chain(target_mismatch(object, conclusion.target_mismatch.as_deref(), now))
            .chain(conclusion.is_unaudited.then(|| unaudited(object, now)).flatten())
            .collect(),
    }
}

/// The condition for a kill whose audit line was lost.
fn unaudited(object: &SessionKill, now: Timestamp) -> Option<Condition> {
    let message = "its audit line is lost, as those before it are not read from the operator's standard output: what it would \
                   have said is in this status and in the SessionKillReceipt; read the operator's output again";
    let set = [(ConditionType::NotAudited, "True", Notice::AuditLineLost.as_str())];
    conditions(object.metadata.generation, &[], &set, message, now).pop()
}

/// The status of an unreadable object, of which only `metadata` is known.
#[must_use]
pub fn unreadable(metadata: &ObjectMeta, outcome: Outcome, message: &str, now: Timestamp) -> SessionKillStatus {
    let reason = outcome.as_str();
    let set = [
        (ConditionType::Succeeded, "False", reason),
        (ConditionType::Ready, "False", reason),
        (ConditionType::Stalled, "True", reason),
    ];
    SessionKillStatus {
        observed_generation: metadata.generation.unwrap_or_default(),
        completion_time: Some(Time(now)),
        conditions: conditions(metadata.generation, &[], &set, message, now),
        ..SessionKillStatus::default()
    }
}

/// Whether the status of `object` already says, at its current generation, that it waits for `reason`.
#[must_use]
pub fn says(object: &SessionKill, reason: WaitReason) -> bool {
    let generation = object.metadata.generation.unwrap_or_default();
    object.status.as_ref().is_some_and(|status| {
        status.observed_generation == generation
            && status.conditions.iter().any(|c| c.type_ == "Succeeded" && c.reason == reason.as_str())
    })
}

/// Whether `new` needs a write, as it says something that `old` did not. The next attempt time and the gateway's
/// request ID do not count: otherwise a thousand requests that wait for one Secret would write on every try.
#[must_use]
pub fn differs(old: Option<&SessionKillStatus>, new: &SessionKillStatus) -> bool {
    let Some(old) = old else { return true };
    let SessionKillStatus {
        observed_generation,
        start_time,
        completion_time,
        next_attempt_time: _,
        dispatch,
        counts,
        sessions,
        conditions,
    } = new;
    let is_same = |(old, new): (&Condition, &Condition)| {
        let told = |c: &Condition| (c.type_.clone(), c.status.clone(), c.reason.clone(), c.observed_generation);
        told(old) == told(new) && without_request(&old.message) == without_request(&new.message)
    };
    old.observed_generation != *observed_generation
        || old.start_time != *start_time
        || old.completion_time != *completion_time
        || old.dispatch != *dispatch
        || old.counts != *counts
        || old.sessions != *sessions
        || old.conditions.len() != conditions.len()
        || !old.conditions.iter().zip(conditions).all(is_same)
}

/// The conditions in `set`, all with `message`; one whose status is unchanged keeps its transition time.
fn conditions(
    generation: Option<i64>,
    old: &[Condition],
    set: &[(ConditionType, &str, &str)],
    message: &str,
    now: Timestamp,
) -> Vec<Condition> {
    let new = |(kind, status, reason): &(ConditionType, &str, &str)| {
        condition(
            old,
            Condition {
                type_: kind.as_str().to_owned(),
                status: (*status).to_owned(),
                reason: (*reason).to_owned(),
                message: clamp(message, 1024),
                last_transition_time: Time(now),
                observed_generation: generation,
            },
        )
    };
    set.iter().map(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::claim::receipt;
    use crate::kill::conclusion::dispatch;
    use crate::test_objects::{attempt, request, time};
    use sessionkill_api::Operation;

    fn shown(status: &SessionKillStatus) -> Vec<String> {
        status.conditions.iter().map(|c| format!("{}={}({})", c.type_, c.status, c.reason)).collect()
    }

    fn waits(object: &SessionKill, reason: WaitReason, message: &str) -> SessionKillStatus {
        let why = Waiting { reason, message: message.to_owned(), next_attempt: None };
        waiting(object, &why, time("10:00:00"))
    }

    fn ended(reason: Outcome) -> SessionKillStatus {
        let why = SessionReason::DeadlineExceeded;
        let conclusion = Conclusion::nothing_sent(&request(), reason, why, "why".to_owned());
        finished(&request(), &conclusion, time("10:00:05"))
    }

    #[test]
    fn a_waiting_request_is_in_progress() {
        let why = Waiting { reason: WaitReason::Throttled, message: "slow".to_owned(), next_attempt: None };
        let status = waiting(&request(), &why, time("10:00:00"));
        assert_eq!(
            shown(&status),
            ["Succeeded=Unknown(Throttled)", "Ready=False(Throttled)", "Reconciling=True(Throttled)"]
        );
        assert_eq!(status.start_time, Some(Time(time("10:00:00"))));
        assert_eq!(status.observed_generation, 1);
        assert_eq!(status.counts.unwrap().total, 2);
    }

    #[test]
    fn a_suspended_request_is_not_reconciling_and_has_not_started() {
        let why = Waiting { reason: WaitReason::Suspended, message: "held".to_owned(), next_attempt: None };
        let status = waiting(&request(), &why, time("10:00:00"));
        assert_eq!(shown(&status), ["Succeeded=Unknown(Suspended)", "Ready=False(Suspended)"]);
        assert_eq!(status.start_time, None);
    }

    #[test]
    fn every_end_has_a_completion_time_and_the_conditions_of_the_table() {
        assert_eq!(
            shown(&ended(Outcome::SessionsKilled)),
            ["Succeeded=True(SessionsKilled)", "Ready=True(SessionsKilled)"]
        );
        assert_eq!(
            shown(&ended(Outcome::AlreadyExecuted)),
            ["Succeeded=True(AlreadyExecuted)", "Ready=True(AlreadyExecuted)"]
        );
        assert_eq!(
            shown(&ended(Outcome::ExpiredOnArrival)),
            ["Succeeded=False(ExpiredOnArrival)", "Ready=True(ExpiredOnArrival)"]
        );
        assert_eq!(shown(&ended(Outcome::Deleted)), ["Succeeded=False(Deleted)", "Ready=True(Deleted)"]);
        for reason in [
            Outcome::DeadlineExceeded,
            Outcome::KillMissed,
            Outcome::NotAllowed,
            Outcome::KillFailed,
            Outcome::OutcomeUnknown,
        ] {
            let status = ended(reason);
            let name = reason.as_str();
            let expected =
                [format!("Succeeded=False({name})"), format!("Ready=False({name})"), format!("Stalled=True({name})")];
            assert_eq!(shown(&status), expected);
            assert!(status.completion_time.is_some());
        }
    }

    #[test]
    fn a_transition_time_moves_only_when_the_status_does() {
        let mut object = request();
        let throttled = Waiting { reason: WaitReason::Throttled, message: String::new(), next_attempt: None };
        object.status = Some(waiting(&object, &throttled, time("10:00:00")));
        let unreachable = Waiting { reason: WaitReason::EndpointUnreachable, ..throttled };
        object.status = Some(waiting(&object, &unreachable, time("10:00:09")));
        let conditions = &object.status.as_ref().unwrap().conditions;
        assert_eq!(conditions[0].last_transition_time.0, time("10:00:00"));
        assert_eq!(conditions[0].reason, "EndpointUnreachable");
    }

    #[test]
    fn a_call_in_verification_shows_what_is_known_and_a_later_wait_forgets_nothing() {
        let mut object = request();
        let receipt = receipt(&object, &attempt());
        let call = InVerification {
            dispatch: dispatch(&receipt, Operation::BatchKillProcessList, "R"),
            sessions: for_all(&object.spec.sessions, SessionOutcome::Killed, SessionReason::Accepted),
            target_mismatch: Some("session 7 of 10.0.0.1: the answer names user app, not report_ro".to_owned()),
            until: time("10:01:00"),
        };
        let status = verifying(&object, &call, time("10:00:02"));
        assert_eq!(
            shown(&status),
            [
                "Succeeded=Unknown(Verifying)",
                "Ready=False(Verifying)",
                "Reconciling=True(Verifying)",
                "TargetMismatch=True(AnswerDiffers)"
            ]
        );
        assert_eq!(status.counts.unwrap().killed, 2);
        assert!(status.conditions[0].message.contains("BatchKillProcessList was called"), "{status:?}");
        object.status = Some(status);

        let why = Waiting { reason: WaitReason::Verifying, message: "gone".to_owned(), next_attempt: None };
        let later = waiting(&object, &why, time("10:05:00"));
        assert_eq!(later.sessions, call.sessions);
        assert_eq!(later.dispatch, Some(call.dispatch.clone()));
        object.status = Some(later);
        let end = finished(&object, &Conclusion::called(call.sessions, call.dispatch, ""), time("10:06:00"));
        assert!(shown(&end).contains(&"TargetMismatch=True(AnswerDiffers)".to_owned()), "{end:?}");
    }

    #[test]
    fn a_kill_whose_audit_line_was_lost_says_so() {
        let sessions = for_all(&request().spec.sessions, SessionOutcome::Killed, SessionReason::Verified);
        let call = dispatch(&receipt(&request(), &attempt()), Operation::KillProcessList, "R");
        let conclusion = Conclusion::called(sessions, call, "");
        let audited = finished(&request(), &conclusion, time("10:00:05"));
        assert!(shown(&audited).iter().all(|it| !it.starts_with("NotAudited")), "{audited:?}");
        let lost = finished(&request(), &Conclusion { is_unaudited: true, ..conclusion }, time("10:00:05"));
        assert_eq!(shown(&lost).last().unwrap(), "NotAudited=True(AuditLineLost)");
    }

    #[test]
    fn an_object_that_cannot_be_read_ends_with_what_is_wrong_with_it() {
        let metadata = ObjectMeta { generation: Some(3), ..ObjectMeta::default() };
        let status = unreadable(&metadata, Outcome::InvalidObject, "delete it", time("10:00:00"));
        assert_eq!(
            shown(&status),
            ["Succeeded=False(InvalidObject)", "Ready=False(InvalidObject)", "Stalled=True(InvalidObject)"]
        );
        assert!(status.conditions.iter().all(|it| it.message == "delete it" && it.observed_generation == Some(3)));
        assert_eq!((status.observed_generation, status.completion_time), (3, Some(Time(time("10:00:00")))));
    }

    #[test]
    fn a_wait_is_told_already_only_for_its_reason_and_at_the_current_generation() {
        let mut object = request();
        assert!(!says(&object, WaitReason::Throttled));
        object.status = Some(waits(&object, WaitReason::Throttled, "slow"));
        assert!(says(&object, WaitReason::Throttled));
        assert!(!says(&object, WaitReason::EndpointUnreachable));
        let mut other = object.clone();
        other.status.as_mut().unwrap().conditions[0].reason = WaitReason::EndpointUnreachable.as_str().to_owned();
        assert!(!says(&other, WaitReason::Throttled), "only another condition says it");
        object.metadata.generation = Some(2);
        assert!(!says(&object, WaitReason::Throttled), "said before an edit");
    }

    #[test]
    fn a_status_is_written_for_each_thing_that_is_new() {
        let old = waits(&request(), WaitReason::Throttled, "E: slow (request A)");
        assert!(differs(None, &old));
        let changes: [fn(&mut SessionKillStatus); 11] = [
            |it| it.observed_generation += 1,
            |it| it.start_time = None,
            |it| it.completion_time = it.start_time.clone(),
            |it| it.dispatch = Some(dispatch(&receipt(&request(), &attempt()), Operation::KillProcessList, "R")),
            |it| it.counts = None,
            |it| it.sessions[0].outcome = SessionOutcome::Gone,
            |it| drop(it.conditions.pop()),
            |it| it.conditions[0].status = "False".to_owned(),
            |it| it.conditions[0].reason = "Suspended".to_owned(),
            |it| it.conditions[1].message = "E: slower (request A)".to_owned(),
            |it| it.conditions[2].observed_generation = Some(2),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut new = old.clone();
            change(&mut new);
            assert!(differs(Some(&old), &new), "change {number}");
        }
    }

    #[test]
    fn no_status_is_written_for_another_pause_or_another_request_id() {
        let old = waits(&request(), WaitReason::Throttled, "E: slow (request A)");
        let mut new = waits(&request(), WaitReason::Throttled, "E: slow (request B)");
        new.next_attempt_time = Some(Time(time("10:00:30")));
        new.conditions[0].last_transition_time = Time(time("10:00:09"));
        assert!(!differs(Some(&old), &new));
    }
}
