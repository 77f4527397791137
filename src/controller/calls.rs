//! Calls of gateways, each under a permit, and what is learned from how each was answered. Waits; no I/O of its own.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use tokio::time::timeout;

use super::context::Context;
use super::pace::pace_of;
use super::permits::{Pace, Permit, Permits};
use super::tenant::TenantKey;
use crate::oceanbase::{CallError, ErrorKind};

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

impl Context {
    /// A permit for one call for `key`, waited for no longer than `limit`. Without one nothing is sent.
    pub async fn call_permit(&self, key: &Arc<TenantKey>, lane: Lane, limit: Duration) -> Result<Permit, CallError> {
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
