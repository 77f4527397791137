//! Work that waits for its turn: a bounded FIFO per (namespace, connection, instance, tenant), outside the controller
//! runtime, whose own waiting keys have no order. What waits while a call is in flight goes out in the next one. No I/O; whoever
//! works on it takes it out.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::tenant::TenantKey;
use crate::kubernetes::lease::leadership::Leadership;
use crate::kubernetes::watch::cached::Cached;
use crate::metrics::labels::Stage;
use crate::queue::held::Held;
use crate::queue::item::{Item, Next, Submitted};
use crate::queue::stages::Places;

/// The most requests that wait in memory; the others wait in the API server.
const MAX_WAITING: usize = 50_000;
/// The most of these of one namespace, and of one tenant: who makes many requests at once fills no place of others'.
const MAX_OF_NAMESPACE: usize = MAX_WAITING / 4;
const MAX_OF_TENANT: usize = MAX_WAITING / 5;
/// So many a namespace has even when others fill all of them.
const KEPT_FOR_NAMESPACE: usize = 100;
/// Requests that have less time than this go first.
const NEARLY_OVER: SignedDuration = SignedDuration::from_secs(30);
#[derive(Debug, Default)]
pub struct State {
    pub tenants: HashMap<Arc<TenantKey>, VecDeque<Item>>,
    /// What waits or is worked on.
    pub places: Places,
    /// What is not worked on before a time.
    pub held: Held,
    /// The namespaces of which something was turned away for lack of room.
    turned_away: BTreeSet<String>,
}

/// The queue. Cheap to share.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    again: mpsc::UnboundedSender<ObjectRef<Cached>>,
    /// Told when work has ended, as there may be room again.
    room: Notify,
    leadership: Arc<Leadership>,
    pub shutdown: CancellationToken,
}

impl Queue {
    /// An empty queue. `again` gets every object that is to be looked at again; no work is started after `shutdown`, nor while
    /// this process does not lead.
    pub fn new(
        again: mpsc::UnboundedSender<ObjectRef<Cached>>,
        leadership: Arc<Leadership>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { state: Mutex::default(), again, room: Notify::new(), leadership, shutdown }
    }

    /// Adds `item` behind the others of `key`, unless it is there already.
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

    /// Whether what the request of this UID waited for has come, whatever its status says of the next try.
    pub fn is_woken(&self, uid: &str) -> bool {
        self.state().held.is_woken(uid)
    }

    /// The connection of this name works again, or is another: has all looked at again that wait for it.
    pub fn wake(&self, namespace: &str, connection: &str) {
        let woken = self.state().held.wake(namespace, connection);
        self.look_again_at(woken);
    }

    /// Waits until there is room again in namespaces of which something was turned away, and names them.
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

    /// The namespaces of which something was turned away and that have room again.
    fn with_room_again(&self) -> Vec<String> {
        let mut state = self.state();
        let State { places, turned_away, .. } = &mut *state;
        // Half of it: not each request that ends has all others of its namespace looked at.
        let has_room = |namespace: &String| {
            places.len() < MAX_WAITING / 2 && places.of_namespace(namespace) < MAX_OF_NAMESPACE / 2
        };
        let with_room: Vec<String> = turned_away.iter().filter(|namespace| has_room(namespace)).cloned().collect();
        for namespace in &with_room {
            turned_away.remove(namespace);
        }
        with_room
    }

    /// What comes next of `key`.
    pub fn first(&self, key: &TenantKey, now: Timestamp) -> Option<Item> {
        let state = self.state();
        let waiting = state.tenants.get(key)?;
        waiting.iter().find(|item| is_nearly_over(item, now)).or_else(|| waiting.front()).cloned()
    }

    /// The next items of `key`, which go together and name no more than `most_sessions` if they are several; none, and the key
    /// forgotten, when there are none or no work may start now.
    pub fn next(&self, key: &TenantKey, most_sessions: usize, now: Timestamp) -> Vec<Item> {
        let mut state = self.state();
        let may_start = !self.shutdown.is_cancelled() && self.leadership.leads();
        let waiting = state.tenants.get_mut(key).filter(|_| may_start);
        let next = waiting.map(|waiting| next_group(waiting, most_sessions, now)).unwrap_or_default();
        if next.is_empty() {
            // What was left waiting is submitted anew when this process leads again.
            for left in state.tenants.remove(key).unwrap_or_default() {
                state.places.moves(&left.uid, None);
            }
        }
        next
    }

    /// Puts `items` of `key` before the others, for the next call.
    pub fn put_back(&self, key: &Arc<TenantKey>, items: impl DoubleEndedIterator<Item = Item>) {
        let mut state = self.state();
        // It is there for as long as its items are worked on.
        let waiting = state.tenants.entry(key.clone()).or_default();
        items.rev().for_each(|item| waiting.push_front(item));
    }

    /// Puts `items` of `key` behind the others: those whose shared call was refused hold up nobody who had no part in it.
    pub fn put_behind(&self, key: &Arc<TenantKey>, items: impl Iterator<Item = Item>) {
        self.state().tenants.entry(key.clone()).or_default().extend(items);
    }

    /// Has `objects` looked at again.
    pub fn look_again_at(&self, objects: impl IntoIterator<Item = ObjectRef<Cached>>) {
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

/// Takes out of `waiting` what goes together: in the order in which it came, but for items whose time is nearly over, which
/// come first. Those whose shared call was refused go with no others, and with no more of themselves than they may.
fn next_group(waiting: &mut VecDeque<Item>, most_sessions: usize, now: Timestamp) -> Vec<Item> {
    // Stable: among those that are in a hurry, and among the others, the order stays.
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
