//! What to do next with a request, from the object and the time alone. Pure; the first step of every attempt.

use jiff::{SignedDuration, Timestamp};

use crate::api::{Mode, Outcome, SessionKill, WaitReason};

/// How far the clocks of two operators may differ. A request is not called expired before this much time has passed since
/// `notAfterTime`: another operator, whose clock is behind, may have claimed it in its last second.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// What to do next with a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, ever: it is being deleted or has ended.
    Rest,
    /// Nothing until `until`, or until the object changes. `reason` is what its status should say, if anything new.
    Wait {
        /// When to look again; none means only when the object changes.
        until: Option<Timestamp>,
        /// The reason to show.
        reason: Option<WaitReason>,
    },
    /// A call was made for it, as its status says: find out by the receipt what came of it. Nothing is sent, even if somebody
    /// deleted the receipt, which would otherwise let it be claimed again.
    Follow,
    /// `notAfterTime` has passed: nothing is sent any more. End it by its receipt if it has one, else as this.
    Expire(Outcome),
    /// Go on towards the call.
    Attempt(Intent),
}

/// What an attempt is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Intent {
    /// To say what a Kill would do.
    DryRun,
    /// To kill.
    Kill(KillIntent),
}

/// A request that asks for a kill. Only [`plan`] makes one, and the claim takes one: a DryRun can neither claim nor call.
///
/// ```
/// use sessionkill::domain::plan::KillIntent;
/// let nobody_else_has_one: Option<KillIntent> = None;
/// ```
/// ```compile_fail
/// let intent = sessionkill::domain::plan::KillIntent(());
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct KillIntent(());

/// Decides the next step of `object` at `now`.
///
/// Deletion comes first: it bumps `metadata.generation`, so anything derived from the generation would act on it. A call
/// that was made is followed to its end, whatever has passed or was edited since. Expiry comes before every kind of waiting, so that even a suspended request ends with a `completionTime`.
#[must_use]
pub fn plan(object: &SessionKill, now: Timestamp) -> Step {
    let next_attempt = object.status.as_ref().and_then(|status| status.next_attempt_time.as_ref()).map(|time| time.0);
    plan_from(object, now, next_attempt.filter(|time| now < *time))
}

/// The same for a request that what it waited for has come to: its next try is now.
#[must_use]
pub fn plan_woken(object: &SessionKill, now: Timestamp) -> Step {
    plan_from(object, now, None)
}

