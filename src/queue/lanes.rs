//! The queue: a bounded FIFO for each (namespace, connection, instance, tenant), as the controller runtime keeps no
//! order. All that waits while a call is in flight goes out in the next call. No I/O; workers take the items out.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::tenant::{ConnectionKey, TenantKey};
use crate::kubernetes::lease::leadership::Leadership;
use crate::kubernetes::watch::cached::Cached;
use crate::metrics::labels::Stage;
use crate::queue::held::Held;
use crate::queue::item::{Item, Next, Submitted};
use crate::queue::stages::Places;

/// The most requests waiting in memory; all others wait in the API server.
const MAX_WAITING: usize = 50_000;
/// The most of one namespace, and of one tenant, so that a burst of requests leaves room for others.
const MAX_OF_NAMESPACE: usize = MAX_WAITING / 4;
const MAX_OF_TENANT: usize = MAX_WAITING / 5;
/// Requests that each namespace may queue even if others fill the queue.
const KEPT_FOR_NAMESPACE: usize = 100;
/// Requests with less time left than this go first.
const NEARLY_OVER: SignedDuration = SignedDuration::from_secs(30);
#[derive(Debug, Default)]
pub struct State {
    pub tenants: HashMap<Arc<TenantKey>, VecDeque<Item>>,
    /// The stage of everything that waits or is being processed.
    pub places: Places,
    /// Requests on hold until a time.
    pub held: Held,
    /// Namespaces with requests that were refused for lack of room.
    turned_away: BTreeSet<String>,
}

/// The queue. Share it in an `Arc`.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    again: mpsc::UnboundedSender<ObjectRef<Cached>>,
    /// Notified when an item is done, as there may be room again.
    room: Notify,
    leadership: Arc<Leadership>,
    pub shutdown: CancellationToken,
}

impl Queue {
    /// An empty queue. `again` receives every object to look at again. No work starts after `shutdown`, or while this
    /// process is not the leader.
    pub fn new(
        again: mpsc::UnboundedSender<ObjectRef<Cached>>,
        leadership: Arc<Leadership>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { state: Mutex::default(), again, room: Notify::new(), leadership, shutdown }
    }

    /// Appends `item` to the FIFO of `key`, unless it is queued or being processed.
    pub fn submit(&self, key: TenantKey, mut item: Item, now: Timestamp) -> Submitted {
        let mut state = self.state();
        if state.places.has(&item.uid) {
            return Submitted::Accepted { starts: None };
        }
        if let Some(until) = state.held.until(&item, now) {
            return Submitted::Held(until);
        }
        if !state.has_room(&key) {
            state.turned_away.insert(key.namespace().to_owned());
            return Submitted::Full;
        }
        state.held.release(&mut item);
        let known = state.tenants.get_key_value(&key).map(|(tenant, _)| tenant.clone());
        let is_new = known.is_none();
        let tenant = known.unwrap_or_else(|| Arc::new(key));
        state.places.add(&item.uid, tenant.clone());
        state.tenants.entry(tenant.clone()).or_default().push_back(item);
        Submitted::Accepted { starts: is_new.then_some(tenant) }
    }

    /// Whether this request's awaited event has come, so that `nextAttemptTime` in its status does not count.
    pub fn is_woken(&self, uid: &str) -> bool {
        self.state().held.is_woken(uid)
    }

    /// Wakes every request that waits for this connection, because it works again or was replaced.
    pub fn wake(&self, connection: &ConnectionKey) {
        let woken = self.state().held.wake(connection);
        self.look_again_at(woken);
    }

    /// Waits until namespaces with refused requests have room again, and returns them.
    pub async fn room_again(&self) -> Vec<String> {
        loop {
            let told = self.room.notified();
            let with_room = self.with_room_again();
            if !with_room.is_empty() {
                return with_room;
            }
            told.await;
        }
    }

