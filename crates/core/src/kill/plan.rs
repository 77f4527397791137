//! The next step of a request, from the object and the time alone. Pure; the first step of every attempt.

use jiff::Timestamp;
use sessionkill_api::{Mode, Outcome, SessionKill, WaitReason};

use crate::clock::{CLOCK_SKEW, Now};

/// The next step of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, ever: the request has ended.
    Rest,
    /// Nothing until `until`, or until the object changes. `reason` is what its status should say, if anything new.
    Wait {
        /// When to look again, by this operator's clock.
        until: Timestamp,
        /// The reason to show.
        reason: Option<WaitReason>,
    },
    /// Its status names a call: find its outcome by the receipt. Nothing is sent, even if the receipt was deleted,
    /// which would otherwise let the request be claimed again.
    Follow,
    /// Nothing is sent any more: the request expired or is being deleted. End it by the receipt of its content, or,
    /// without one, as this; [`unsent`](super::unsent::unsent) then tells a missed request from an old one.
    End(Outcome),
    /// Prepare the call.
    Attempt(Intent),
}

/// The purpose of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Intent {
    /// Say what a Kill would do.
    DryRun,
    /// Kill.
    Kill(KillIntent),
}

/// A request that asks for a kill. Only [`plan`] makes one, and a claim needs one: a DryRun can neither claim nor call.
///
/// ```
/// use sessionkill_core::kill::plan::KillIntent;
/// let nobody_else_has_one: Option<KillIntent> = None;
/// ```
/// ```compile_fail
/// let intent = sessionkill_core::kill::plan::KillIntent(());
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct KillIntent(());

/// Decides the next step of `object` at `now`.
///
/// A call that was made is followed to its end, whatever was edited since. Deletion comes next: it increases
/// `metadata.generation`, so that anything derived from the generation would react to it. Then expiry, before any
/// waiting: even a suspended request ends with a `completionTime`.
#[must_use]
pub fn plan(object: &SessionKill, now: impl Into<Now>) -> Step {
    let next_attempt = object.status.as_ref().and_then(|status| status.next_attempt_time.as_ref()).map(|time| time.0);
    let now: Now = now.into();
    plan_from(object, now, next_attempt.filter(|time| now.own() < *time))
}

/// Like [`plan`], for a request whose awaited event has come: it ignores `nextAttemptTime`.
#[must_use]
pub fn plan_woken(object: &SessionKill, now: impl Into<Now>) -> Step {
    plan_from(object, now.into(), None)
}

