//! What has been learned of one gateway, which outlives the routes to it. No I/O.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::{ConnectionReason, KillOperation, Operation};
use sessionkill_core::backend::{Fence, Guarantees};

use super::stamp::TimeSource;

/// A gateway that refused the server-side fence is offered it again after 1 h.
const FENCE_RETRY: Duration = Duration::from_hours(1);

/// What has been learned of one gateway.
#[derive(Debug, Default)]
pub struct Known(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    /// The gateway's clock minus ours, since it refused a time stamp.
    lead: SignedDuration,
    /// When it last refused a time stamp of a kill, inside the deadline.
    fence_refused: Option<Instant>,
    /// The operation that it offers.
    operation: Option<Operation>,
}

impl Known {
    /// The source of the time stamps of kills.
    pub fn time_source(&self) -> TimeSource {
        let mut facts = self.facts();
        facts.fence_refused = facts.fence_refused.filter(|since| since.elapsed() < FENCE_RETRY);
        match facts.fence_refused {
            Some(_) => TimeSource::CurrentTime { gateway_lead: facts.lead },
            None => TimeSource::DispatchDeadline,
        }
    }

    /// The gateway's clock minus ours, as far as it had to tell.
    pub fn lead(&self) -> SignedDuration {
        self.facts().lead
    }

    /// A read was refused for its time stamp, and the gateway's clock shows `time`.
    pub fn shows(&self, time: Timestamp) {
        self.facts().lead = time.duration_since(Timestamp::now());
    }

    /// A kill was refused for its time stamp, inside its deadline: the gateway's clock or rules differ from the
    /// documentation. Kills carry the current time by its clock from now on. Returns their source.
    pub fn refused_fence(&self, gateway_time: Option<Timestamp>) -> TimeSource {
        let mut facts = self.facts();
        facts.lead = gateway_time.map_or_else(Default::default, |time| time.duration_since(Timestamp::now()));
        facts.fence_refused = Some(Instant::now());
        TimeSource::CurrentTime { gateway_lead: facts.lead }
    }

    /// The gateway offers `operation`; returns whether that is news.
    pub fn offers(&self, operation: Operation) -> bool {
        self.facts().operation.replace(operation) != Some(operation)
    }

    /// The operation that ends sessions, where the connection asks for `wanted`. `stored` is what an earlier process found.
    pub fn operation(&self, wanted: KillOperation, stored: Option<Operation>) -> Operation {
        match wanted {
            KillOperation::KillProcessList => Operation::KillProcessList,
            KillOperation::BatchKillProcessList => Operation::BatchKillProcessList,
            KillOperation::Auto => self.facts().operation.or(stored).unwrap_or_default(),
        }
    }

    /// What a call of `operation` guarantees now. The answer to BatchKillProcessList names no session.
    pub fn guarantees(&self, operation: Operation) -> Guarantees {
        Guarantees {
            server_side_fence: fence(self.time_source()),
            answers_each_session: operation == Operation::KillProcessList,
        }
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fence(source: TimeSource) -> Fence {
    match source {
        TimeSource::DispatchDeadline => Fence {
            holds: true,
            reason: ConnectionReason::DeadlineTimeStamp,
            message: "the gateway itself refuses a call that arrives after its deadline",
        },
        TimeSource::CurrentTime { .. } => Fence {
            holds: false,
            reason: ConnectionReason::TimeStampRefused,
            message: "the gateway refused the time stamp of a call inside its deadline: calls carry the current time by the \
                      gateway's clock, and only the operator keeps them from being late; check the clocks of both",
        },
    }
}
