//! Finds queued requests that have expired. No I/O.

use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use crate::domain::clock::CLOCK_SKEW;
use crate::domain::tenant::TenantKey;
use crate::kubernetes::watch::cached::Cached;
use crate::queue::item::{Item, Submitted};
use crate::queue::lanes::{Queue, State};

impl Queue {
    /// Takes `item` out of its tenant's FIFO, so that it is processed by itself. The error says why it must not be
    /// processed now.
    pub fn take_out(&self, key: TenantKey, item: Item, now: Timestamp) -> Result<(Arc<TenantKey>, Item), Submitted> {
        take_out(&mut self.state(), key, item, now)
    }

    /// The queued requests that have expired at `now`.
    pub fn overdue(&self, now: Timestamp) -> Vec<ObjectRef<Cached>> {
        let state = self.state();
        let overdue = state.tenants.values().flatten().filter(|item| is_over(item, now));
        overdue.map(|item| item.object.clone()).collect()
    }
}

fn is_over(item: &Item, now: Timestamp) -> bool {
    item.not_after.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX) <= now
}

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
        return waiting.map(|waiting| (tenant, waiting)).ok_or(Submitted::Accepted { starts: None });
    }
    if let Some(until) = state.held.until(&item, now) {
        return Err(Submitted::Held(until));
    }
    state.held.release(&mut item);
    let tenant = Arc::new(key);
    state.places.add(&item.uid, tenant.clone());
    Ok((tenant, item))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::domain::kill::sharing::Sharing;
    use crate::domain::test_objects::{request, time};
    use crate::metrics::labels::Stage;
    use crate::queue::item::Next;

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

    /// Requests with these UIDs in the FIFO of their tenant.
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
        assert_eq!(taken(&mut state, "b"), Err(Submitted::Accepted { starts: None }));
    }

    #[test]
    fn what_is_worked_on_ends_where_it_is() {
        let mut state = waiting(&["a"]);
        state.tenants.clear();
        state.places.moves("a", Some(Stage::Calling));
        assert_eq!(taken(&mut state, "a"), Err(Submitted::Accepted { starts: None }));
    }

    #[test]
    fn what_has_ended_is_not_ended_again_and_what_found_no_room_needs_none() {
        let mut state = State::default();
        assert_eq!(taken(&mut state, "turned away"), Ok("turned away".to_owned()));
        state.held.hold(item("ended"), Next::Ended, None, time("10:00:00"));
        assert!(matches!(taken(&mut state, "ended"), Err(Submitted::Held(_))));
    }
}
