//! Decides who gets the next permit: by namespace, then by connection, then by tenant, and for each tenant in FIFO
//! order. No I/O, and nothing waits here.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::api::ConnectionRef;
use crate::domain::tenant::TenantKey;
use crate::queue::ring::Ring;

/// While others wait, a namespace holds at most 1/4 of the permits.
const PER_NAMESPACE: usize = 4;
/// While others wait, a connection holds at most 1/8 of the permits.
const PER_CONNECTION: usize = 8;
/// All slow connections together hold at most 1/2 of the permits.
const SLOW: usize = 2;

/// The number of permits, and the limits on holding them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub total: usize,
    /// The most for all slow connections together.
    pub slow: usize,
    /// The most for one namespace: while others wait, and always for slow connections.
    pub per_namespace: usize,
    /// The most for one connection: while others wait, and always for slow connections.
    pub per_connection: usize,
    /// The assumed pace of a connection that has not answered yet.
    pub unheard: Pace,
}

impl Limits {
    /// The limits for `total` permits, at least one.
    pub fn of(total: usize) -> Self {
        let part = |of: usize| (total / of).max(1);
        let (slow, per_namespace, per_connection) = (part(SLOW), part(PER_NAMESPACE), part(PER_CONNECTION));
        Self { total: total.max(1), slow, per_namespace, per_connection, unheard: Pace::Slow }
    }
}

/// How fast a connection answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Within a second, so that nobody notices how many permits it holds.
    Quick,
    /// In more than a second, or unknown.
    Slow,
    /// It timed out or could not be reached: it gets one permit at a time until it answers.
    Silent,
}

/// The waiting callers and the permits held. `W` is the channel that tells a caller of its permit.
#[derive(Debug)]
pub struct Turns<W> {
    pub held: usize,
    pub held_by_slow: usize,
    pub last_id: u64,
    pub namespaces: Ring<String, Namespace<W>>,
}

#[derive(Debug)]
pub struct Namespace<W> {
    pub held: usize,
    /// By kind and name, as requests of the namespace name them.
    pub connections: Ring<ConnectionRef, Connection<W>>,
}

#[derive(Debug)]
pub struct Connection<W> {
    pub held: usize,
    /// `None` if it has not answered yet.
    pub pace: Option<Pace>,
    pub tenants: Ring<Arc<TenantKey>, VecDeque<Waiter<W>>>,
}

#[derive(Debug)]
pub struct Waiter<W> {
    pub id: u64,
    pub granted: W,
}

// Derived implementations would require `W: Default`.
impl<W> Default for Turns<W> {
    fn default() -> Self {
        Self { held: 0, held_by_slow: 0, last_id: 0, namespaces: Ring::default() }
    }
}

impl<W> Default for Namespace<W> {
    fn default() -> Self {
        Self { held: 0, connections: Ring::default() }
    }
}

impl<W> Default for Connection<W> {
    fn default() -> Self {
        Self { held: 0, pace: None, tenants: Ring::default() }
    }
}

impl<W> Namespace<W> {
    pub fn waits(&self) -> bool {
        !self.connections.turns.is_empty()
    }

    pub fn is_kept(&self) -> bool {
        self.held > 0 || !self.connections.values.is_empty()
    }
}

impl<W> Connection<W> {
    pub fn waits(&self) -> bool {
        !self.tenants.turns.is_empty()
    }

    /// Whether removing it would lose information. Other connections are created again when needed.
    pub fn is_kept(&self) -> bool {
        self.held > 0 || self.waits() || self.pace.is_some()
    }
}

impl<W> Turns<W> {
    pub fn connection(&mut self, key: &TenantKey) -> &mut Connection<W> {
        self.namespaces.value(&key.namespace().to_owned()).connections.value(key.connection())
    }

    /// Takes out the next caller that may have a permit within `limits`, and counts the permit.
    pub fn next(&mut self, limits: &Limits) -> Option<(Waiter<W>, Arc<TenantKey>, bool)> {
        let others_wait = self.namespaces.turns.len() > 1;
        let slow_is_full = self.held_by_slow >= limits.slow;
        let taken = self.namespaces.take(
            |_, namespace| {
                let has_share = namespace.held < limits.per_namespace;
                if !has_share && others_wait {
                    return None;
                }
                let others_wait = others_wait || namespace.connections.turns.len() > 1;
                let taken = namespace.connections.take(
                    |_, connection| {
                        let pace = connection.pace.unwrap_or(limits.unheard);
                        let may = match pace {
                            Pace::Quick => !others_wait || connection.held < limits.per_connection,
                            Pace::Slow => has_share && !slow_is_full && connection.held < limits.per_connection,
                            Pace::Silent => has_share && !slow_is_full && connection.held == 0,
                        };
                        let taken = may.then(|| connection.tenants.take(next_of_tenant, |it| !it.is_empty()))?;
                        let (waiter, key) = taken?;
                        connection.held += 1;
                        Some((waiter, key, pace == Pace::Quick))
                    },
                    Connection::waits,
                )?;
                namespace.held += 1;
                Some(taken)
            },
            Namespace::waits,
        )?;
        self.held += 1;
        self.held_by_slow += usize::from(!taken.2);
        Some(taken)
    }

    pub fn give_back(&mut self, key: &TenantKey, was_quick: bool) {
        self.held = self.held.saturating_sub(1);
        self.held_by_slow = self.held_by_slow.saturating_sub(usize::from(!was_quick));
        let namespace = self.namespaces.value(&key.namespace().to_owned());
        namespace.held = namespace.held.saturating_sub(1);
        let connection = namespace.connections.value(key.connection());
        connection.held = connection.held.saturating_sub(1);
        self.forget(key);
    }

    /// Removes a caller that stopped waiting.
    pub fn leave(&mut self, key: &TenantKey, id: u64) {
        let namespace = self.namespaces.value(&key.namespace().to_owned());
        let connection = namespace.connections.value(key.connection());
        let waiting = connection.tenants.values.get_mut(key);
        let Some(waiting) = waiting.filter(|waiting| waiting.iter().any(|waiter| waiter.id == id)) else {
            return self.forget(key);
        };
        waiting.retain(|waiter| waiter.id != id);
        if waiting.is_empty() {
            connection.tenants.turns.retain(|of| **of != *key);
        }
        if !connection.waits() {
            namespace.connections.turns.retain(|of| of != key.connection());
        }
        if !namespace.waits() {
            self.namespaces.turns.retain(|name| name != key.namespace());
        }
        self.forget(key);
    }

    /// Removes the entries of `key` that hold no information.
    pub fn forget(&mut self, key: &TenantKey) {
        let Some(namespace) = self.namespaces.values.get_mut(key.namespace()) else { return };
        if let Some(connection) = namespace.connections.values.get_mut(key.connection()) {
            if connection.tenants.values.get(key).is_some_and(VecDeque::is_empty) {
                connection.tenants.values.remove(key);
            }
            if !connection.is_kept() {
                namespace.connections.values.remove(key.connection());
            }
        }
        if !namespace.is_kept() {
            self.namespaces.values.remove(key.namespace());
        }
    }
}

fn next_of_tenant<W>(key: &Arc<TenantKey>, waiting: &mut VecDeque<Waiter<W>>) -> Option<(Waiter<W>, Arc<TenantKey>)> {
    waiting.pop_front().map(|waiter| (waiter, key.clone()))
}
