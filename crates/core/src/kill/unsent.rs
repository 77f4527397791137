//! The end of a request for which nothing was sent: it expired or is being deleted, and its content has no receipt.
//! Pure.

use jiff::SignedDuration;
use sessionkill_api::{Mode, Outcome, SessionKill, SessionReason};

use crate::kill::conclusion::Conclusion;

/// Ends `object` with `outcome`, as decided by [`plan`](super::plan::plan).
///
/// A Kill created less than `missed_within` after its `notAfterTime` was meant to be executed: it ends as
/// [`Outcome::KillMissed`], so that no gate opens for it. A Kill created later is an old manifest. The API server's
/// creation time decides, not the time of its first processing. A `DryRun` leaves no receipt, so that a missed one
/// looks like one that was completed and applied again.
#[must_use]
pub fn unsent(object: &SessionKill, outcome: Outcome, missed_within: SignedDuration) -> Conclusion {
    let not_after = object.spec.not_after_time.0;
    let (outcome, why, message) = match outcome {
        Outcome::Deleted => {
            (Outcome::Deleted, SessionReason::Deleted, "deleted before it was sent; nothing was sent".to_owned())
        }
        Outcome::ExpiredOnArrival => match late_by(object).filter(|late| *late < missed_within) {
            Some(late) if object.spec.mode == Mode::Kill => {
                let late = SignedDuration::from_secs(late.as_secs());
                let message = format!(
                    "created {late:#} after its own notAfterTime {not_after}, too late to be sent, and no receipt says that \
                     it was sent before; nothing was sent; if its sessions must still end, create a new SessionKill with a \
                     new notAfterTime; if not, delete this one where it comes from"
                );
                (Outcome::KillMissed, SessionReason::DeadlineExceeded, message)
            }
            _ => {
                let message = format!("created after its own notAfterTime {not_after}; nothing was sent");
                (Outcome::ExpiredOnArrival, SessionReason::DeadlineExceeded, message)
            }
        },
        outcome => {
            let waited_for = what_it_waited_for(object);
            let message = format!("notAfterTime {not_after} passed; nothing was sent{waited_for}");
            (outcome, SessionReason::DeadlineExceeded, message)
        }
    };
    Conclusion::nothing_sent(object, outcome, why, message)
}

/// How long after its `notAfterTime` the object was created, by the API server's clock; negative if before.
fn late_by(object: &SessionKill) -> Option<SignedDuration> {
    let created = object.metadata.creation_timestamp.as_ref()?;
    Some(created.0.duration_since(object.spec.not_after_time.0))
}

/// What the request was waiting for, for its last message.
fn what_it_waited_for(object: &SessionKill) -> String {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition.type_ == "Succeeded")
        .map(|condition| format!("; it waited for {}: {}", condition.reason, condition.message))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::kill::status::{Waiting, finished, waiting};
    use crate::test_objects::{request, time};
    use sessionkill_api::{SessionOutcome, WaitReason};

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn created(clock: &str) -> SessionKill {
        let mut object = request();
        object.metadata.creation_timestamp = Some(Time(time(clock)));
        object
    }

    fn reason(object: &SessionKill, missed_within: SignedDuration) -> Outcome {
        unsent(object, Outcome::ExpiredOnArrival, missed_within).reason
    }

    #[test]
    fn a_kill_that_came_a_little_too_late_was_missed_and_an_old_one_is_harmless() {
        for (clock, expected) in [
            ("10:30:00", Outcome::KillMissed),
            ("11:29:59", Outcome::KillMissed),
            ("11:30:00", Outcome::ExpiredOnArrival),
            ("23:00:00", Outcome::ExpiredOnArrival),
        ] {
            assert_eq!(reason(&created(clock), HOUR), expected, "{clock}");
        }
        assert_eq!(reason(&created("10:30:00"), SignedDuration::ZERO), Outcome::ExpiredOnArrival, "switched off");
    }

    #[test]
    fn what_was_missed_says_by_how_much_and_what_to_do_and_no_tool_calls_it_healthy() {
        let object = created("10:33:48");
        let missed = unsent(&object, Outcome::ExpiredOnArrival, HOUR);
        for words in
            ["created 3m 48s after its own notAfterTime 2026-10-05T10:30:00Z", "nothing was sent", "new notAfterTime"]
        {
            assert!(missed.message.contains(words), "{}", missed.message);
        }
        let why = (SessionOutcome::Skipped, SessionReason::DeadlineExceeded);
        assert!(missed.sessions.iter().all(|session| (session.outcome, session.reason) == why));
        let status = finished(&object, &missed, time("10:33:49"));
        let shown: Vec<_> = status.conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        assert_eq!(shown, [("Succeeded", "False"), ("Ready", "False"), ("Stalled", "True")]);
    }

    #[test]
    fn a_part_of_a_second_is_not_told() {
        let mut object = created("10:33:48");
        object.spec.not_after_time.0 -= SignedDuration::from_millis(500);
        let message = unsent(&object, Outcome::ExpiredOnArrival, HOUR).message;
        assert!(message.starts_with("created 3m 48s after"), "{message}");
    }

    #[test]
    fn a_suspended_kill_was_missed_too_and_of_a_dry_run_that_cannot_be_told() {
        let mut object = created("10:31:00");
        object.spec.suspend = true;
        assert_eq!(reason(&object, HOUR), Outcome::KillMissed);
        object.spec.mode = Mode::DryRun;
        assert_eq!(reason(&object, HOUR), Outcome::ExpiredOnArrival);
    }

    #[test]
    fn what_waited_too_long_says_what_for_however_soon_its_end_is_told() {
        let mut object = request();
        let why = Waiting { reason: WaitReason::Suspended, message: "held".to_owned(), next_attempt: None };
        object.status = Some(waiting(&object, &why, time("10:00:00")));
        let end = unsent(&object, Outcome::DeadlineExceeded, HOUR);
        assert_eq!(end.reason, Outcome::DeadlineExceeded);
        assert!(end.message.ends_with("nothing was sent; it waited for Suspended: held"), "{}", end.message);
        assert_eq!(unsent(&object, Outcome::Deleted, HOUR).reason, Outcome::Deleted);
        for condition in &mut object.status.as_mut().unwrap().conditions {
            if condition.type_ != "Succeeded" {
                condition.message = "something else".to_owned();
            }
        }
        let end = unsent(&object, Outcome::DeadlineExceeded, HOUR);
        assert!(end.message.ends_with("it waited for Suspended: held"), "{}", end.message);
    }
}
