//! Whose turn it is for one of some permits: by namespace, then by connection, then by tenant, and of each tenant in the order
//! in which it asked. No I/O, and nothing waits here.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::tenant::TenantKey;
use crate::queue::ring::Ring;

/// While others wait, a namespace holds no more than this part of the permits.
const PER_NAMESPACE: usize = 4;
/// While others wait, a connection holds no more than this part of the permits.
const PER_CONNECTION: usize = 8;
/// Connections that do not answer at once hold no more than this part of the permits, all together.
const SLOW: usize = 2;

/// How many permits there are, and what nobody may exceed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub total: usize,
    /// Of all connections together that do not answer at once.
    pub slow: usize,
    /// While others wait, and always of what does not answer at once.
    pub per_namespace: usize,
    /// The same.
    pub per_connection: usize,
    /// How a connection is taken to answer of which nothing was heard.
    pub unheard: Pace,
}

impl Limits {
    /// Of so many permits, at least one.
    pub fn of(total: usize) -> Self {
        let part = |of: usize| (total / of).max(1);
        let (slow, per_namespace, per_connection) = (part(SLOW), part(PER_NAMESPACE), part(PER_CONNECTION));
        Self { total: total.max(1), slow, per_namespace, per_connection, unheard: Pace::Slow }
    }
}

/// How a connection answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Within a second: what it holds is given back before anybody misses it.
    Quick,
    /// Later, or nothing is known of it.
    Slow,
    /// It timed out or could not be reached: it has one permit at a time until it answers.
    Silent,
}

/// Who waits, and what is held. `W` is how somebody who waits is told of its turn.
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
    pub connections: Ring<String, Connection<W>>,
}

#[derive(Debug)]
pub struct Connection<W> {
    pub held: usize,
    /// None if nothing was heard of it.
    pub pace: Option<Pace>,
    pub tenants: Ring<Arc<TenantKey>, VecDeque<Waiter<W>>>,
}

#[derive(Debug)]
pub struct Waiter<W> {
    pub id: u64,
    pub granted: W,
}

// Derived ones would ask for a `Default` of `W`.
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

    /// Whether anything would be lost with it. One of which nothing is known is made anew when it is needed.
    pub fn is_kept(&self) -> bool {
        self.held > 0 || self.waits() || self.pace.is_some()
    }
}

impl<W> Turns<W> {
    pub fn connection(&mut self, key: &TenantKey) -> &mut Connection<W> {
        self.namespaces.value(&key.namespace().to_owned()).connections.value(&key.connection().to_owned())
    }

    /// Takes out the next who may have a permit within `limits`, and counts it.
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
        let connection = namespace.connections.value(&key.connection().to_owned());
        connection.held = connection.held.saturating_sub(1);
        self.forget(key);
    }

    /// The one of this ID waits no longer.
    pub fn leave(&mut self, key: &TenantKey, id: u64) {
        let namespace = self.namespaces.value(&key.namespace().to_owned());
        let connection = namespace.connections.value(&key.connection().to_owned());
        let waiting = connection.tenants.values.get_mut(key);
        let Some(waiting) = waiting.filter(|waiting| waiting.iter().any(|waiter| waiter.id == id)) else {
            return self.forget(key);
        };
        waiting.retain(|waiter| waiter.id != id);
        if waiting.is_empty() {
            connection.tenants.turns.retain(|of| **of != *key);
        }
        if !connection.waits() {
            namespace.connections.turns.retain(|name| name != key.connection());
        }
        if !namespace.waits() {
            self.namespaces.turns.retain(|name| name != key.namespace());
        }
        self.forget(key);
    }

    /// Forgets what is left of `key` and says nothing.
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
