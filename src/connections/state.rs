//! What is known of one connection's gateway. No I/O.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::api::{KillOperation, OceanBaseConnection, OceanBaseConnectionStatus, Operation, WaitReason};
use crate::clock::ServerClock;
use crate::domain::connection::rate::Rate;
use crate::domain::kill::sharing::CallSize;
use crate::oceanbase::TimeSource;

/// After this time a connection that fell back to the current time tries the server-side fence again.
const FENCE_RETRY: Duration = Duration::from_hours(1);

/// What is known of the gateway of one connection.
#[derive(Debug, Default)]
pub struct ConnectionState {
    /// From when its time is counted.
    pub origin: Origin,
    /// How fast calls may go.
    pub rate: Rate,
    /// How many sessions it takes in one call.
    pub call_size: Option<Learnt>,
    /// Held by whoever is next to have a turn.
    pub line: Arc<tokio::sync::Mutex<()>>,
    /// The fallback in use, and since when.
    pub fallback: Option<(TimeSource, Instant)>,
    /// The operation that the gateway offers, as far as this process has seen.
    pub operation: Option<Operation>,
    /// No call could be made through it, and none has been since.
    pub is_failing: bool,
    /// Why those waited who wanted to call through it last.
    pub blocked: Option<Blockade>,
    /// When a request last waited for the Secret.
    pub secret_awaited: Option<Instant>,
    /// The clock of the gateway.
    pub clock: GatewayClock,
    /// What the status says, or will say: the watch cache may not know yet.
    pub status: Option<OceanBaseConnectionStatus>,
    /// When it last changed.
    pub told: Option<Instant>,
    /// A task is writing it.
    pub is_writing: bool,
}

/// What keeps all calls through a connection from being made.
#[derive(Debug)]
pub struct Blockade {
    pub at: Instant,
    pub generation: Option<i64>,
    pub reason: WaitReason,
    pub message: String,
}

/// The fixed moment from which the time of a connection is counted: monotonic, as a clock that is set must not stop calls.
#[derive(Debug)]
pub struct Origin(tokio::time::Instant);

impl Default for Origin {
    fn default() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Origin {
    pub fn elapsed(&self) -> SignedDuration {
        SignedDuration::try_from(self.0.elapsed()).unwrap_or(SignedDuration::MAX)
    }
}

/// The clock of the gateway of one connection.
#[derive(Debug, Default)]
pub struct GatewayClock {
    /// The generation of the connection that it is of: an edited one may name another gateway.
    pub generation: Option<i64>,
    pub clock: Arc<ServerClock>,
}

impl GatewayClock {
    /// By how much the operator's clock is ahead of it at the least; negative if it is behind, zero if it may be right. None
    /// while that is not known.
    pub fn lead(&self) -> Option<SignedDuration> {
        self.clock.bounds().map(|bounds| bounds.lead_of(Timestamp::now()))
    }
}

/// What is known of a connection as it was in one generation.
#[derive(Debug)]
pub struct Learnt {
    pub size: CallSize,
    pub since: tokio::time::Instant,
    pub generation: Option<i64>,
}

impl ConnectionState {
    /// Where the signed time stamps of calls come from.
    pub fn time_source(&mut self) -> TimeSource {
        self.fallback = self.fallback.filter(|(_, since)| since.elapsed() < FENCE_RETRY);
        self.fallback.map_or(TimeSource::DispatchDeadline, |(source, _)| source)
    }

    /// The operation that ends sessions.
    pub fn operation(&self, connection: &OceanBaseConnection) -> Operation {
        match connection.spec.alibaba_cloud().kill_operation {
            KillOperation::KillProcessList => Operation::KillProcessList,
            KillOperation::BatchKillProcessList => Operation::BatchKillProcessList,
            KillOperation::Auto => {
                let stored = connection.status.as_ref().and_then(|status| status.operation);
                self.operation.or(stored).unwrap_or_default()
            }
        }
    }
}
