//! Permits for calls to gateways, and what is learned from how each was answered. No I/O, but waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::connections::stored::Connections;
use crate::connections::throttle::pace_of;
use crate::domain::backend::{CallError, ErrorKind};
use crate::domain::tenant::{ConnectionKey, TenantKey};
use crate::queue::permits::{Pace, Permit, Permits};

/// The most calls for recovery at once.
const HOUSEKEEPING_AT_ONCE: usize = 8;
/// The most batches at once between process list and claims.
const SLOTS: usize = 32;

/// The purpose of a call. Each lane has its own permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A kill, its process list before and those after.
    Kills,
    /// Recovery of what a crash left behind.
    Housekeeping,
}

impl Lane {
    /// The longest that a call which kills nothing waits for its permit. After it, a request reports why it waits;
    /// recovery tries another connection of the namespace, as this one does not answer.
    pub const fn patience(self) -> Duration {
        match self {
            Self::Kills => Duration::from_secs(10),
            Self::Housekeeping => Duration::from_secs(2),
        }
    }
}

/// The permits for all calls to gateways.
pub struct CallPermits {
    /// For calls of the kill path. Held from right before a call until its answer, and for nothing else.
    calls: Arc<Permits>,
    /// For calls of recovery, which must not use up the permits for kills.
    housekeeping: Arc<Permits>,
    /// For a batch between its process list and its claims, not during the call: with more at once, lists would be too
    /// old when their claims are made.
    pub slots: Arc<Permits>,
    connections: Connections,
}

impl CallPermits {
    /// Allows at most `calls` calls of the kill path at once, through `connections`.
    pub fn new(calls: usize, connections: Connections) -> Self {
        let (housekeeping, slots) = (Permits::new(HOUSEKEEPING_AT_ONCE), Permits::new(SLOTS));
        Self { calls: Permits::new(calls), housekeeping, slots, connections }
    }

    /// Acquires a permit for one call for `key`, within `limit`. Without a permit nothing is sent.
    pub async fn acquire(&self, key: &Arc<TenantKey>, lane: Lane, limit: Duration) -> Result<Permit, CallError> {
        let permits = self.lane(lane);
        timeout(limit, permits.acquire(key)).await.map_err(|_| {
            let why = match permits.pace(key) {
                Pace::Silent => "the gateway does not answer, and is tried by one call at a time",
                Pace::Quick | Pace::Slow => "too many calls wait for gateways that are slow to answer",
            };
            CallError::local(ErrorKind::Unreachable, "NotSent", why)
        })
    }

    /// Learns the pace of the connection of `key` from a call that took this time. Call it before the permit is given
    /// back, so that the next permit is given by the new pace.
    pub fn heard(&self, key: &TenantKey, took: Duration, error: Option<&CallError>) {
        let pace = pace_of(took, error);
        for permits in self.by_connection() {
            permits.heard(key, pace);
        }
    }

    /// Forgets the pace of a connection that is gone.
    pub fn forget_connection(&self, gone: &ConnectionKey) {
        for permits in self.by_connection() {
            permits.forget(gone);
        }
    }

    /// Forgets the pace of all connections that are not in the cache.
    pub fn forget_connections_gone(&self) {
        for permits in self.by_connection() {
            permits.retain(|connection| self.connections.has(connection));
        }
    }

    fn by_connection(&self) -> [&Arc<Permits>; 3] {
        [&self.calls, &self.housekeeping, &self.slots]
    }

    /// Whether the connection of `key` timed out or could not be reached, and has not answered since.
    pub fn is_silent(&self, key: &TenantKey) -> bool {
        self.calls.pace(key) == Pace::Silent
    }

    fn lane(&self, lane: Lane) -> &Arc<Permits> {
        match lane {
            Lane::Kills => &self.calls,
            Lane::Housekeeping => &self.housekeeping,
        }
    }
}
