//! Calls of gateways, each under a permit, and what is learned from how each was answered. Waits; no I/O of its own.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, Store};
use tokio::time::timeout;

use crate::connections::throttle::pace_of;
use crate::domain::backend::{CallError, ErrorKind};
use crate::domain::tenant::TenantKey;
use crate::kubernetes::watch::stored_request::GuardedConnection;
use crate::queue::permits::{Pace, Permit, Permits};

/// The most calls of recovery at once.
const HOUSEKEEPING_AT_ONCE: usize = 8;
/// The most groups that make their claims at once.
const SLOTS: usize = 32;

/// What a call is made for. Neither can take the permits of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A kill, its list before and its lists after.
    Kills,
    /// What a crash left behind.
    Housekeeping,
}

impl Lane {
    /// The longest that a call which ends nothing waits for its permit. Then a request says why it waits; recovery leaves its
    /// turn to another connection of the namespace, as this one does not answer.
    pub const fn patience(self) -> Duration {
        match self {
            Self::Kills => Duration::from_secs(10),
            Self::Housekeeping => Duration::from_secs(2),
        }
    }
}

/// The permits of all calls of gateways.
pub struct CallPermits {
    /// For the calls of the kill path. Held from right before a call until its answer, and for nothing else.
    calls: Arc<Permits>,
    /// For the calls of recovery, which must not take what kills need.
    housekeeping: Arc<Permits>,
    /// For a group on its way from the process list to its claims: more at once would have lists that are too old when their
    /// claims are made. Not held during the call.
    pub slots: Arc<Permits>,
    connections: Store<GuardedConnection>,
}

impl CallPermits {
    /// At most `calls` calls of the kill path at once, through `connections`.
    pub fn new(calls: usize, connections: Store<GuardedConnection>) -> Self {
        let (housekeeping, slots) = (Permits::new(HOUSEKEEPING_AT_ONCE), Permits::new(SLOTS));
        Self { calls: Permits::new(calls), housekeeping, slots, connections }
    }

    /// A permit for one call for `key`, waited for no longer than `limit`. Without one nothing is sent.
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

    /// Learns how the connection of `key` answers from a call that took this time. Before the permit of the call is given
    /// back, so that the next one is given out by it.
    pub fn heard(&self, key: &TenantKey, took: Duration, error: Option<&CallError>) {
        let pace = pace_of(took, error);
        for permits in self.by_connection() {
            permits.heard(key, pace);
        }
    }

    /// Forgets how a connection answered that is gone.
    pub fn forget_connection(&self, namespace: &str, name: &str) {
        for permits in self.by_connection() {
            permits.forget(namespace, name);
        }
    }

    /// The same for all that are not in the cache of connections.
    pub fn forget_connections_gone(&self) {
        let exists =
            |namespace: &str, name: &str| self.connections.get(&ObjectRef::new(name).within(namespace)).is_some();
        for permits in self.by_connection() {
            permits.retain(exists);
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
