//! How a request ended, in words for people and for programs. Pure; `status` makes the status of it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::outcome::{counts, ended, for_all, for_sent, summary};
use super::text::{clamp, clamp_bytes};
use crate::api::{
    Dispatch, Operation, Outcome, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionOutcome,
    SessionReason, SessionStatus,
};

/// The most bytes a status may take. An object too large for etcd would be refused after the kill, when it is too late.
const MAX_BYTES: usize = 256 * 1024;

/// What a user does who wants another try.
const TRY_AGAIN: &str = "to try again, create a new SessionKill with a new notAfterTime";

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The reason of the `Succeeded` condition.
    pub reason: Outcome,
    /// What happened and what to do, for people.
    pub message: String,
    /// The outcome of each session.
    pub sessions: Vec<SessionStatus>,
    /// The call, if one was made.
    pub dispatch: Option<Dispatch>,
    /// For which sessions the answer named others than were meant.
    pub target_mismatch: Option<String>,
}

impl Conclusion {
    /// Ends a request without a call.
    #[must_use]
    pub fn uncalled(reason: Outcome, message: String, sessions: Vec<SessionStatus>) -> Self {
        Self { reason, message, sessions, dispatch: None, target_mismatch: None }
    }

    /// Ends `object` without a call: every session is skipped for `why`.
    #[must_use]
    pub fn nothing_sent(object: &SessionKill, reason: Outcome, why: SessionReason, message: String) -> Self {
        Self::uncalled(reason, message, for_all(&object.spec.sessions, SessionOutcome::Skipped, why))
    }

    /// Ends a request of whose sessions none is left to kill.
    #[must_use]
    pub fn nothing_left(sessions: Vec<SessionStatus>) -> Self {
        let message = format!("nothing was sent: {}", in_words(&sessions));
        Self::uncalled(summary(&sessions), message, sessions)
    }

    /// Ends a `DryRun`: each of `planned` says what a Kill would do. `executed` is the request, if any, that the same
    /// content was executed as before: a Kill would not be sent at all.
    #[must_use]
    pub fn dry_run(planned: &[SessionStatus], executed: Option<&str>) -> Self {
        let would = |session: &SessionStatus| match session.outcome {
            SessionOutcome::Pending => SessionStatus {
                message: "a Kill would be sent for it".to_owned(),
                ..ended(session, SessionOutcome::Skipped, SessionReason::DryRun)
            },
            _ => session.clone(),
        };
        let sessions: Vec<_> = planned.iter().map(would).collect();
        let killed = sessions.iter().filter(|session| session.reason == SessionReason::DryRun).count();
        let mut message = format!("nothing was sent: a Kill would be sent for {killed} of {} sessions", sessions.len());
        if let Some(name) = executed {
            message = format!(
                "nothing was sent, and nor would a Kill be: the same request was executed before as SessionKill {name}"
            );
        }
        Self::uncalled(Outcome::DryRunCompleted, message, sessions)
    }

    /// Ends a request whose call left `sessions`. `detail` says why an outcome that cannot be told cannot.
    #[must_use]
    pub fn called(sessions: Vec<SessionStatus>, dispatch: Dispatch, detail: &str) -> Self {
        let reason = summary(&sessions);
        let words = in_words(&sessions);
        let message = match reason {
            Outcome::SessionsKilled | Outcome::SessionsGone => words,
            Outcome::OutcomeUnknown => format!(
                "whether the sessions ended cannot be told ({words}): {detail}; nothing is sent again; look at the \
                 sessions, and if they are still there: {TRY_AGAIN}"
            ),
            _ => format!("{words}: see status.sessions; nothing is sent again; {TRY_AGAIN}"),
        };
        Self { reason, message, sessions, dispatch: Some(dispatch), target_mismatch: None }
    }