    /// The namespaces with refused requests that have room again.
    fn with_room_again(&self) -> Vec<String> {
        let mut state = self.state();
        let State { places, turned_away, .. } = &mut *state;
        // Waits for half of the room: otherwise each ended request would cause a look at its whole namespace.
        let has_room = |namespace: &String| {
            places.len() < MAX_WAITING / 2 && places.of_namespace(namespace) < MAX_OF_NAMESPACE / 2
        };
        let with_room: Vec<String> = turned_away.iter().filter(|namespace| has_room(namespace)).cloned().collect();
        for namespace in &with_room {
            turned_away.remove(namespace);
        }
        with_room
    }

    /// The next item of `key`, without taking it.
    pub fn first(&self, key: &TenantKey, now: Timestamp) -> Option<Item> {
        let state = self.state();
        let waiting = state.tenants.get(key)?;
        waiting.iter().find(|item| is_nearly_over(item, now)).or_else(|| waiting.front()).cloned()
    }

    /// Takes the next items of `key` for one call, which has at most `most_sessions` sessions unless it is a single
    /// item. If there are none, or if no work may start now, it removes the FIFO and returns an empty list.
    pub fn next(&self, key: &TenantKey, most_sessions: usize, now: Timestamp) -> Vec<Item> {
        let mut state = self.state();
        let may_start = !self.shutdown.is_cancelled() && self.leadership.leads();
        let waiting = state.tenants.get_mut(key).filter(|_| may_start);
        let next = waiting.map(|waiting| next_group(waiting, most_sessions, now)).unwrap_or_default();
        if next.is_empty() {
            // The remaining items are submitted again when this process leads again.
            for left in state.tenants.remove(key).unwrap_or_default() {
                state.places.moves(&left.uid, None);
            }
        }
        next
    }

    /// Puts `items` at the front of the FIFO of `key`, for the next call.
    pub fn put_back(&self, key: &Arc<TenantKey>, items: impl DoubleEndedIterator<Item = Item>) {
        let mut state = self.state();
        // The FIFO still exists, as its worker processes these items.
        let waiting = state.tenants.entry(key.clone()).or_default();
        items.rev().for_each(|item| waiting.push_front(item));
    }

    /// Appends `items` to the FIFO of `key`: after a refused shared call, they must not delay requests outside it.
    pub fn put_behind(&self, key: &Arc<TenantKey>, items: impl Iterator<Item = Item>) {
        self.state().tenants.entry(key.clone()).or_default().extend(items);
    }

    /// Requests another look at `objects`.
    pub fn look_again_at(&self, objects: impl IntoIterator<Item = ObjectRef<Cached>>) {
        for object in objects {
            // Fails only at shutdown, when the receiver is gone.
            let _ = self.again.send(object);
        }
    }

    /// Moves an item to the stage `next`. Returns the stage that it leaves, and since when it was there.
    pub fn enters(&self, uid: &str, next: Stage) -> Option<(Stage, Instant)> {
        self.state().places.moves(uid, Some(next))
    }

    /// Whether at most one tenant has work in progress.
    pub fn is_of_one_tenant(&self) -> bool {
        self.state().places.tenants_at_work() <= 1
    }

    /// The stage of each item, and how long it has been there.
    pub fn stages(&self) -> Vec<(Stage, Duration)> {
        self.state().places.stages()
    }

    /// Finishes an attempt at `item` that left `next` to do. Returns the stage that it leaves, and when it entered it.
    pub fn done(&self, item: Item, next: Next) -> Option<(Stage, Instant)> {
        let mut state = self.state();
        let tenant = state.places.tenant(&item.uid);
        let left = state.places.moves(&item.uid, None);
        let object = item.object.clone();
        state.held.hold(item, next, tenant, Timestamp::now());
        drop(state);
        self.room.notify_one();
        if next != Next::Ended {
            self.look_again_at([object]);
        }
        left
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, key: &TenantKey) -> bool {
        let of_tenant = self.tenants.get(key).map_or(0, VecDeque::len);
        let of_namespace = self.places.of_namespace(key.namespace());
        let has_share = of_namespace < MAX_OF_NAMESPACE && of_tenant < MAX_OF_TENANT;
        has_share && (self.places.len() < MAX_WAITING || of_namespace < KEPT_FOR_NAMESPACE)
    }
}

