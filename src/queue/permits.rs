//! Permits for resources shared by all namespaces. Turns rotate by namespace, then by connection, then by tenant; each
//! tenant is served in FIFO order. Waits; no I/O.
//!
//! A permit is held for as long as the backend takes to answer, so that fair turns alone do not help: whoever holds all
//! permits blocks everybody. So connections that answer slowly have limits that always hold, and all of them together
//! use at most half of the permits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::domain::tenant::{ConnectionKey, TenantKey};
pub use crate::queue::turns::Pace;
use crate::queue::turns::{Connection, Limits, Namespace, Turns, Waiter};

/// A pool of permits of one kind.
#[derive(Debug)]
pub struct Permits {
    limits: Limits,
    state: Mutex<Turns<oneshot::Sender<Permit>>>,
}

/// The right to do one thing until it is dropped.
#[derive(Debug)]
pub struct Permit {
    of: Arc<Permits>,
    key: Arc<TenantKey>,
    was_quick: bool,
}

impl Permits {
    /// A pool of `total` permits, at least one.
    pub fn new(total: usize) -> Arc<Self> {
        Self::within(Limits::of(total))
    }

    /// A pool for quick work that calls no gateway: a single user may hold all of it.
    pub fn of_quick(total: usize) -> Arc<Self> {
        Self::within(Limits { unheard: Pace::Quick, ..Limits::of(total) })
    }

    /// A pool for writes to the API server: each namespace is always limited to its share, as its objects may be so
    /// large that each write is slow. Connections have no limit.
    pub fn of_writes(total: usize) -> Arc<Self> {
        Self::by_namespace(total, Limits::of(total).per_namespace)
    }

    /// A pool of `total` permits with at most `each` per namespace; connections have no limit.
    pub fn by_namespace(total: usize, each: usize) -> Arc<Self> {
        let limits = Limits::of(total);
        Self::within(Limits { per_namespace: each, per_connection: each, slow: limits.total, ..limits })
    }

    fn within(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Waits for a permit for `key`. It is safe to cancel: the caller only loses its place in the line.
    pub async fn acquire(self: &Arc<Self>, key: &Arc<TenantKey>) -> Permit {
        let (granted, receiver) = oneshot::channel();
        let mut place = Place { of: self.clone(), key: key.clone(), id: 0 };
        {
            let mut state = self.state();
            state.last_id += 1;
            place.id = state.last_id;
            let waits = state.namespaces.values.get(key.namespace()).is_some_and(Namespace::waits);
            let namespace = state.namespaces.waits(&key.namespace().to_owned(), waits);
            let waits = namespace.connections.values.get(key.connection()).is_some_and(Connection::waits);
            let connection = namespace.connections.waits(key.connection(), waits);
            let waits = connection.tenants.values.get(key).is_some_and(|waiting| !waiting.is_empty());
            connection.tenants.waits(key, waits).push_back(Waiter { id: place.id, granted });
        }
        self.grant();
        match receiver.await {
            Ok(permit) => permit,
            // The sender is dropped only with this place, or with the whole pool.
            Err(_) => std::future::pending().await,
        }
    }

    /// Records how fast the connection of `key` answered, and grants the permits that this allows.
    pub fn heard(self: &Arc<Self>, key: &TenantKey, pace: Pace) {
        self.state().connection(key).pace = Some(pace);
        self.grant();
    }

    /// How fast the connection of `key` answered last.
    pub fn pace(&self, key: &TenantKey) -> Pace {
        let state = self.state();
        let namespace = state.namespaces.values.get(key.namespace());
        namespace
            .and_then(|of| of.connections.values.get(key.connection()))
            .and_then(|it| it.pace)
            .unwrap_or(self.limits.unheard)
    }

    /// Forgets how fast the connections answer for which `exists` returns false: in all namespaces whose requests used them.
    pub fn retain(&self, exists: impl Fn(&ConnectionKey) -> bool) {
        let mut state = self.state();
        state.namespaces.values.retain(|name, namespace| {
            namespace.connections.values.retain(|connection, of| {
                if !exists(&ConnectionKey::of(name, connection)) {
                    of.pace = None;
                }
                of.is_kept()
            });
            namespace.is_kept()
        });
    }

    /// Forgets how fast one connection answers.
    pub fn forget(&self, connection: &ConnectionKey) {
        self.retain(|other| other != connection);
    }

    /// Grants every permit that may be granted now.
    fn grant(self: &Arc<Self>) {
        // Dropped after the lock, as a permit for a caller that has gone away returns itself.
        let mut unclaimed = vec![];
        let mut state = self.state();
        while state.held < self.limits.total {
            let Some((waiter, key, was_quick)) = state.next(&self.limits) else { break };
            let permit = Permit { of: self.clone(), key, was_quick };
            if let Err(permit) = waiter.granted.send(permit) {
                unclaimed.push(permit);
            }
        }
        drop(state);
    }

    fn state(&self) -> MutexGuard<'_, Turns<oneshot::Sender<Permit>>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.state().give_back(&self.key, self.was_quick);
        self.of.grant();
    }
}

