//! What has been learned of one gateway, which outlives the routes to it. No I/O.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::{ConnectionReason, KillOperation, Operation};
use sessionkill_core::backend::{CallError, ErrorKind, Fence, Guarantees, KillPermit, ROOM_TO_ASK_AGAIN};

use super::kill_call::KillCall;
use super::stamp::TimeSource;

/// A gateway that refused the server-side fence is offered it again after 1 h.
const FENCE_RETRY: Duration = Duration::from_hours(1);

/// What has been learned of one gateway.
#[derive(Debug, Default)]
pub struct Known(Mutex<Learned>);

#[derive(Debug, Default)]
struct Learned {
    /// The gateway's clock minus ours when it last refused the time stamp of a kill inside the deadline, and when that was.
    lead: Option<(SignedDuration, Instant)>,
    /// The operation that it offers.
    operation: Option<Operation>,
}

/// What follows a kill that the gateway refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// How the attempt may be sent once more.
    pub(super) retry_as: Option<&'static str>,
    /// What is news.
    pub(super) learned: Option<&'static str>,
}

impl Known {
    /// The source of the time stamps of kills that must not be executed after `not_after`. A gateway that refused the fence
    /// gets the current time only while `not_after` has not passed by its clock, as ours may be the wrong one.
    pub(super) fn time_source(&self, not_after: Timestamp) -> TimeSource {
        // With the other stamp, the gateway itself decides.
        match self.lead().filter(|lead| !is_over(*lead, not_after)) {
            Some(gateway_lead) => TimeSource::CurrentTime { gateway_lead },
            None => TimeSource::DispatchDeadline,
        }
    }

    /// The gateway's clock minus ours, if it refused the fence within the last hour.
    pub(super) fn lead(&self) -> Option<SignedDuration> {
        self.learned().lead.filter(|(_, since)| since.elapsed() < FENCE_RETRY).map(|(lead, _)| lead)
    }

    /// Learns from the refusal of `call`, for a connection that asks for the operation `wanted`.
    ///
    /// * A time stamp refused before the deadline: the gateway's clock or rules differ from the documentation. From now on
    ///   kills carry the current time by its clock; this one too, unless `notAfterTime` has passed by that.
    /// * An answer that proves that KillProcessList does not exist: `Auto` calls BatchKillProcessList.
    pub(super) fn refused(
        &self,
        call: &KillCall,
        wanted: KillOperation,
        permit: &impl KillPermit,
        error: &CallError,
    ) -> Refusal {
        if permit.time_left().is_none_or(|left| left < ROOM_TO_ASK_AGAIN) {
            return Refusal::default();
        }
        match error.kind {
            ErrorKind::ClockRefused { server_time } => {
                let lead = server_time.map_or_else(Default::default, |time| time.duration_since(Timestamp::now()));
                self.learned().lead = Some((lead, Instant::now()));
                let had_fence = call.time_source == TimeSource::DispatchDeadline;
                let retries = had_fence && !is_over(lead, permit.not_after());
                Refusal {
                    retry_as: retries.then_some("with the current time by the gateway's clock as time stamp"),
                    learned: had_fence.then_some("the gateway refuses the time stamp of the dispatch deadline"),
                }
            }
            ErrorKind::OperationNotFound
                if wanted == KillOperation::Auto && call.operation == Operation::KillProcessList =>
            {
                let is_news = self.offers(Operation::BatchKillProcessList);
                Refusal {
                    retry_as: Some("by BatchKillProcessList"),
                    learned: is_news.then_some("the gateway does not offer KillProcessList"),
                }
            }
            _ => Refusal::default(),
        }
    }

    /// The gateway offers `operation`; returns whether that is news.
    pub(crate) fn offers(&self, operation: Operation) -> bool {
        self.learned().operation.replace(operation) != Some(operation)
    }

    /// The operation that ends sessions, where the connection asks for `wanted`. `stored` is what an earlier process found.
    pub(crate) fn operation(&self, wanted: KillOperation, stored: Option<Operation>) -> Operation {
        match wanted {
            KillOperation::KillProcessList => Operation::KillProcessList,
            KillOperation::BatchKillProcessList => Operation::BatchKillProcessList,
            KillOperation::Auto => self.learned().operation.or(stored).unwrap_or_default(),
        }
    }