fn is_nearly_over(item: &Item, now: Timestamp) -> bool {
    item.not_after <= now.saturating_add(NEARLY_OVER).unwrap_or(Timestamp::MAX)
}

/// Takes the next items for one call: the most urgent first, the others in FIFO order. Items whose shared call was
/// refused share a call only with items of the same limit.
fn next_group(waiting: &mut VecDeque<Item>, most_sessions: usize, now: Timestamp) -> Vec<Item> {
    // The sort is stable: urgent items keep their order, and so do the others.
    if waiting.iter().any(|item| is_nearly_over(item, now)) {
        waiting.make_contiguous().sort_by_key(|item| !is_nearly_over(item, now));
    }
    let sharing = waiting.front().map(|first| first.sharing).unwrap_or_default();
    let mut sessions = 0;
    let fits = |item: &&Item| {
        sessions += item.sessions;
        sessions <= most_sessions && item.sharing == sharing
    };
    let count = waiting.iter().take_while(fits).count().clamp(1, sharing.requests());
    waiting.drain(..count.min(waiting.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::kill::sharing::Sharing;

    fn item(name: &str, sessions: usize, not_after: Timestamp) -> Item {
        Item {
            object: ObjectRef::new(name),
            uid: name.to_owned(),
            generation: Some(1),
            version: Some("7".to_owned()),
            sessions,
            not_after,
            seen: Instant::now(),
            put_off_since: None,
            is_woken: false,
            sharing: Sharing::default(),
        }
    }

    fn next(waiting: &mut VecDeque<Item>, most_sessions: usize, now: Timestamp) -> String {
        let group = next_group(waiting, most_sessions, now);
        group.iter().map(|item| item.uid.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_waits_goes_together_in_its_order_up_to_a_limit() {
        let now: Timestamp = "2026-10-05T10:00:00Z".parse().unwrap();
        let later = now + SignedDuration::from_hours(1);
        let mut waiting = VecDeque::from([item("a", 300, later), item("b", 200, later), item("c", 1, later)]);
        assert_eq!(next(&mut waiting, 500, now), "a b");
        assert_eq!(next(&mut waiting, 500, now), "c");
        assert_eq!(next(&mut waiting, 500, now), "");
        waiting.extend([item("more-than-a-call-may-name", 501, later), item("d", 1, later)]);
        assert_eq!(next(&mut waiting, 500, now), "more-than-a-call-may-name", "nothing waits for ever");
    }

    #[test]
    fn what_was_refused_together_goes_in_halves_and_with_no_others() {
        let now: Timestamp = "2026-10-05T10:00:00Z".parse().unwrap();
        let halves = |name| Item { sharing: Sharing::after_refusal(5).unwrap(), ..item(name, 1, Timestamp::MAX) };
        let alone = |name| Item { sharing: Sharing::after_refusal(2).unwrap(), ..item(name, 1, Timestamp::MAX) };
        let other = |name| item(name, 1, Timestamp::MAX);
        let refused = ["a", "b", "c", "d", "e"].map(halves);
        let mut waiting = VecDeque::from([other("x"), other("y")]);
        waiting.extend(refused.into_iter().chain([alone("f"), alone("g"), other("z")]));
        let groups: Vec<String> = (0..6).map(|_| next(&mut waiting, 500, now)).collect();
        assert_eq!(groups, ["x y", "a b c", "d e", "f", "g", "z"]);
    }

    #[test]
    fn what_is_nearly_over_goes_first() {
        let now: Timestamp = "2026-10-05T10:00:00Z".parse().unwrap();
        let (soon, later) = (now + SignedDuration::from_secs(20), now + SignedDuration::from_hours(1));
        let mut waiting =
            VecDeque::from([item("a", 1, later), item("b", 1, soon), item("c", 1, later), item("d", 1, soon)]);
        assert_eq!(next(&mut waiting, 500, now), "b d a c");
    }
}
