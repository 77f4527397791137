//! Work that waits for its turn: a bounded FIFO per (namespace, connection, instance, tenant), outside the controller
//! runtime, whose own waiting keys have no order. What waits while a call is in flight goes out in the next one. No I/O of its own; the
//! work is `group`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::group::{wait_for_turn, work_on};
use super::guarded::Guarded;
use super::leadership::Leadership;
use super::places::Places;
use crate::api::SessionKill;
use crate::metrics::labels::Stage;

/// The most requests that wait in memory; the others wait in the API server.
const MAX_WAITING: usize = 50_000;
/// The most sessions that one call names, for one request or for many. A lost answer leaves all of them open until the list
/// is read.
const MAX_SESSIONS: usize = 500;
/// Requests that have less time than this go first.
const NEARLY_OVER: SignedDuration = SignedDuration::from_secs(30);
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
    /// How many sessions it names.
    pub sessions: usize,
    /// Nothing is sent for it after this time.
    pub not_after: Timestamp,
    /// When the watch, or the end of a wait, brought it.
    pub seen: Instant,
}

/// What an attempt left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Ended,
    /// Look again then.
    Later(Timestamp),
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
    tenants: HashMap<Arc<TenantKey>, VecDeque<Item>>,
    /// What waits or is worked on.
    places: Places,
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
    leadership: Arc<Leadership>,
    shutdown: CancellationToken,
}

impl Queue {
    /// An empty queue. `again` gets every object that is to be looked at again; no work is started after `shutdown`, nor while
    /// this process does not lead.
    pub fn new(
        max_concurrent: usize,
        again: mpsc::UnboundedSender<ObjectRef<Guarded>>,
        leadership: Arc<Leadership>,
        shutdown: CancellationToken,
    ) -> Self {
        let concurrency = Arc::new(Semaphore::new(max_concurrent));
        Self { state: Mutex::default(), concurrency, again, leadership, shutdown }
    }

    /// Adds `item` behind the others of `key`, unless it is there already.
    pub fn submit(context: &Arc<Context>, key: TenantKey, item: Item, now: Timestamp) -> Submitted {
        let mut state = context.queue.state();
        if state.places.has(&item.uid) {
            return Submitted::Accepted;
        }
        if let Some(hold) = state.held.get(&item.uid).filter(|hold| hold.applies(&item, now)) {
            return Submitted::Held(hold.until);
        }
        if state.places.len() >= MAX_WAITING {
            return Submitted::Full;
        }
        state.held.remove(&item.uid);
        let tenant = state.tenants.get_key_value(&key).map(|(tenant, _)| tenant.clone());
        let tenant = tenant.unwrap_or_else(|| {
            let tenant = Arc::new(key);
            state.tenants.insert(tenant.clone(), VecDeque::new());
            context.tasks.spawn(work(context.clone(), tenant.clone()));
            tenant
        });
        state.places.add(&item.uid, tenant.clone());
        state.tenants.entry(tenant).or_default().push_back(item);
        Submitted::Accepted
    }

    /// Forgets holds that have passed.
    pub fn prune(&self, now: Timestamp) {
        self.state().held.retain(|_, hold| now < hold.until);
    }

    /// What comes next of `key`.
    fn first(&self, key: &TenantKey) -> Option<Item> {
        self.state().tenants.get(key).and_then(VecDeque::front).cloned()
    }

    /// The next items of `key`, which go together; none, and the key forgotten, when there are none or no work may start now.
    fn next(&self, key: &TenantKey, now: Timestamp) -> Vec<Item> {
        let mut state = self.state();
        let may_start = !self.shutdown.is_cancelled() && self.leadership.leads();
        let waiting = state.tenants.get_mut(key).filter(|_| may_start);
        let next = waiting.map(|waiting| next_group(waiting, now)).unwrap_or_default();
        if next.is_empty() {
            // What was left waiting is submitted anew when this process leads again.
            for left in state.tenants.remove(key).unwrap_or_default() {
                state.places.moves(&left.uid, None);
            }
        }
        next
    }

    /// Puts `items` of `key` before the others, for the next call.
    pub fn put_back(&self, key: &TenantKey, items: impl DoubleEndedIterator<Item = Item>) {
        let mut state = self.state();
        // It is there for as long as its items are worked on.
        let waiting = state.tenants.entry(Arc::new(key.clone())).or_default();
        items.rev().for_each(|item| waiting.push_front(item));
    }

    /// Has `objects` looked at again.
    pub fn look_again_at(&self, objects: impl IntoIterator<Item = ObjectRef<Guarded>>) {
        for object in objects {
            // The receiver is gone only when the operator ends.
            let _ = self.again.send(object);
        }
    }

    /// The item of this UID enters the stage `next`. Returns the stage that it leaves, and since when it was there.
    pub fn enters(&self, uid: &str, next: Stage) -> Option<(Stage, Instant)> {
        self.state().places.moves(uid, Some(next))
    }

