//! The status that is written for a request, waiting or ended. Pure; the controller only sends it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::outcome::{counts, for_all, summary};
use super::text::{clamp, clamp_bytes};
use crate::api::{
    ConditionType, Dispatch, Operation, Reason, SessionKill, SessionKillReceipt, SessionKillReceiptStatus,
    SessionKillStatus, SessionOutcome, SessionReason, SessionStatus,
};

/// The most bytes a status may take. An object too large for etcd would be refused after the kill, when it is too late.
const MAX_BYTES: usize = 256 * 1024;

/// Why a request waits, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The reason of the `Succeeded` condition.
    pub reason: Reason,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// The earliest next try; none when only a change of the object moves it on.
    pub next_attempt: Option<Timestamp>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The reason of the `Succeeded` condition.
    pub reason: Reason,
    /// What happened and what to do, for people.
    pub message: String,
    /// The outcome of each session.
    pub sessions: Vec<SessionStatus>,
    /// The call, if one was made.
    pub dispatch: Option<Dispatch>,
}

impl Conclusion {
    /// Ends `object` without a call: every session is skipped for `why`.
    #[must_use]
    pub fn nothing_sent(object: &SessionKill, reason: Reason, why: SessionReason, message: String) -> Self {
        let sessions = for_all(&object.spec.sessions, SessionOutcome::Skipped, why);
        Self {
            reason,
            message,
            sessions,
            dispatch: None,
        }
    }

    /// Ends a request whose call left `sessions`.
    #[must_use]
    pub fn called(sessions: Vec<SessionStatus>, dispatch: Dispatch, detail: &str) -> Self {
        let counts = counts(&sessions);
        let reason = summary(&counts);
        let message = match reason {
            Reason::SessionsKilled => format!("{} of {} sessions killed", counts.killed, counts.total),
            Reason::OutcomeUnknown => format!(
                "whether {} of {} sessions were killed cannot be told: {detail}; nothing is sent again; look at the \
                 sessions, and create a new SessionKill with a new notAfterTime if they are still there",
                counts.unknown, counts.total
            ),
            _ => format!(
                "{} of {} sessions killed, {} failed: see status.sessions[].errorMessage",
                counts.killed, counts.total, counts.failed
            ),
        };
        Self {
            reason,
            message,
            sessions,
            dispatch: Some(dispatch),
        }
    }

    /// Ends a request by the recorded outcome of `receipt`. `same_object` says that the record is of this very object.
    #[must_use]
    pub fn recorded(receipt: &SessionKillReceipt, record: &SessionKillReceiptStatus, same_object: bool) -> Self {
        let name = &receipt.spec.session_kill_ref.name;
        let completed = &record.completion_time.0;
        let outcome = record.outcome.as_str();
        let goal_reached = is_goal_reached(record.outcome);
        let message = if same_object {
            format!("outcome recorded at {completed}: {outcome}")
        } else {
            format!(
                "the same request was executed as SessionKill {name} and ended at {completed} with {outcome}; nothing \
                 was sent again; to kill again, create a SessionKill with a new notAfterTime"
            )
        };
        Self {
            reason: if goal_reached && !same_object {
                Reason::AlreadyExecuted
            } else {
                record.outcome
            },
            message,
            sessions: record.sessions.clone(),
            dispatch: Some(dispatch(receipt, &record.request_id)),
        }
    }

    /// The record of this conclusion for the receipt.
    #[must_use]
    pub fn record(&self, now: Timestamp) -> SessionKillReceiptStatus {
        SessionKillReceiptStatus {
            outcome: self.reason,
            completion_time: Time(now),
            request_id: self.dispatch.as_ref().map(|d| d.request_id.clone()).unwrap_or_default(),
            sessions: bounded(self.sessions.clone()),
        }
    }
}

/// What the status says of the call made under `receipt`.
#[must_use]
pub fn dispatch(receipt: &SessionKillReceipt, request_id: &str) -> Dispatch {
    Dispatch {
        receipt_name: receipt.metadata.name.clone().unwrap_or_default(),
        attempt_id: receipt.spec.attempt_id.clone(),
        operation: Operation::KillProcessList,
        request_id: clamp(request_id, 64),
        start_time: receipt.spec.claim_time.clone(),
    }
}

