//! What the operator has learned about one connection's gateway. No I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::api::{OceanBaseConnectionStatus, WaitReason};
use crate::backends::Memory;
use crate::clock::ServerClock;
use crate::domain::connection::rate::Rate;
use crate::domain::kill::sharing::CallSize;
use crate::queue::permits::Permits;

/// What the operator has learned about the gateway of one connection.
#[derive(Debug, Default)]
pub struct ConnectionState {
    /// Moment zero of the times in `rate`.
    pub origin: Origin,
    /// The limit on calls per second.
    pub rate: Rate,
    /// The most sessions per call that its gateway accepts, as the requests of each namespace learned it: those that are
    /// refused must not make the calls of others smaller.
    pub call_sizes: HashMap<String, Learnt>,
    /// The queue for rate slots.
    pub line: Line,
    /// What the backend has learned of the gateway.
    pub memory: Memory,
    /// A call could not be made through it, and none has been answered since.
    pub is_failing: bool,
    /// That was a kill, so that a list which is answered proves nothing.
    pub fails_kills: bool,
    /// Why the requests that last wanted to call through it wait.
    pub blocked: Option<Blockade>,
    /// When a request last waited for the Secret.
    pub secret_awaited: Option<Instant>,
    /// The clock of the gateway.
    pub clock: GatewayClock,
    /// The status as written or about to be written: the watch cache may be older.
    pub status: Option<OceanBaseConnectionStatus>,
    /// When `status` last changed.
    pub told: Option<Instant>,
    /// Whether a task is writing `status`.
    pub is_writing: bool,
}

/// What stops all calls through a connection.
#[derive(Debug)]
pub struct Blockade {
    pub at: Instant,
    pub generation: Option<i64>,
    pub reason: WaitReason,
    pub message: String,
}

/// The queue for rate slots: its head holds the one permit, and reserves next. Namespaces take turns.
#[derive(Clone, Debug)]
pub struct Line(pub Arc<Permits>);

impl Default for Line {
    fn default() -> Self {
        Self(Permits::of_quick(1))
    }
}

/// The fixed moment from which a connection's times count. Monotonic, as setting the clock must not stop calls.
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
    /// The generation of the connection when the clock was read: an edited connection may name another gateway.
    pub generation: Option<i64>,
    pub clock: Arc<ServerClock>,
}

impl GatewayClock {
    /// The least time by which the operator's clock is ahead of the gateway's: negative if it is behind, zero if it may
    /// be right, `None` while unknown.
    pub fn lead(&self) -> Option<SignedDuration> {
        self.clock.bounds().map(|bounds| bounds.lead_of(Timestamp::now()))
    }
}

/// The learned call size, valid for one generation of the connection.
#[derive(Debug)]
pub struct Learnt {
    pub size: CallSize,
    pub since: tokio::time::Instant,
    pub generation: Option<i64>,
}

impl ConnectionState {
    /// Forgets all but what the status says: nothing is called any more through a connection that cannot be read, so that what
    /// was known of its gateway would count for ever.
    pub fn forget_gateway(&mut self) {
        let (status, told, is_writing) = (self.status.take(), self.told, self.is_writing);
        *self = Self { status, told, is_writing, ..Self::default() };
    }
}