    /// Whether work is under way for no more than one tenant.
    pub fn is_of_one_tenant(&self) -> bool {
        self.state().places.tenants_at_work() <= 1
    }

    /// For each item on its way: its stage, and for how long it has been there.
    pub fn stages(&self) -> Vec<(Stage, Duration)> {
        self.state().places.stages()
    }

    /// `item` was worked on, and `next` is left to do. Returns the stage that it leaves, and since when it was there.
    pub fn done(&self, item: Item, next: Next) -> Option<(Stage, Instant)> {
        let now = Timestamp::now();
        let mut state = self.state();
        let left = state.places.moves(&item.uid, None);
        match next {
            Next::Ended => {
                state.held.insert(item.uid, Hold { until: now + SETTLED, generation: None });
            }
            Next::Later(until) => {
                state.held.insert(item.uid, Hold { until, generation: item.generation });
                self.look_again_at([item.object]);
            }
        }
        left
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works on the items of one key until there are none.
async fn work(context: Arc<Context>, key: Arc<TenantKey>) {
    loop {
        // Before one of the turns that all share is taken: a connection that is throttled must not hold up the others.
        if let Some(first) = context.queue.first(&key) {
            // A shutdown waits for what is in flight, not for what has yet to begin.
            tokio::select! {
                () = wait_for_turn(&context, &first) => {}
                () = context.queue.shutdown.cancelled() => {}
            }
        }
        // The turn first: an item taken before it would be worked on even if a shutdown came meanwhile. The semaphore is
        // never closed.
        let _turn = context.queue.concurrency.clone().acquire_owned().await;
        let items = context.queue.next(&key, Timestamp::now());
        if items.is_empty() {
            return;
        }
        work_on(&context, items).await;
    }
}

/// Takes out of `waiting` what goes together: in the order in which it came, but for items whose time is nearly over, which
/// come first.
fn next_group(waiting: &mut VecDeque<Item>, now: Timestamp) -> Vec<Item> {
    let soon = now.saturating_add(NEARLY_OVER).unwrap_or(Timestamp::MAX);
    // Stable: among those that are in a hurry, and among the others, the order stays.
    if waiting.iter().any(|item| item.not_after <= soon) {
        waiting.make_contiguous().sort_by_key(|item| item.not_after > soon);
    }
    let mut sessions = 0;
    let fits = |item: &&Item| {
        sessions += item.sessions;
        sessions <= MAX_SESSIONS
    };
    let count = waiting.iter().take_while(fits).count().max(1);
    waiting.drain(..count.min(waiting.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, sessions: usize, not_after: Timestamp) -> Item {
        Item {
            object: ObjectRef::new(name),
            uid: name.to_owned(),
            generation: Some(1),
            sessions,
            not_after,
            seen: Instant::now(),
        }
    }

    fn names(items: &[Item]) -> Vec<&str> {
        items.iter().map(|item| item.uid.as_str()).collect()
    }

    #[test]
    fn what_waits_goes_together_in_its_order_up_to_a_limit() {
        let now: Timestamp = "2026-10-05T10:00:00Z".parse().unwrap();
        let later = now + SignedDuration::from_hours(1);
        let mut waiting = VecDeque::from([item("a", 300, later), item("b", 200, later), item("c", 1, later)]);
        assert_eq!(names(&next_group(&mut waiting, now)), ["a", "b"]);
        assert_eq!(names(&next_group(&mut waiting, now)), ["c"]);
        assert!(next_group(&mut waiting, now).is_empty());
        waiting.push_back(item("more than one call may name", MAX_SESSIONS + 1, later));
        assert_eq!(next_group(&mut waiting, now).len(), 1, "nothing waits for ever");
    }

    #[test]
    fn what_is_nearly_over_goes_first() {
        let now: Timestamp = "2026-10-05T10:00:00Z".parse().unwrap();
        let (soon, later) = (now + SignedDuration::from_secs(20), now + SignedDuration::from_hours(1));
        let mut waiting =
            VecDeque::from([item("a", 1, later), item("b", 1, soon), item("c", 1, later), item("d", 1, soon)]);
        assert_eq!(names(&next_group(&mut waiting, now)), ["b", "d", "a", "c"]);
    }

    #[test]
    fn a_hold_ends_with_its_time_or_with_an_edit() {
        let now: Timestamp = "2026-10-05T10:00:00Z".parse().unwrap();
        let item = |generation| Item { generation, ..item("x", 1, now) };
        let hold = Hold { until: now, generation: Some(1) };
        let before = now - SignedDuration::from_secs(1);
        assert!(hold.applies(&item(Some(1)), before));
        assert!(!hold.applies(&item(Some(1)), now));
        assert!(!hold.applies(&item(Some(2)), before), "a resumed request goes on at once");
        let ended = Hold { until: now, generation: None };
        assert!(ended.applies(&item(Some(2)), before), "a finished request stays finished");
    }
}