    /// What a call of `operation` guarantees now. The answer to BatchKillProcessList names no session.
    pub(crate) fn guarantees(&self, operation: Operation) -> Guarantees {
        Guarantees {
            server_side_fence: if self.lead().is_some() { FENCE_REFUSED } else { FENCE_HOLDS },
            answers_each_session: operation == Operation::KillProcessList,
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `not_after` has passed by a clock that is `lead` ahead of ours.
fn is_over(lead: SignedDuration, not_after: Timestamp) -> bool {
    not_after.duration_since(Timestamp::now()) <= lead
}

const FENCE_HOLDS: Fence = Fence {
    holds: true,
    reason: ConnectionReason::DeadlineTimeStamp,
    message: "the gateway itself refuses a call that arrives after its deadline",
};

const FENCE_REFUSED: Fence = Fence {
    holds: false,
    reason: ConnectionReason::TimeStampRefused,
    message: "the gateway refused the time stamp of a call inside its deadline: calls carry the current time by the \
              gateway's clock, and only the operator keeps them from being late; check the clocks of both",
};

#[cfg(test)]
mod tests {
    use sessionkill_core::backend::{KillTarget, Tenant};

    use super::*;

    struct Permit(Duration, Timestamp);

    impl KillPermit for Permit {
        fn nonce_seed(&self) -> &'static str {
            "a"
        }

        fn dispatch_deadline(&self) -> Timestamp {
            self.1
        }

        fn not_after(&self) -> Timestamp {
            self.1
        }

        fn time_left(&self) -> Option<Duration> {
            Some(self.0)
        }
    }

    fn in_time() -> Permit {
        Permit(Duration::from_secs(10), Timestamp::now() + SignedDuration::from_mins(10))
    }

    fn call(known: &Known, permit: &Permit, wanted: KillOperation) -> KillCall {
        let tenant = Tenant { instance_id: "ob1".to_owned(), tenant_id: "t1".to_owned() };
        KillCall {
            operation: known.operation(wanted, None),
            target: KillTarget { tenant, sessions: vec![] },
            time_source: known.time_source(permit.not_after()),
            request: 0,
        }
    }

    /// The refusal of a kill that is made by what is known, for a time stamp, by a gateway whose clock is ahead by `lead`.
    fn refused_stamp(known: &Known, permit: &Permit, lead: SignedDuration) -> Refusal {
        let kind = ErrorKind::ClockRefused { server_time: Some(Timestamp::now() + lead) };
        let error = CallError::local(kind, "Expired", "");
        known.refused(&call(known, permit, KillOperation::Auto), KillOperation::Auto, permit, &error)
    }

    fn refused_operation(known: &Known, wanted: KillOperation) -> Refusal {
        let error = CallError::local(ErrorKind::OperationNotFound, "NotFound", "");
        known.refused(&call(known, &in_time(), wanted), wanted, &in_time(), &error)
    }

    #[test]
    fn a_refused_time_stamp_is_replaced_by_the_gateways_time_once() {
        let known = Known::default();
        let minute = SignedDuration::from_mins(1);
        assert!(known.guarantees(Operation::KillProcessList).server_side_fence.holds);
        let refusal = refused_stamp(&known, &in_time(), minute);
        assert!(refusal.retry_as.is_some() && refusal.learned.is_some(), "{refusal:?}");
        assert!(!known.guarantees(Operation::KillProcessList).server_side_fence.holds);
        let lead = known.lead().unwrap();
        assert!((minute - lead).abs() < SignedDuration::from_secs(30), "{lead}");
        assert_eq!(refused_stamp(&known, &in_time(), minute), Refusal::default(), "this one had the gateway's time");
    }

    #[test]
    fn a_refusal_close_to_the_deadline_tells_nothing() {
        let known = Known::default();
        let late = Permit(Duration::from_millis(4999), in_time().1);
        assert_eq!(refused_stamp(&known, &late, SignedDuration::ZERO), Refusal::default());
        assert_eq!(known.lead(), None);
        let last = Permit(ROOM_TO_ASK_AGAIN, in_time().1);
        assert!(refused_stamp(&known, &last, SignedDuration::ZERO).retry_as.is_some());
    }

    #[test]
    fn what_is_over_by_the_gateways_clock_is_not_sent_with_its_time() {
        let known = Known::default();
        let refusal = refused_stamp(&known, &in_time(), SignedDuration::from_hours(1));
        assert!(refusal.retry_as.is_none() && refusal.learned.is_some(), "{refusal:?}");
        assert_eq!(known.time_source(in_time().1), TimeSource::DispatchDeadline, "the gateway decides");
        let later = Timestamp::now() + SignedDuration::from_hours(2);
        assert!(matches!(known.time_source(later), TimeSource::CurrentTime { .. }));
    }

    #[test]
    fn auto_calls_the_other_operation_once_the_gateway_does_not_know_the_first() {
        let known = Known::default();
        for named in [KillOperation::KillProcessList, KillOperation::BatchKillProcessList] {
            assert_eq!(refused_operation(&known, named), Refusal::default());
        }
        assert!(refused_operation(&known, KillOperation::Auto).retry_as.is_some());
        assert_eq!(known.operation(KillOperation::Auto, None), Operation::BatchKillProcessList);
        assert!(!known.guarantees(Operation::BatchKillProcessList).answers_each_session);
        assert_eq!(refused_operation(&known, KillOperation::Auto), Refusal::default(), "nothing is left to call");
    }

    #[test]
    fn what_this_process_has_seen_goes_before_what_is_stored() {
        let known = Known::default();
        let stored = Some(Operation::BatchKillProcessList);
        assert_eq!(known.operation(KillOperation::Auto, stored), Operation::BatchKillProcessList);
        assert!(known.offers(Operation::KillProcessList) && !known.offers(Operation::KillProcessList));
        assert_eq!(known.operation(KillOperation::Auto, stored), Operation::KillProcessList);
    }
}
