//! Work that waits for its turn: a bounded FIFO per (namespace, connection, instance, tenant), outside the controller
//! runtime, whose own waiting keys have no order. No I/O of its own; the work is `attempt`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::attempt::attempt;
use super::context::{Context, Guarded};
use crate::api::SessionKill;

/// The most requests that wait in memory; the others wait in the API server.
const MAX_WAITING: usize = 50_000;
/// For how long a finished request is not looked at again: its end is not in the watch cache yet.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);

/// Requests of one key are worked on one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantKey {
    namespace: String,
    connection: String,
    instance: String,
    tenant: String,
}

impl TenantKey {
    /// The key of a request.
    pub fn of(object: &SessionKill) -> Self {
        Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            connection: object.spec.connection_ref.name.clone(),
            instance: object.spec.instance_id.clone(),
            tenant: object.spec.tenant_id.clone(),
        }
    }

    /// The key of objects that cannot be read, which have no tenant.
    pub fn unreadable(namespace: &str) -> Self {
        let (connection, instance, tenant) = <(String, String, String)>::default();
        Self { namespace: namespace.to_owned(), connection, instance, tenant }
    }
}

/// One object to work on. The object itself is looked up when its turn comes, to see it as it is then.
#[derive(Clone, Debug)]
pub struct Item {
    /// The object.
    pub object: ObjectRef<Guarded>,
    /// Its UID: a re-created object of the same name is another one.
    pub uid: String,
    /// Its generation when it was submitted: it goes up when a user edits the spec.
    pub generation: Option<i64>,
}

/// What an attempt left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Ended,
    /// Look again then.
    Later(Timestamp),
    /// Another task goes on with it, and says [`Queue::done`] at its end.
    HandedOver,
}

/// What became of an item that was submitted.
#[derive(Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It will be worked on, or already is.
    Accepted,
    /// Not before this time.
    Held(Timestamp),
    /// Too many are waiting.
    Full,
}

#[derive(Debug, Default)]
struct State {
    tenants: HashMap<TenantKey, VecDeque<Item>>,
    /// UIDs that wait or are worked on.
    busy: HashSet<String>,
    /// UIDs that are not worked on before a time. The status says so too, but the watch cache may not know yet.
    held: HashMap<String, Hold>,
}

#[derive(Debug)]
struct Hold {
    until: Timestamp,
    /// What was decided for one generation must not delay another: resuming a suspended request ends its wait. None
    /// holds every generation.
    generation: Option<i64>,
}

impl Hold {
    fn applies(&self, item: &Item, now: Timestamp) -> bool {
        now < self.until && (self.generation.is_none() || self.generation == item.generation)
    }
}

/// The queue. Cheap to share.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    concurrency: Arc<Semaphore>,
    again: mpsc::UnboundedSender<ObjectRef<Guarded>>,
    shutdown: CancellationToken,
}

impl Queue {
    /// An empty queue. `again` gets every object that is to be looked at again; no work is started after `shutdown`.
    pub fn new(
        max_concurrent: usize,
        again: mpsc::UnboundedSender<ObjectRef<Guarded>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { state: Mutex::default(), concurrency: Arc::new(Semaphore::new(max_concurrent)), again, shutdown }
    }

    /// Adds `item` behind the others of `key`, unless it is there already.
    pub fn submit(context: &Arc<Context>, key: TenantKey, item: Item, now: Timestamp) -> Submitted {
        let mut state = context.queue.state();
        if state.busy.contains(&item.uid) {
            return Submitted::Accepted;
        }
        if let Some(hold) = state.held.get(&item.uid).filter(|hold| hold.applies(&item, now)) {
            return Submitted::Held(hold.until);
        }
        if state.busy.len() >= MAX_WAITING {
            return Submitted::Full;
        }
        state.held.remove(&item.uid);
        state.busy.insert(item.uid.clone());
        if let Some(waiting) = state.tenants.get_mut(&key) {
            waiting.push_back(item);
        } else {
            state.tenants.insert(key.clone(), VecDeque::from([item]));
            context.tasks.spawn(work(context.clone(), key));
        }
        Submitted::Accepted
    }

    /// Forgets holds that have passed.
    pub fn prune(&self, now: Timestamp) {
        self.state().held.retain(|_, hold| now < hold.until);
    }

    /// The next item of `key`; none, and the key forgotten, when there is none or no work may start any more.
    fn next(&self, key: &TenantKey) -> Option<Item> {
        let mut state = self.state();
        let next = state.tenants.get_mut(key).and_then(VecDeque::pop_front).filter(|_| !self.shutdown.is_cancelled());
        if next.is_none() {
            state.tenants.remove(key);
        }
        next
    }

    /// `item` was worked on, and `next` is left to do.
    pub fn done(&self, item: Item, next: Next) {
        let now = Timestamp::now();
        let mut state = self.state();
        if next != Next::HandedOver {
            state.busy.remove(&item.uid);
        }
        match next {
            Next::HandedOver => {}
            Next::Ended => {
                state.held.insert(item.uid, Hold { until: now + SETTLED, generation: None });
            }
            Next::Later(until) => {
                state.held.insert(item.uid, Hold { until, generation: item.generation });
                // The receiver is gone only when the operator ends.
                let _ = self.again.send(item.object);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works on the items of one key until there are none.
async fn work(context: Arc<Context>, key: TenantKey) {
    loop {
        // The turn first: an item taken before it would be worked on even if a shutdown came meanwhile. The semaphore is
        // never closed.
        let _turn = context.queue.concurrency.clone().acquire_owned().await;
        let Some(item) = context.queue.next(&key) else { return };
        let next = attempt(&context, &item).await;
        context.queue.done(item, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_ends_with_its_time_or_with_an_edit() {
        let now: Timestamp = "2026-10-05T10:00:00Z".parse().unwrap();
        let item = |generation| Item { object: ObjectRef::new("x"), uid: "uid".to_owned(), generation };
        let hold = Hold { until: now, generation: Some(1) };
        let before = now - SignedDuration::from_secs(1);
        assert!(hold.applies(&item(Some(1)), before));
        assert!(!hold.applies(&item(Some(1)), now));
        assert!(!hold.applies(&item(Some(2)), before), "a resumed request goes on at once");
        let ended = Hold { until: now, generation: None };
        assert!(ended.applies(&item(Some(2)), before), "a finished request stays finished");
    }
}