/// The status of `object` while it waits.
#[must_use]
pub fn waiting(object: &SessionKill, waiting: &Waiting, now: Timestamp) -> SessionKillStatus {
    let old = object.status.clone().unwrap_or_default();
    let held_back = matches!(waiting.reason, Reason::Suspended | Reason::Scheduled);
    let sessions = for_all(&object.spec.sessions, SessionOutcome::Pending, SessionReason::Waiting);
    let mut set = vec![
        (ConditionType::Succeeded, "Unknown", waiting.reason),
        (ConditionType::Ready, "False", waiting.reason),
    ];
    // A suspended request is not being worked on; Argo CD shows it as Suspended.
    if waiting.reason != Reason::Suspended {
        set.push((ConditionType::Reconciling, "True", waiting.reason));
    }
    SessionKillStatus {
        observed_generation: object.metadata.generation.unwrap_or_default(),
        // Pauses grow with the time since startTime: time that the user chose to wait must not count.
        start_time: if held_back {
            old.start_time
        } else {
            old.start_time.or(Some(Time(now)))
        },
        completion_time: None,
        next_attempt_time: waiting.next_attempt.map(Time),
        dispatch: old.dispatch,
        counts: Some(counts(&sessions)),
        sessions,
        conditions: conditions(object, &old.conditions, &set, &waiting.message, now),
    }
}

/// The status of `object` at its end.
#[must_use]
pub fn finished(object: &SessionKill, conclusion: &Conclusion, now: Timestamp) -> SessionKillStatus {
    let old = object.status.clone().unwrap_or_default();
    let reason = conclusion.reason;
    let succeeded = if is_goal_reached(reason) { "True" } else { "False" };
    let mut set = vec![(ConditionType::Succeeded, succeeded, reason)];
    // A year-old manifest applied again is harmless: a GitOps tool must not call it degraded.
    if is_goal_reached(reason) || reason == Reason::ExpiredOnArrival {
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
        counts: Some(counts(&conclusion.sessions)),
        sessions: bounded(conclusion.sessions.clone()),
        conditions: conditions(object, &old.conditions, &set, &conclusion.message, now),
    }
}

/// Whether a request that ended with `reason` reached its goal.
#[must_use]
pub const fn is_goal_reached(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SessionsKilled | Reason::SessionsGone | Reason::AlreadyExecuted
    )
}

/// Whether `new` says anything that `old` did not: a write that changes nothing is not made.
#[must_use]
pub fn differs(old: Option<&SessionKillStatus>, new: &SessionKillStatus) -> bool {
    old != Some(new)
}

/// The conditions in `set`, all with `message`; the transition time of one whose status stays is kept.
fn conditions(
    object: &SessionKill,
    old: &[Condition],
    set: &[(ConditionType, &str, Reason)],
    message: &str,
    now: Timestamp,
) -> Vec<Condition> {
    let generation = object.metadata.generation;
    set.iter()
        .map(|(kind, status, reason)| condition(old, *kind, status, *reason, message, generation, now))
        .collect()
}

/// One condition; its transition time is that of the same type in `old` if the status is the same.
#[must_use]
pub fn condition(
    old: &[Condition],
    kind: ConditionType,
    status: &str,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let unchanged = old.iter().find(|c| c.type_ == kind.as_str() && c.status == status);
    Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: clamp(message, 1024),
        last_transition_time: unchanged.map_or(Time(now), |c| c.last_transition_time.clone()),
        observed_generation: generation,
    }
}

/// Keeps the sessions of a status within the limit: first without what was observed, then with short messages.
fn bounded(mut sessions: Vec<SessionStatus>) -> Vec<SessionStatus> {
    if size(&sessions) > MAX_BYTES {
        for session in &mut sessions {
            session.observed = None;
        }
    }
    if size(&sessions) > MAX_BYTES {
        for session in &mut sessions {
            session.error_message = clamp_bytes(&session.error_message, 256);
        }
    }
    sessions
}