    /// Ends a request by the recorded outcome of `receipt`. `same_object` says that the record is of this very object.
    #[must_use]
    pub fn recorded(receipt: &SessionKillReceipt, record: &SessionKillReceiptStatus, same_object: bool) -> Self {
        let sessions = record.sessions.clone();
        let dispatch = dispatch(receipt, record.operation, &record.request_id);
        if same_object {
            return Self { reason: record.outcome, ..Self::called(sessions, dispatch, &nothing_certain(receipt)) };
        }
        let name = &receipt.spec.session_kill_ref.name;
        let completed = &record.completion_time.0;
        let outcome = record.outcome.as_str();
        let message = format!(
            "the same request was executed as SessionKill {name} and ended at {completed} with {outcome}; nothing was \
             sent again; to kill again, create a SessionKill with a new notAfterTime"
        );
        let reason = if is_goal_reached(record.outcome) { Outcome::AlreadyExecuted } else { record.outcome };
        Self { reason, message, sessions, dispatch: Some(dispatch), target_mismatch: None }
    }

    /// The record of this conclusion for the receipt.
    #[must_use]
    pub fn record(&self, now: Timestamp) -> SessionKillReceiptStatus {
        SessionKillReceiptStatus {
            outcome: self.reason,
            completion_time: Time(now),
            request_id: self.dispatch.as_ref().map(|d| d.request_id.clone()).unwrap_or_default(),
            operation: self.dispatch.as_ref().map(|d| d.operation).unwrap_or_default(),
            sessions: bounded(self.sessions.clone()),
        }
    }
}

/// What is known of the sessions of `receipt` by nobody but a holder that is gone: those that it named may have been
/// killed.
#[must_use]
pub fn orphaned(receipt: &SessionKillReceipt) -> Vec<SessionStatus> {
    for_sent(&receipt.spec.sessions, SessionOutcome::Unknown, SessionReason::HolderLost)
}

/// Why the outcome of `receipt` cannot be told.
#[must_use]
pub fn nothing_certain(receipt: &SessionKillReceipt) -> String {
    format!(
        "operator {} claimed the call and recorded no certain answer, and the process list could not be read",
        receipt.spec.holder_identity
    )
}

/// What the status says of the call of `operation` made under `receipt`.
#[must_use]
pub fn dispatch(receipt: &SessionKillReceipt, operation: Operation, request_id: &str) -> Dispatch {
    Dispatch {
        receipt_name: receipt.metadata.name.clone().unwrap_or_default(),
        attempt_id: receipt.spec.attempt_id.clone(),
        operation,
        request_id: clamp(request_id, 64),
        start_time: receipt.spec.claim_time.clone(),
    }
}

/// Whether a request that ended with `reason` reached its goal.
#[must_use]
pub const fn is_goal_reached(reason: Outcome) -> bool {
    matches!(
        reason,
        Outcome::SessionsKilled | Outcome::SessionsGone | Outcome::AlreadyExecuted | Outcome::DryRunCompleted
    )
}

/// Keeps the sessions of a status within the limit: first without what was observed, then with short messages.
#[must_use]
pub fn bounded(mut sessions: Vec<SessionStatus>) -> Vec<SessionStatus> {
    if size(&sessions) > MAX_BYTES {
        for session in &mut sessions {
            session.observed = None;
        }
    }
    if size(&sessions) > MAX_BYTES {
        for session in &mut sessions {
            session.error_message = clamp_bytes(&session.error_message, 256);
            session.message = clamp_bytes(&session.message, 256);
        }
    }
    sessions
}

fn size(sessions: &[SessionStatus]) -> usize {
    serde_json::to_vec(sessions).map_or(0, |json| json.len())
}

/// `2 of 4 sessions killed, 1 already gone, 1 skipped`.
fn in_words(sessions: &[SessionStatus]) -> String {
    let counts = counts(sessions);
    let still = sessions.iter().filter(|session| session.reason == SessionReason::StillPresent).count();
    let failed = usize::try_from(counts.failed).unwrap_or_default().saturating_sub(still);
    let others = [
        (usize::try_from(counts.gone).unwrap_or_default(), "gone"),
        (usize::try_from(counts.skipped).unwrap_or_default(), "skipped"),
        (failed, "failed"),
        (still, "still present"),
        (usize::try_from(counts.unknown).unwrap_or_default(), "unknown"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    format!("{} of {} sessions killed{}", counts.killed, counts.total, others.collect::<String>())
}
