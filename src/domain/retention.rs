//! What may be removed or updated after the end. Pure; the sweep does it.

use jiff::{SignedDuration, Timestamp};

use crate::api::{Outcome, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillStatus};

/// Whether a finished request has outlived its `ttlSecondsAfterFinished`. Never before its `notAfterTime`: until then, a
/// tool that re-creates it must find it, or find its receipt.
#[must_use]
pub fn ttl_expired(request: &SessionKill, now: Timestamp) -> bool {
    let completed = request.status.as_ref().and_then(|status| status.completion_time.as_ref());
    let (Some(completed), Some(ttl)) = (completed, request.spec.ttl_seconds_after_finished) else { return false };
    let due = completed.0.saturating_add(SignedDuration::from_secs(ttl.into())).unwrap_or(Timestamp::MAX);
    request.metadata.deletion_timestamp.is_none() && due.max(request.spec.not_after_time.0) <= now
}

/// Whether a receipt has been kept for `retention` after its `notAfterTime`: its request can never be sent again anyway.
#[must_use]
pub fn receipt_expired(receipt: &SessionKillReceipt, retention: SignedDuration, now: Timestamp) -> bool {
    let latest = receipt.spec.not_after_time.0.max(receipt.spec.settle_deadline_time.0);
    latest.saturating_add(retention).unwrap_or(Timestamp::MAX) <= now
}

/// Whether `request`, which is stored under the name of the one that made the claim of `receipt`, has yet to end by it. While
/// it has, the receipt must stay, however old: without it the request would say that nothing was sent.
#[must_use]
pub fn is_awaited(receipt: &SessionKillReceipt, request: Option<&SessionKill>) -> bool {
    request.is_some_and(|request| {
        request.metadata.uid.as_ref() == Some(&receipt.spec.session_kill_ref.uid)
            && request.status.as_ref().is_none_or(|status| status.completion_time.is_none())
    })
}

/// The status of a finished request whose mutable fields were edited after its end, brought up to its generation; none
/// if it already is. Without it, tools would wait for ever.
#[must_use]
pub fn observed_again(request: &SessionKill) -> Option<SessionKillStatus> {
    let generation = request.metadata.generation?;
    let status = request.status.as_ref().filter(|status| status.completion_time.is_some())?;
    if status.observed_generation == generation || request.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let mut status = status.clone();
    status.observed_generation = generation;
    for condition in &mut status.conditions {
        condition.observed_generation = Some(generation);
    }
    Some(status)
}

/// The record for `receipt`, if `request` made its claim and has settled the outcome of it.
#[must_use]
pub fn record_of(request: &SessionKill, receipt: &SessionKillReceipt) -> Option<SessionKillReceiptStatus> {
    let status = request.status.as_ref()?;
    let dispatch = status.dispatch.as_ref().filter(|dispatch| dispatch.attempt_id == receipt.spec.attempt_id)?;
    let succeeded = status.conditions.iter().find(|condition| condition.type_ == "Succeeded")?;
    let outcome: Outcome = serde_json::from_value(succeeded.reason.as_str().into()).ok()?;
    // A copied outcome is no new one: the receipt it was copied from had it already.
    if outcome == Outcome::AlreadyExecuted {
        return None;
    }
    Some(SessionKillReceiptStatus {
        outcome,
        completion_time: status.completion_time.clone()?,
        request_id: dispatch.request_id.clone(),
        operation: dispatch.operation,
        sessions: status.sessions.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{SessionOutcome, SessionReason};
    use crate::domain::claim::receipt;
    use crate::domain::conclusion::{Conclusion, dispatch};
    use crate::domain::outcome::for_all;
    use crate::domain::status::finished;
    use crate::domain::test_objects::{attempt, request, time};

    fn claimed() -> SessionKillReceipt {
        receipt(&request(), &attempt())
    }

    fn ended() -> SessionKill {
        let mut object = request();
        let sessions = for_all(&object.spec.sessions, SessionOutcome::Killed, SessionReason::Accepted);
        let conclusion = Conclusion::called(sessions, dispatch(&claimed(), claimed().spec.operation, "R"), "");
        object.status = Some(finished(&object, &conclusion, time("10:00:01")));
        object
    }

    #[test]
    fn a_request_is_never_removed_before_its_not_after_time() {
        let mut object = ended();
        assert!(!ttl_expired(&object, time("23:00:00")));
        object.spec.ttl_seconds_after_finished = Some(0);
        assert!(!ttl_expired(&object, time("10:29:59")));
        assert!(ttl_expired(&object, time("10:30:00")));
        object.spec.ttl_seconds_after_finished = Some(3600);
        assert!(!ttl_expired(&object, time("11:00:00")));
        assert!(ttl_expired(&object, time("11:00:01")));
        let mut unfinished = request();
        unfinished.spec.ttl_seconds_after_finished = Some(0);
        assert!(!ttl_expired(&unfinished, time("23:00:00")));
    }

    #[test]
    fn a_receipt_outlives_its_not_after_time() {
        let day = SignedDuration::from_hours(1);
        assert!(!receipt_expired(&claimed(), day, time("11:29:59")));
        assert!(receipt_expired(&claimed(), day, time("11:30:00")));
    }

    #[test]
    fn a_receipt_is_awaited_by_the_request_that_made_its_claim_until_that_ends() {
        assert!(is_awaited(&claimed(), Some(&request())));
        assert!(!is_awaited(&claimed(), Some(&ended())));
        assert!(!is_awaited(&claimed(), None));
        let mut created_again = request();
        created_again.metadata.uid = Some("uid-2".to_owned());
        assert!(!is_awaited(&claimed(), Some(&created_again)));
    }

    #[test]
    fn an_edit_after_the_end_is_observed() {
        let mut object = ended();
        assert_eq!(observed_again(&object), None);
        object.metadata.generation = Some(2);
        let status = observed_again(&object).unwrap();
        assert_eq!(status.observed_generation, 2);
        assert!(status.conditions.iter().all(|c| c.observed_generation == Some(2)));
        assert_eq!(observed_again(&request()), None);
    }

    #[test]
    fn only_the_request_that_made_the_claim_fills_its_record() {
        let record = record_of(&ended(), &claimed()).unwrap();
        assert_eq!((record.outcome, record.request_id.as_str()), (Outcome::SessionsKilled, "R"));
        assert_eq!(record_of(&request(), &claimed()), None);
        let mut other = claimed();
        other.spec.attempt_id = "a2".to_owned();
        assert_eq!(record_of(&ended(), &other), None);
    }
}