/// A waiting caller's place in the line.
struct Place {
    of: Arc<Permits>,
    key: Arc<TenantKey>,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.state().leave(&self.key, self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::domain::test_objects::{of_cluster, request};

    fn key(namespace: &str, connection: &str, tenant: &str) -> Arc<TenantKey> {
        let mut object = request();
        object.metadata.namespace = Some(namespace.to_owned());
        connection.clone_into(&mut object.spec.connection_ref.name);
        tenant.clone_into(&mut object.spec.tenant_id);
        Arc::new(TenantKey::of(&object))
    }

    type Waiting = BoxFuture<'static, Permit>;

    /// Asks for a permit, and returns the wait if there is none yet.
    fn ask(permits: &Arc<Permits>, key: &Arc<TenantKey>) -> Result<Permit, Waiting> {
        let (permits, key) = (permits.clone(), key.clone());
        let mut waiting: Waiting = Box::pin(async move { permits.acquire(&key).await });
        match (&mut waiting).now_or_never() {
            Some(permit) => Ok(permit),
            None => Err(waiting),
        }
    }

    fn ask_many(permits: &Arc<Permits>, keys: &[Arc<TenantKey>]) -> (Vec<Permit>, Vec<Waiting>) {
        let (mut held, mut waiting) = (vec![], vec![]);
        for key in keys {
            match ask(permits, key) {
                Ok(permit) => held.push(permit),
                Err(later) => waiting.push(later),
            }
        }
        (held, waiting)
    }

    fn tenants(namespace: &str, connection: &str, count: usize) -> Vec<Arc<TenantKey>> {
        (0..count).map(|number| key(namespace, connection, &format!("t{number}"))).collect()
    }

    fn is_forgotten(permits: &Permits) -> bool {
        let state = permits.state();
        state.held == 0
            && state.held_by_slow == 0
            && state.namespaces.values.is_empty()
            && state.namespaces.turns.is_empty()
    }

    #[test]
    fn a_quick_connection_that_is_alone_has_all_and_gives_way_to_others() {
        let permits = Permits::new(32);
        for (namespace, connection) in [("a", "one"), ("b", "one")] {
            permits.heard(&key(namespace, connection, ""), Pace::Quick);
        }
        let (mut held, waiting) = ask_many(&permits, &tenants("a", "one", 40));
        assert_eq!((held.len(), waiting.len()), (32, 8));
        let mut other = ask(&permits, &key("b", "one", "t")).unwrap_err();
        held.truncate(31);
        assert!((&mut other).now_or_never().is_some(), "the next permit is for who has none");
    }

    #[test]
    fn while_others_wait_nobody_has_more_than_a_share() {
        let permits = Permits::new(32);
        permits.heard(&key("a", "one", ""), Pace::Quick);
        permits.heard(&key("b", "one", ""), Pace::Quick);
        let (mut of_a, waiting_a) = ask_many(&permits, &tenants("a", "one", 100));
        let (of_b, mut waiting_b) = ask_many(&permits, &tenants("b", "one", 100));
        assert_eq!((of_a.len(), of_b.len()), (32, 0));
        of_a.drain(..20);
        let now =
            |waiting: &mut Vec<Waiting>| waiting.iter_mut().filter_map(FutureExt::now_or_never).collect::<Vec<_>>();
        let granted = now(&mut waiting_b);
        assert_eq!(granted.len(), 4, "a connection has an eighth");
        assert_eq!(permits.state().namespaces.values["a"].held, 12, "and a none more, though 16 are free");
        drop(waiting_a);
    }

    #[test]
    fn what_does_not_answer_at_once_has_its_share_also_when_it_is_alone() {
        let permits = Permits::new(32);
        let many = |connection: &str| tenants("a", connection, 20);
        let (of_one, _waiting) = ask_many(&permits, &many("one"));
        assert_eq!(of_one.len(), 4);
        let all: Vec<_> = (0..10).flat_map(|number| many(&format!("more-{number}"))).collect();
        let (others, _waiting_too) = ask_many(&permits, &all);
        assert_eq!(of_one.len() + others.len(), 8, "a quarter for the namespace");
    }

    #[test]
    fn all_that_does_not_answer_at_once_leaves_a_half_to_what_does() {
        let permits = Permits::new(32);
        let all: Vec<_> = (0..10).flat_map(|number| tenants(&format!("n{number}"), "dead", 20)).collect();
        let (slow, _waiting) = ask_many(&permits, &all);
        assert_eq!(slow.len(), 16);
        let mut held = vec![];
        for connection in ["one", "two", "three"] {
            permits.heard(&key("good", connection, ""), Pace::Quick);
            held.extend(ask_many(&permits, &tenants("good", connection, 16)).0);
        }
        assert_eq!(held.len(), 8, "at once, though all the others wait");
    }

    #[test]
    fn a_silent_connection_is_tried_one_call_at_a_time_until_it_answers() {
        let permits = Permits::new(32);
        permits.heard(&key("a", "dead", ""), Pace::Silent);
        let (mut held, mut waiting) = ask_many(&permits, &tenants("a", "dead", 10));
        assert_eq!(held.len(), 1);
        held.clear();
        let mut granted: Vec<_> = waiting.iter_mut().filter_map(FutureExt::now_or_never).collect();
        assert_eq!(granted.len(), 1);
        drop(waiting.remove(0));
        permits.heard(&key("a", "dead", ""), Pace::Quick);
        granted.extend(waiting.iter_mut().filter_map(FutureExt::now_or_never));
        assert_eq!(granted.len(), 9, "it answers: all the others, too");
    }

    #[test]
    fn writes_are_shared_by_namespace_whatever_the_connection() {
        let permits = Permits::of_writes(32);
        let mut held = vec![];
        for namespace in ["a", "b", "c", "d"] {
            held.extend(ask_many(&permits, &tenants(namespace, "one", 20)).0);
            assert_eq!(held.len() % 8, 0, "a quarter for each, also for one that is alone");
        }
        assert_eq!(held.len(), 32);
    }

    #[test]
    fn a_namespace_has_no_more_rooms_than_its_own() {
        let permits = Permits::by_namespace(32, 2);
        let mut held = vec![];
        for number in 0..20 {
            held.extend(ask_many(&permits, &tenants(&format!("n{number}"), "one", 20)).0);
        }
        assert_eq!(held.len(), 32);
        held.truncate(31);
        assert!(ask(&permits, &key("other", "one", "t")).is_ok(), "the next is for who has none");
    }

    #[test]
    fn turns_go_round_namespaces_then_connections_then_tenants() {
        let permits = Permits::new(1);
        for (namespace, connection) in [("a", "x"), ("a", "y"), ("b", "x")] {
            permits.heard(&key(namespace, connection, ""), Pace::Quick);
        }
        let mut held = Some(ask(&permits, &key("z", "z", "z")).ok().unwrap());
        let order = ["a/x/1", "a/x/1", "a/x/2", "a/y/1", "b/x/1", "b/x/1"];
        let mut waiting: Vec<(&str, Waiting)> = vec![];
        for name in order {
            let parts: Vec<&str> = name.split('/').collect();
            waiting.push((name, ask(&permits, &key(parts[0], parts[1], parts[2])).unwrap_err()));
        }
        let mut turns = vec![];
        while !waiting.is_empty() {
            drop(held.take());
            let index = waiting.iter_mut().position(|(_, it)| match it.now_or_never() {
                Some(permit) => {
                    held = Some(permit);
                    true
                }
                None => false,
            });
            turns.push(waiting.remove(index.unwrap()).0);
        }
        assert_eq!(turns, ["a/x/1", "b/x/1", "a/y/1", "b/x/1", "a/x/2", "a/x/1"]);
        drop(held);
    }

    #[test]
    fn who_goes_away_leaves_its_turn_and_nothing_behind() {
        let permits = Permits::new(1);
        let held = ask(&permits, &key("a", "x", "1")).ok().unwrap();
        let gone = ask(&permits, &key("b", "x", "1")).unwrap_err();
        let mut stays = ask(&permits, &key("c", "x", "1")).unwrap_err();
        drop(gone);
        drop(held);
        let permit = (&mut stays).now_or_never().unwrap();
        // Granted, but never polled.
        let unclaimed = ask(&permits, &key("d", "x", "1")).unwrap_err();
        drop(permit);
        drop(unclaimed);
        drop(stays);
        assert!(is_forgotten(&permits), "{permits:?}");
        let gone: fn(&Permits) = |permits| permits.forget(&ConnectionKey::new(Some("a"), "x"));
        for forget in [|permits: &Permits| permits.retain(|_| false), gone] {
            permits.heard(&key("a", "x", ""), Pace::Quick);
            assert!(!is_forgotten(&permits));
            forget(&permits);
            assert!(is_forgotten(&permits), "a connection that is gone: {permits:?}");
        }
    }

    fn lent(namespace: &str, tenant: &str) -> Arc<TenantKey> {
        let mut object = of_cluster(request());
        object.metadata.namespace = Some(namespace.to_owned());
        tenant.clone_into(&mut object.spec.tenant_id);
        Arc::new(TenantKey::of(&object))
    }

    #[test]
    fn through_one_connection_of_no_namespace_each_namespace_has_its_turn() {
        let permits = Permits::new(1);
        permits.heard(&lent("a", ""), Pace::Quick);
        permits.heard(&lent("b", ""), Pace::Quick);
        let held = ask(&permits, &lent("a", "0")).ok().unwrap();
        let many: Vec<_> = (1..100).map(|number| lent("a", &number.to_string())).collect();
        let (_, mut of_a) = ask_many(&permits, &many);
        let mut of_b = ask(&permits, &lent("b", "0")).unwrap_err();
        drop(held);
        let next = of_a.iter_mut().find_map(FutureExt::now_or_never).unwrap();
        drop(next);
        assert!((&mut of_b).now_or_never().is_some(), "after one of the other's, however many wait");
    }

    #[test]
    fn a_connection_of_no_namespace_that_is_gone_is_forgotten_in_all_that_used_it() {
        let permits = Permits::new(1);
        for namespace in ["a", "b"] {
            permits.heard(&lent(namespace, ""), Pace::Silent);
        }
        permits.heard(&key("a", "prod-ob", ""), Pace::Silent);
        permits.forget(&ConnectionKey::new(None, "prod-ob"));
        assert_eq!(permits.pace(&lent("a", "")), Pace::Slow);
        assert_eq!(permits.pace(&lent("b", "")), Pace::Slow);
        assert_eq!(permits.pace(&key("a", "prod-ob", "")), Pace::Silent, "another one of that name");
    }
}
