//! Ends requests for which nothing is sent any more, as their time has passed or they are being deleted. Beside the queue:
//! nothing that a kill of their tenant waits for keeps their end from being told. Does I/O by the steps of the kill path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::ObjectRef;
use tokio_util::sync::CancellationToken;

use super::cached::Cached;
use super::chores::Limits;
use super::context::Context;
use super::group::end_unsent;
use super::queue::{Item, Next, Queue, State, Submitted};
use super::tenant::TenantKey;
use crate::domain::clock::CLOCK_SKEW;

/// An end takes two calls of the API server.
pub(super) const LIMITS: Limits = Limits { at_once: 64, at_once_of_one: 16, waiting: 50_000, waiting_of_one: 12_500 };

/// What one end is known by: the UID of its request, and when it was submitted.
pub(super) type Key = (String, Instant);

/// Between two looks at what waits in the queue.
const LOOK: Duration = Duration::from_millis(500);
/// How long an end for which there is no room is put off.
const PUT_OFF: SignedDuration = SignedDuration::from_secs(2);

/// Has the request of `item`, of the tenant of `key`, ended, unless it is worked on.
pub fn end(context: &Arc<Context>, key: TenantKey, item: Item, now: Timestamp) -> Submitted {
    let (key, item) = match take_out(&mut context.queue.state(), key, item, now) {
        Ok(taken) => taken,
        Err(submitted) => return submitted,
    };
    let (task_context, namespace, again) = (context.clone(), key.namespace().to_owned(), item.clone());
    let of = (item.uid.clone(), item.seen);
    if !context.unsent.add(&namespace, of, move || async move { end_unsent(&task_context, &key, item).await }) {
        let _ = context.queue.done(again, Next::Later(later(now, PUT_OFF)));
    }
    Submitted::Accepted
}

/// Takes `item` out of the line of its tenant, if it waits there, and gives it a place of its own.
fn take_out(
    state: &mut State,
    key: TenantKey,
    mut item: Item,
    now: Timestamp,
) -> Result<(Arc<TenantKey>, Item), Submitted> {
    if let Some(tenant) = state.places.tenant(&item.uid) {
        let line = state.tenants.get_mut(&tenant);
        let waiting = line.and_then(|line| {
            let place = line.iter().position(|waiting| waiting.uid == item.uid)?;
            line.remove(place)
        });
        return waiting.map(|waiting| (tenant, waiting)).ok_or(Submitted::Accepted);
    }
    if let Some(until) = state.held.until(&item, now) {
        return Err(Submitted::Held(until));
    }
    state.held.release(&mut item);
    let tenant = Arc::new(key);
    state.places.add(&item.uid, tenant.clone());
    Ok((tenant, item))
}

impl Queue {
    /// What waits for its turn although its time is over at `now`.
    fn overdue(&self, now: Timestamp) -> Vec<ObjectRef<Cached>> {
        let state = self.state();
        let overdue = state.tenants.values().flatten().filter(|item| later(item.not_after, CLOCK_SKEW) <= now);
        overdue.map(|item| item.object.clone()).collect()
    }
}

/// Has those looked at again and again whose time passes while they wait for their turn, until `shutdown`. What waits for a
/// time is looked at by itself.
pub async fn look_at_overdue(context: Arc<Context>, shutdown: CancellationToken) {
    while tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_err() {
        let overdue = context.queue.overdue(context.clock.now().earliest());
        context.queue.look_again_at(overdue);
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sharing::Sharing;
    use crate::domain::test_objects::{request, time};
    use crate::metrics::labels::Stage;

    fn item(uid: &str) -> Item {
        Item {
            object: ObjectRef::new(uid),
            uid: uid.to_owned(),
            generation: Some(1),
            version: None,
            sessions: 1,
            not_after: time("10:00:00"),
            seen: Instant::now(),
            put_off_since: None,
            is_woken: false,
            sharing: Sharing::default(),
        }
    }

    fn taken(state: &mut State, uid: &str) -> Result<String, Submitted> {
        take_out(state, TenantKey::of(&request()), item(uid), time("10:00:05")).map(|(_, item)| item.uid)
    }

    /// The requests of these UIDs wait in the line of their tenant.
    fn waiting(uids: &[&str]) -> State {
        let (mut state, tenant) = (State::default(), Arc::new(TenantKey::of(&request())));
        for uid in uids {
            state.places.add(uid, tenant.clone());
        }
        state.tenants.insert(tenant, uids.iter().map(|uid| item(uid)).collect());
        state
    }

    #[test]
    fn what_waits_in_the_queue_leaves_its_line_and_keeps_its_place() {
        let mut state = waiting(&["a", "b", "c"]);
        assert_eq!(taken(&mut state, "b"), Ok("b".to_owned()));
        let line: Vec<_> = state.tenants.values().flatten().map(|item| item.uid.as_str()).collect();
        assert_eq!(line, ["a", "c"]);
        assert!(state.places.has("b"), "it is not taken up twice");
        assert_eq!(taken(&mut state, "b"), Err(Submitted::Accepted));
    }

    #[test]
    fn what_is_worked_on_ends_where_it_is() {
        let mut state = waiting(&["a"]);
        state.tenants.clear();
        state.places.moves("a", Some(Stage::Calling));
        assert_eq!(taken(&mut state, "a"), Err(Submitted::Accepted));
    }

    #[test]
    fn what_has_ended_is_not_ended_again_and_what_found_no_room_needs_none() {
        let mut state = State::default();
        assert_eq!(taken(&mut state, "turned away"), Ok("turned away".to_owned()));
        state.held.hold(item("ended"), Next::Ended, None, time("10:00:00"));
        assert!(matches!(taken(&mut state, "ended"), Err(Submitted::Held(_))));
    }
}
