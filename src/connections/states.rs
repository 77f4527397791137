//! What the operator has learned about each connection's gateway. No I/O.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::api::{OceanBaseConnectionStatus, Operation, WaitReason};
use crate::backends::Memory;
use crate::connections::connection::Connection;
use crate::connections::state::{Blockade, ConnectionState};
use crate::metrics::Limits;

/// For 1 s the reason to wait is shared by all who want to call through the connection, so that a thousand tenants that
/// wait for one Secret do not each read it.
const SHARED: Duration = Duration::from_secs(1);

/// A Secret counts as awaited for 1 minute: a request that still waits tries again within that time.
const AWAITED: Duration = Duration::from_mins(1);

/// The state of each connection, by UID.
#[derive(Debug, Default)]
pub struct ConnectionStates(Mutex<HashMap<String, ConnectionState>>);

impl ConnectionStates {
    /// What the backend of `connection` has learned of its other side.
    pub fn memory(&self, connection: &Connection) -> Memory {
        self.with(connection, |state| state.memory.clone())
    }

    /// A probe of `connection` found `operation`: kills call it, if the spec leaves the choice.
    pub fn offers(&self, connection: &Connection, operation: Operation) {
        if self.memory(connection).offers(&connection.spec().backend, operation) {
            let (name, namespace) = (connection.name(), connection.namespace());
            tracing::info!(connection = name, namespace, operation = operation.as_str(), "operation in use");
        }
    }

    /// Makes all who want to call through `connection`, in its present generation, wait for this reason.
    pub fn block(&self, connection: &Connection, reason: WaitReason, message: &str) {
        let generation = connection.generation();
        let blockade = Blockade { at: Instant::now(), generation, reason, message: message.to_owned() };
        self.with(connection, |state| state.blocked = Some(blockade));
    }

    /// Lifts the block on `connection`, as its cause may be gone.
    pub fn unblock(&self, connection: &Connection) {
        self.with(connection, |state| state.blocked = None);
    }

    /// The reason to wait for `connection`, in its present generation, if found within the last second.
    pub fn blocked_just_now(&self, connection: &Connection) -> Option<(WaitReason, String)> {
        self.with(connection, |state| {
            let blockade = state.blocked.as_ref()?;
            let holds = blockade.at.elapsed() < SHARED && blockade.generation == connection.generation();
            holds.then(|| (blockade.reason, blockade.message.clone()))
        })
    }

    /// The status as written or about to be written.
    pub fn status(&self, connection: &Connection) -> Option<OceanBaseConnectionStatus> {
        self.with(connection, |state| state.status.clone()).or_else(|| connection.status().cloned())
    }

    /// The lead of the operator's clock over the gateway clock that differs most from it.
    pub fn widest_lead(&self) -> SignedDuration {
        let states = self.known();
        let leads = states.values().filter_map(|state| state.clock.lead());
        leads.max_by_key(|lead| lead.abs()).unwrap_or_default()
    }

    /// The limits of the connections whose gateways have throttled them.
    pub fn limits(&self) -> Limits {
        let states = self.known();
        let limits = states.values().filter_map(|state| state.rate.limit());
        limits.fold(Limits::default(), |all, limit| Limits {
            connections: all.connections + 1,
            lowest: all.lowest.min(limit),
        })
    }

    /// Forgets the connection with this UID, which is gone.
    pub fn forget(&self, uid: &str) {
        self.known().remove(uid);
    }

    /// Forgets connections for which `exists` is false.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.known().retain(|uid, _| exists(uid));
    }

    /// Notes that a request waits for the Secret of `connection`.
    pub fn awaits_secret(&self, connection: &Connection) {
        self.with(connection, |state| state.secret_awaited = Some(Instant::now()));
    }

    /// Whether a request waits for the Secret of `connection`.
    pub fn is_secret_awaited(&self, connection: &Connection) -> bool {
        self.with(connection, |state| state.secret_awaited.is_some_and(|since| since.elapsed() < AWAITED))
    }

    /// Runs `f` on the state of the connection with this UID, if there is one.
    pub fn with_known<T>(&self, uid: &str, f: impl FnOnce(&mut ConnectionState) -> T) -> Option<T> {
        self.known().get_mut(uid).map(f)
    }

    /// Runs `f` on the state of `connection`, created if missing.
    pub fn with<T>(&self, connection: &Connection, f: impl FnOnce(&mut ConnectionState) -> T) -> T {
        self.with_uid(connection.uid(), f)
    }

    /// The same for the connection with this UID.
    pub fn with_uid<T>(&self, uid: &str, f: impl FnOnce(&mut ConnectionState) -> T) -> T {
        f(self.known().entry(uid.to_owned()).or_default())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, ConnectionState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