fn plan_from(object: &SessionKill, now: Timestamp, next_attempt: Option<Timestamp>) -> Step {
    let status = object.status.as_ref();
    if object.metadata.deletion_timestamp.is_some() || status.is_some_and(|s| s.completion_time.is_some()) {
        return Step::Rest;
    }
    if status.is_some_and(|status| status.dispatch.is_some()) {
        return next_attempt.map_or(Step::Follow, |until| Step::Wait { until: Some(until), reason: None });
    }
    let not_after = object.spec.not_after_time.0;
    if now >= not_after {
        let created = object.metadata.creation_timestamp.as_ref().map(|t| t.0);
        if created.is_some_and(|created| created >= not_after) {
            return Step::Expire(Outcome::ExpiredOnArrival);
        }
        let certain = not_after.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        if now < certain {
            return Step::Wait { until: Some(certain), reason: None };
        }
        return Step::Expire(Outcome::DeadlineExceeded);
    }
    if object.spec.suspend {
        return Step::Wait { until: Some(not_after), reason: Some(WaitReason::Suspended) };
    }
    if let Some(not_before) = object.spec.not_before_time.as_ref().map(|t| t.0).filter(|t| now < *t) {
        return Step::Wait { until: Some(not_before), reason: Some(WaitReason::Scheduled) };
    }
    if let Some(next_attempt) = next_attempt {
        return Step::Wait { until: Some(next_attempt.min(not_after)), reason: None };
    }
    Step::Attempt(match object.spec.mode {
        Mode::DryRun => Intent::DryRun,
        Mode::Kill => Intent::Kill(KillIntent(())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::test_objects::{request, time};

    const KILL: Step = Step::Attempt(Intent::Kill(KillIntent(())));

    #[test]
    fn a_fresh_request_is_attempted() {
        assert_eq!(plan(&request(), time("10:00:00")), KILL);
    }

    #[test]
    fn a_dry_run_is_no_kill() {
        let mut object = request();
        object.spec.mode = Mode::DryRun;
        assert_eq!(plan(&object, time("10:00:00")), Step::Attempt(Intent::DryRun));
    }

    #[test]
    fn a_call_that_was_made_is_followed_and_never_made_again() {
        let mut called = request();
        let receipt = crate::domain::claim::receipt(&called, &crate::domain::test_objects::attempt());
        let dispatch = crate::domain::conclusion::dispatch(&receipt, receipt.spec.operation, "R");
        called.status.get_or_insert_default().dispatch = Some(dispatch);
        assert_eq!(plan(&called, time("10:00:00")), Step::Follow);
        assert_eq!(plan(&called, time("23:00:00")), Step::Follow, "that notAfterTime passed does not undo it");
        called.spec.suspend = true;
        assert_eq!(plan(&called, time("10:00:00")), Step::Follow, "it cannot be suspended");

        let next = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("10:31:00"));
        called.status.get_or_insert_default().next_attempt_time = Some(next);
        let until = Some(time("10:31:00"));
        assert_eq!(plan(&called, time("10:30:30")), Step::Wait { until, reason: None });
    }

    #[test]
    fn deletion_and_completion_come_before_everything() {
        let mut deleted = request();
        deleted.metadata.deletion_timestamp = deleted.metadata.creation_timestamp.clone();
        deleted.metadata.generation = Some(2);
        assert_eq!(plan(&deleted, time("10:00:00")), Step::Rest);
        assert_eq!(plan(&deleted, time("23:00:00")), Step::Rest);

        let mut finished = request();
        finished.status.get_or_insert_default().completion_time = finished.metadata.creation_timestamp.clone();
        finished.spec.suspend = true;
        assert_eq!(plan(&finished, time("10:00:00")), Step::Rest);
    }

    #[test]
    fn nothing_is_sent_at_or_after_not_after_time() {
        assert_eq!(plan(&request(), time("10:29:59")), KILL);
        let until = Some(time("10:30:05"));
        assert_eq!(plan(&request(), time("10:30:00")), Step::Wait { until, reason: None });
        assert_eq!(plan(&request(), time("10:30:05")), Step::Expire(Outcome::DeadlineExceeded));
        let mut suspended = request();
        suspended.spec.suspend = true;
        assert_eq!(plan(&suspended, time("10:30:05")), Step::Expire(Outcome::DeadlineExceeded));
        let mut late = request();
        late.metadata.creation_timestamp = Some(late.spec.not_after_time.clone());
        assert_eq!(plan(&late, time("10:31:00")), Step::Expire(Outcome::ExpiredOnArrival));
    }

    #[test]
    fn suspended_and_early_requests_wait() {
        let mut suspended = request();
        suspended.spec.suspend = true;
        let until = Some(time("10:30:00"));
        assert_eq!(plan(&suspended, time("10:00:00")), Step::Wait { until, reason: Some(WaitReason::Suspended) });

        let mut early = request();
        early.spec.not_before_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("10:10:00")));
        let until = Some(time("10:10:00"));
        assert_eq!(plan(&early, time("10:00:00")), Step::Wait { until, reason: Some(WaitReason::Scheduled) });
        assert_eq!(plan(&early, time("10:10:00")), KILL);
    }

    #[test]
    fn the_next_attempt_time_is_honoured_but_never_past_the_deadline() {
        let mut waiting = request();
        let next = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("10:05:00"));
        waiting.status.get_or_insert_default().next_attempt_time = Some(next);
        let until = Some(time("10:05:00"));
        assert_eq!(plan(&waiting, time("10:00:00")), Step::Wait { until, reason: None });
        assert_eq!(plan(&waiting, time("10:05:00")), KILL);
        assert_eq!(plan_woken(&waiting, time("10:00:00")), KILL, "what it waited for has come");
        waiting.spec.suspend = true;
        assert!(matches!(plan_woken(&waiting, time("10:00:00")), Step::Wait { .. }), "that does not resume it");
    }
}