fn plan_from(object: &SessionKill, now: Now, next_attempt: Option<Timestamp>) -> Step {
    let status = object.status.as_ref();
    if status.is_some_and(|s| s.completion_time.is_some()) {
        return Step::Rest;
    }
    if status.is_some_and(|status| status.dispatch.is_some()) {
        return next_attempt.map_or(Step::Follow, |until| Step::Wait { until, reason: None });
    }
    if object.metadata.deletion_timestamp.is_some() {
        return Step::End(Outcome::Deleted);
    }
    let not_after = object.spec.not_after_time.0;
    // Both times are the API server's, so that no local clock is needed.
    if object.metadata.creation_timestamp.as_ref().is_some_and(|created| created.0 >= not_after) {
        return Step::End(Outcome::ExpiredOnArrival);
    }
    let certain = not_after.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
    if now.earliest() >= certain {
        return Step::End(Outcome::DeadlineExceeded);
    }
    let until = now.own_time_at(certain);
    if now.latest() >= not_after && now.skew().is_none() {
        return Step::Wait { until, reason: None };
    }
    if object.spec.suspend {
        return Step::Wait { until, reason: Some(WaitReason::Suspended) };
    }
    if let Some(not_before) = object.spec.not_before_time.as_ref().map(|t| t.0).filter(|t| now.earliest() < *t) {
        return Step::Wait { until: now.own_time_at(not_before), reason: Some(WaitReason::Scheduled) };
    }
    // A skewed clock cannot tell whether the request has expired.
    if now.skew().is_some() {
        return Step::Wait { until, reason: Some(WaitReason::ClockSkew) };
    }
    if let Some(next_attempt) = next_attempt {
        return Step::Wait { until: next_attempt.min(not_after), reason: None };
    }
    Step::Attempt(match object.spec.mode {
        Mode::DryRun => Intent::DryRun,
        Mode::Kill => Intent::Kill(KillIntent(())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{request, time};

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
        let receipt = crate::kill::claim::receipt(&called, &crate::test_objects::attempt());
        let dispatch = crate::kill::conclusion::dispatch(&receipt, receipt.spec.operation, "R");
        called.status.get_or_insert_default().dispatch = Some(dispatch);
        assert_eq!(plan(&called, time("10:00:00")), Step::Follow);
        assert_eq!(plan(&called, time("23:00:00")), Step::Follow, "that notAfterTime passed does not undo it");
        called.spec.suspend = true;
        assert_eq!(plan(&called, time("10:00:00")), Step::Follow, "it cannot be suspended");

        let next = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("10:31:00"));
        called.status.get_or_insert_default().next_attempt_time = Some(next);
        let until = time("10:31:00");
        assert_eq!(plan(&called, time("10:30:30")), Step::Wait { until, reason: None });
    }

    #[test]
    fn deletion_and_completion_come_before_everything_but_a_call_that_was_made() {
        let mut deleted = request();
        deleted.metadata.deletion_timestamp = deleted.metadata.creation_timestamp.clone();
        deleted.metadata.generation = Some(2);
        for suspend in [false, true] {
            deleted.spec.suspend = suspend;
            assert_eq!(plan(&deleted, time("10:00:00")), Step::End(Outcome::Deleted));
            assert_eq!(plan(&deleted, time("23:00:00")), Step::End(Outcome::Deleted), "that is what came first");
        }
        deleted.spec.not_before_time = Some(deleted.spec.not_after_time.clone());
        assert_eq!(plan(&deleted, time("10:00:00")), Step::End(Outcome::Deleted));
        let receipt = crate::kill::claim::receipt(&deleted, &crate::test_objects::attempt());
        let dispatch = crate::kill::conclusion::dispatch(&receipt, receipt.spec.operation, "R");
        deleted.status.get_or_insert_default().dispatch = Some(dispatch);
        assert_eq!(plan(&deleted, time("10:00:00")), Step::Follow, "what came of it is still told");
        deleted.status.get_or_insert_default().completion_time = deleted.metadata.creation_timestamp.clone();
        assert_eq!(plan(&deleted, time("10:00:00")), Step::Rest);

        let mut finished = request();
        finished.status.get_or_insert_default().completion_time = finished.metadata.creation_timestamp.clone();
        finished.spec.suspend = true;
        assert_eq!(plan(&finished, time("10:00:00")), Step::Rest);
    }

    #[test]
    fn nothing_is_sent_at_or_after_not_after_time() {
        assert_eq!(plan(&request(), time("10:29:59")), KILL);
        let until = time("10:30:05");
        assert_eq!(plan(&request(), time("10:30:00")), Step::Wait { until, reason: None });
        assert_eq!(plan(&request(), time("10:30:05")), Step::End(Outcome::DeadlineExceeded));
        let mut suspended = request();
        suspended.spec.suspend = true;
        assert_eq!(plan(&suspended, time("10:30:05")), Step::End(Outcome::DeadlineExceeded));
        let mut late = request();
        late.metadata.creation_timestamp = Some(late.spec.not_after_time.clone());
        for now in ["09:00:00", "10:31:00"] {
            assert_eq!(plan(&late, time(now)), Step::End(Outcome::ExpiredOnArrival), "whatever the clock says");
        }
    }

    #[test]
    fn suspended_and_early_requests_wait() {
        let mut suspended = request();
        suspended.spec.suspend = true;
        let until = time("10:30:05");
        assert_eq!(plan(&suspended, time("10:00:00")), Step::Wait { until, reason: Some(WaitReason::Suspended) });

        let mut early = request();
        early.spec.not_before_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("10:10:00")));
        let until = time("10:10:00");
        assert_eq!(plan(&early, time("10:00:00")), Step::Wait { until, reason: Some(WaitReason::Scheduled) });
        assert_eq!(plan(&early, time("10:10:00")), KILL);
    }

    #[test]
    fn the_next_attempt_time_is_honoured_but_never_past_the_deadline() {
        let mut waiting = request();
        let next = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("10:05:00"));
        waiting.status.get_or_insert_default().next_attempt_time = Some(next);
        let until = time("10:05:00");
        assert_eq!(plan(&waiting, time("10:00:00")), Step::Wait { until, reason: None });
        assert_eq!(plan(&waiting, time("10:05:00")), KILL);
        assert_eq!(plan_woken(&waiting, time("10:00:00")), KILL, "what it waited for has come");
        waiting.spec.suspend = true;
        assert!(matches!(plan_woken(&waiting, time("10:00:00")), Step::Wait { .. }), "that does not resume it");
    }

    /// The operator's time, and the API server's, which is known to the second.
    fn by(own: &str, server: &str) -> Now {
        let (earliest, latest) = (time(server), time(server) + jiff::SignedDuration::from_secs(1));
        Now::new(time(own), Some(crate::clock::Bounds { earliest, latest }))
    }

    #[test]
    fn by_a_clock_that_is_off_nothing_is_sent_and_nothing_fresh_is_over() {
        let held = |until| Step::Wait { until: time(until), reason: Some(WaitReason::ClockSkew) };
        // The operator is an hour ahead: its own clock is past notAfterTime.
        assert_eq!(plan(&request(), by("11:00:01", "10:00:00")), held("11:30:05"), "when it will be over by both");
        assert_eq!(plan(&request(), by("11:30:06", "10:30:04")), Step::End(Outcome::DeadlineExceeded));
        // The operator is an hour behind: the request has expired by the server's clock only.
        assert_eq!(plan(&request(), by("09:00:00", "10:00:00")), held("10:30:05"));
        assert_eq!(plan(&request(), by("09:40:00", "10:40:00")), held("10:30:05"), "not over by both");
        let mut held_back = request();
        held_back.spec.suspend = true;
        let step = plan(&held_back, by("11:00:01", "10:00:00"));
        assert_eq!(step, Step::Wait { until: time("11:30:05"), reason: Some(WaitReason::Suspended) });
    }

    #[test]
    fn within_what_clocks_may_differ_nothing_is_early_and_nothing_is_late_by_either() {
        assert_eq!(plan(&request(), by("10:29:57", "10:30:01")), Step::Wait { until: time("10:30:05"), reason: None });
        assert_eq!(plan(&request(), by("10:29:57", "10:29:59")), KILL, "a second is left by both");
        let early = by("10:30:06", "10:30:02");
        assert_eq!(plan(&request(), early), Step::Wait { until: time("10:30:08"), reason: None });
        let mut scheduled = request();
        scheduled.spec.not_before_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time("10:10:00")));
        let step = plan(&scheduled, by("10:10:01", "10:09:57"));
        assert_eq!(step, Step::Wait { until: time("10:10:03"), reason: Some(WaitReason::Scheduled) });
        assert_eq!(plan(&scheduled, by("10:10:03", "10:09:59")), KILL);
    }
}