fn size(sessions: &[SessionStatus]) -> usize {
    serde_json::to_vec(sessions).map_or(0, |json| json.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ObservedSession;
    use crate::domain::test_objects::{request, time};

    fn shown(status: &SessionKillStatus) -> Vec<String> {
        status
            .conditions
            .iter()
            .map(|c| format!("{}={}({})", c.type_, c.status, c.reason))
            .collect()
    }

    fn ended(reason: Reason) -> SessionKillStatus {
        let why = SessionReason::DeadlineExceeded;
        let conclusion = Conclusion::nothing_sent(&request(), reason, why, "why".to_owned());
        finished(&request(), &conclusion, time("10:00:05"))
    }

    #[test]
    fn a_waiting_request_is_in_progress() {
        let why = Waiting {
            reason: Reason::Throttled,
            message: "slow".to_owned(),
            next_attempt: None,
        };
        let status = waiting(&request(), &why, time("10:00:00"));
        assert_eq!(
            shown(&status),
            [
                "Succeeded=Unknown(Throttled)",
                "Ready=False(Throttled)",
                "Reconciling=True(Throttled)"
            ]
        );
        assert_eq!(status.start_time, Some(Time(time("10:00:00"))));
        assert_eq!(status.observed_generation, 1);
        assert_eq!(status.counts.unwrap().total, 2);
    }

    #[test]
    fn a_suspended_request_is_not_reconciling_and_has_not_started() {
        let why = Waiting {
            reason: Reason::Suspended,
            message: "held".to_owned(),
            next_attempt: None,
        };
        let status = waiting(&request(), &why, time("10:00:00"));
        assert_eq!(
            shown(&status),
            ["Succeeded=Unknown(Suspended)", "Ready=False(Suspended)"]
        );
        assert_eq!(status.start_time, None);
    }

    #[test]
    fn every_end_has_a_completion_time_and_the_conditions_of_the_table() {
        assert_eq!(
            shown(&ended(Reason::SessionsKilled)),
            ["Succeeded=True(SessionsKilled)", "Ready=True(SessionsKilled)"]
        );
        assert_eq!(
            shown(&ended(Reason::AlreadyExecuted)),
            ["Succeeded=True(AlreadyExecuted)", "Ready=True(AlreadyExecuted)"]
        );
        assert_eq!(
            shown(&ended(Reason::ExpiredOnArrival)),
            ["Succeeded=False(ExpiredOnArrival)", "Ready=True(ExpiredOnArrival)"]
        );
        for reason in [
            Reason::DeadlineExceeded,
            Reason::NotAllowed,
            Reason::KillFailed,
            Reason::OutcomeUnknown,
        ] {
            let status = ended(reason);
            let name = reason.as_str();
            let expected = [
                format!("Succeeded=False({name})"),
                format!("Ready=False({name})"),
                format!("Stalled=True({name})"),
            ];
            assert_eq!(shown(&status), expected);
            assert!(status.completion_time.is_some());
        }
    }

    #[test]
    fn a_transition_time_moves_only_when_the_status_does() {
        let mut object = request();
        let throttled = Waiting {
            reason: Reason::Throttled,
            message: String::new(),
            next_attempt: None,
        };
        object.status = Some(waiting(&object, &throttled, time("10:00:00")));
        let unreachable = Waiting {
            reason: Reason::EndpointUnreachable,
            ..throttled
        };
        object.status = Some(waiting(&object, &unreachable, time("10:00:09")));
        let conditions = &object.status.as_ref().unwrap().conditions;
        assert_eq!(conditions[0].last_transition_time.0, time("10:00:00"));
        assert_eq!(conditions[0].reason, "EndpointUnreachable");
    }

    #[test]
    fn a_copied_outcome_is_already_executed_unless_it_failed() {
        let attempt = crate::domain::claim::Attempt {
            attempt_id: "a".to_owned(),
            holder_identity: "h".to_owned(),
            claim_time: time("10:00:00"),
            dispatch_window: jiff::SignedDuration::from_secs(15),
            request_timeout: jiff::SignedDuration::from_secs(10),
        };
        let receipt = crate::domain::claim::receipt(&request(), &attempt);
        let mut record = SessionKillReceiptStatus {
            outcome: Reason::SessionsKilled,
            completion_time: Time(time("10:00:01")),
            request_id: "R".to_owned(),
            sessions: vec![],
        };
        let copied = Conclusion::recorded(&receipt, &record, false);
        assert_eq!(copied.reason, Reason::AlreadyExecuted);
        assert_eq!(copied.dispatch.unwrap().request_id, "R");
        assert_eq!(
            Conclusion::recorded(&receipt, &record, true).reason,
            Reason::SessionsKilled
        );
        record.outcome = Reason::PartiallyKilled;
        assert_eq!(
            Conclusion::recorded(&receipt, &record, false).reason,
            Reason::PartiallyKilled
        );
    }

    #[test]
    fn a_status_never_outgrows_the_limit() {
        let text = "数".repeat(1024);
        let observed = ObservedSession {
            sql_text: text.clone(),
            user: text.clone(),
            ..ObservedSession::default()
        };
        let session = |session_id| SessionStatus {
            server_ip: "10.0.0.1".to_owned(),
            session_id,
            outcome: SessionOutcome::Failed,
            reason: SessionReason::KillRefused,
            status: String::new(),
            error_message: text.clone(),
            observed: Some(observed.clone()),
        };
        let conclusion = Conclusion {
            reason: Reason::KillFailed,
            message: text.clone(),
            sessions: (0..100).map(session).collect(),
            dispatch: None,
        };
        let status = finished(&request(), &conclusion, time("10:00:00"));
        assert!(serde_json::to_vec(&status).unwrap().len() < MAX_BYTES + 16 * 1024);
        assert_eq!(status.sessions.len(), 100);
    }
}
