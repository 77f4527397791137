//! Requests that must wait until a time, and the events that end the wait. No I/O; the queue owns it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::reflector::ObjectRef;

use crate::domain::kill::backoff::in_time;
use crate::domain::kill::sharing::Sharing;
use crate::domain::tenant::{ConnectionKey, TenantKey};
use crate::kubernetes::watch::cached::Cached;
use crate::queue::item::{Item, Next};

/// How long to ignore a finished request, as its end may not have reached the watch cache.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);
/// Expired holds are removed once there are this many, or twice as many as the last removal left, whichever is more.
const MIN_HELD: usize = 1024;

/// How long a recovered connection is remembered: longer than an attempt takes.
const REMEMBERED: Duration = Duration::from_mins(2);

/// Requests on hold, by UID. Their statuses have the time too, but the watch cache may still show an older one.
#[derive(Debug, Default)]
pub struct Held {
    holds: HashMap<String, Hold>,
    /// The number of holds at which expired ones are removed.
    prune_at: usize,
    /// When the requests waiting for each connection were last woken.
    wakes: HashMap<ConnectionKey, Instant>,
    /// The number of wakes at which old ones are removed.
    prune_wakes_at: usize,
}

#[derive(Debug)]
struct Hold {
    until: Timestamp,
    /// The generation that it holds: an edit, such as resuming a suspended request, ends the wait. `None` holds every
    /// generation.
    generation: Option<i64>,
    /// The only resource version that it holds; `None` holds every version.
    version: Option<String>,
    /// Since when it has been put off; `None` for a finished request.
    since: Option<Timestamp>,
    /// The object to look at again when its connection works, and the tenant that names the connection.
    waits_for: Option<(ObjectRef<Cached>, Arc<TenantKey>)>,
    is_woken: bool,
    /// The most requests that may share its call.
    sharing: Sharing,
}

impl Hold {
    fn applies(&self, item: &Item, now: Timestamp) -> bool {
        now < self.until
            && (self.generation.is_none() || self.generation == item.generation)
            && (self.version.is_none() || self.version == item.version)
    }
}

impl Held {
    /// Until when `item` is on hold; `None` if it may be processed.
    pub fn until(&self, item: &Item, now: Timestamp) -> Option<Timestamp> {
        self.holds.get(&item.uid).filter(|hold| hold.applies(item, now)).map(|hold| hold.until)
    }

    /// Ends the hold of `item` and gives the item what the hold remembers.
    pub fn release(&mut self, item: &mut Item) {
        if let Some(hold) = self.holds.remove(&item.uid) {
            (item.put_off_since, item.is_woken, item.sharing) = (hold.since, hold.is_woken, hold.sharing);
        }
    }

    /// Whether the event that this request waited for has come.
    pub fn is_woken(&self, uid: &str) -> bool {
        self.holds.get(uid).is_some_and(|hold| hold.is_woken)
    }

    /// Holds `item`, which belongs to `tenant`, until `next` is due.
    pub fn hold(&mut self, item: Item, next: Next, tenant: Option<Arc<TenantKey>>, now: Timestamp) {
        let hold = match next {
            // Holds every generation and version of a finished request.
            Next::Ended => Hold {
                until: now.saturating_add(SETTLED).unwrap_or(Timestamp::MAX),
                generation: None,
                version: None,
                since: None,
                waits_for: None,
                is_woken: false,
                sharing: Sharing::default(),
            },
            Next::Later(until) | Next::WithConnection(until) | Next::Unchanged(until) => Hold {
                until: if matches!(next, Next::Unchanged(_)) { until } else { in_time(until, now, item.not_after) },
                generation: item.generation,
                version: item.version.filter(|_| matches!(next, Next::Unchanged(_))),
                since: Some(item.put_off_since.unwrap_or(now)),
                waits_for: tenant
                    .filter(|_| matches!(next, Next::WithConnection(_)))
                    .map(|tenant| (item.object, tenant)),
                is_woken: false,
                sharing: item.sharing,
            },
        };
        let hold = if self.has_come(&hold, item.seen) { woken(hold) } else { hold };
        if self.holds.len() >= self.prune_at.max(MIN_HELD) {
            self.holds.retain(|_, hold| now < hold.until);
            self.prune_at = self.holds.len() * 2;
        }
        self.holds.insert(item.uid, hold);
    }

    /// Whether the connection recovered after the request was `seen`, while the request was being processed.
    fn has_come(&self, hold: &Hold, seen: Instant) -> bool {
        let of = hold.waits_for.as_ref().map(|(_, key)| key.connection_key());
        of.and_then(|of| self.wakes.get(&of)).is_some_and(|woken| *woken > seen)
    }

    /// Ends the wait of every request that waits for this connection, whatever its namespace, and returns those requests.
    pub fn wake(&mut self, connection: &ConnectionKey) -> Vec<ObjectRef<Cached>> {
        if self.wakes.len() >= self.prune_wakes_at.max(MIN_HELD) {
            self.wakes.retain(|_, woken| woken.elapsed() < REMEMBERED);
            self.prune_wakes_at = self.wakes.len() * 2;
        }
        self.wakes.insert(connection.clone(), Instant::now());
        let woken = self.holds.values_mut().filter_map(|hold| {
            let (object, _) = hold.waits_for.take_if(|(_, key)| key.goes_through(connection))?;
            (hold.until, hold.is_woken) = (Timestamp::MIN, true);
            Some(object)
        });
        woken.collect()
    }
}

/// Ends `hold` now.
fn woken(hold: Hold) -> Hold {
    Hold { until: Timestamp::MIN, is_woken: true, waits_for: None, ..hold }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SessionKill;
    use crate::domain::test_objects::{of_cluster, request};

    fn now() -> Timestamp {
        "2026-10-05T10:00:00Z".parse().unwrap()
    }

    fn item(uid: &str, generation: i64, version: &str) -> Item {
        Item {
            object: ObjectRef::new(uid),
            uid: uid.to_owned(),
            generation: Some(generation),
            version: Some(version.to_owned()),
            sessions: 1,
            not_after: Timestamp::MAX,
            seen: Instant::now(),
            put_off_since: None,
            is_woken: false,
            sharing: Sharing::default(),
        }
    }

    /// What an item learns on release: since when it has been put off, and whether it was woken.
    fn released(held: &mut Held, uid: &str) -> (Option<Timestamp>, bool) {
        let mut item = item(uid, 1, "7");
        held.release(&mut item);
        (item.put_off_since, item.is_woken)
    }

    fn seconds(count: i64) -> SignedDuration {
        SignedDuration::from_secs(count)
    }

    #[test]
    fn a_hold_ends_with_its_time_or_with_an_edit() {
        let (mut held, until) = (Held::default(), now() + seconds(5));
        held.hold(item("x", 1, "7"), Next::Later(until), None, now());
        assert_eq!(held.until(&item("x", 1, "8"), now()), Some(until));
        assert_eq!(held.until(&item("x", 1, "7"), until), None);
        assert_eq!(held.until(&item("x", 2, "8"), now()), None, "a resumed request goes on at once");
        held.hold(item("x", 1, "7"), Next::Unchanged(until), None, now());
        assert_eq!(held.until(&item("x", 1, "7"), now()), Some(until));
        assert_eq!(held.until(&item("x", 1, "8"), now()), None, "somebody may have made it smaller");
        held.hold(item("x", 1, "7"), Next::Ended, None, now());
        assert!(held.until(&item("x", 2, "8"), now()).is_some(), "a finished request stays finished");
    }

    #[test]
    fn what_is_put_off_again_and_again_knows_since_when() {
        let mut held = Held::default();
        held.hold(item("x", 1, "7"), Next::Later(now()), None, now());
        let (put_off_since, _) = released(&mut held, "x");
        let later = now() + seconds(9);
        held.hold(Item { put_off_since, ..item("x", 1, "7") }, Next::Later(later), None, later);
        assert_eq!(released(&mut held, "x"), (Some(now()), false));
        assert_eq!(released(&mut held, "x"), (None, false));
    }

    #[test]
    fn what_was_refused_in_a_shared_call_stays_so_while_it_waits() {
        let mut held = Held::default();
        let sharing = Sharing::after_refusal(8).unwrap();
        held.hold(Item { sharing, ..item("x", 1, "7") }, Next::Later(now()), None, now());
        let mut again = item("x", 1, "7");
        held.release(&mut again);
        assert_eq!(again.sharing, sharing);
    }

    #[test]
    fn only_those_that_wait_for_the_connection_are_woken_by_it() {
        let tenant = |connection: &str| {
            let mut object = request();
            connection.clone_into(&mut object.spec.connection_ref.name);
            Some(Arc::new(TenantKey::of(&object)))
        };
        let (mut held, until) = (Held::default(), now() + seconds(30));
        held.hold(item("a", 1, "7"), Next::WithConnection(until), tenant("one"), now());
        held.hold(item("b", 1, "7"), Next::WithConnection(until), tenant("other"), now());
        held.hold(item("c", 1, "7"), Next::Later(until), tenant("one"), now());
        let one = ConnectionKey::new(request().metadata.namespace.as_deref(), "one");
        assert_eq!(held.wake(&one), [ObjectRef::new("a")]);
        assert!(held.until(&item("a", 1, "7"), now()).is_none() && held.is_woken("a"));
        assert!(held.until(&item("b", 1, "7"), now()).is_some() && held.until(&item("c", 1, "7"), now()).is_some());
        assert_eq!(held.wake(&one), [], "once");
        assert_eq!(released(&mut held, "a"), (Some(now()), true));
    }

    #[test]
    fn a_connection_of_no_namespace_wakes_those_of_every_namespace_and_none_of_another_with_its_name() {
        let of = |namespace: &str, mut object: SessionKill| {
            object.metadata.namespace = Some(namespace.to_owned());
            Some(Arc::new(TenantKey::of(&object)))
        };
        let (mut held, until) = (Held::default(), now() + seconds(30));
        held.hold(item("a", 1, "7"), Next::WithConnection(until), of("dba", of_cluster(request())), now());
        held.hold(item("b", 1, "7"), Next::WithConnection(until), of("shop", of_cluster(request())), now());
        held.hold(item("c", 1, "7"), Next::WithConnection(until), of("dba", request()), now());
        let mut woken = held.wake(&ConnectionKey::new(None, "prod-ob"));
        woken.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(woken, [ObjectRef::new("a"), ObjectRef::new("b")]);
        assert_eq!(held.wake(&ConnectionKey::new(Some("dba"), "prod-ob")), [ObjectRef::new("c")]);
    }

    #[test]
    fn what_comes_while_a_request_is_worked_on_wakes_it_too() {
        let tenant = || Some(Arc::new(TenantKey::of(&request())));
        let connection = ConnectionKey::new(request().metadata.namespace.as_deref(), "prod-ob");
        let (mut held, until) = (Held::default(), now() + seconds(30));
        let at_work = item("a", 1, "7");
        assert_eq!(held.wake(&connection), []);
        held.hold(at_work, Next::WithConnection(until), tenant(), now());
        assert!(held.is_woken("a") && held.until(&item("a", 1, "7"), now()).is_none());
        let again = item("a", 1, "7");
        held.hold(again, Next::WithConnection(until), tenant(), now());
        assert_eq!(held.until(&item("a", 1, "7"), now()), Some(until), "that was before it was looked at again");
    }

    #[test]
    fn no_hold_ends_after_the_last_try_or_the_end_of_its_request() {
        let mut held = Held::default();
        let short = Item { not_after: now() + seconds(20), ..item("x", 1, "7") };
        for next in [Next::Later, Next::WithConnection] {
            held.hold(short.clone(), next(now() + seconds(600)), None, now());
            assert_eq!(held.until(&short, now()), Some(now() + seconds(13)));
            held.hold(short.clone(), next(now() + seconds(600)), None, now() + seconds(21));
            assert_eq!(held.until(&short, now()), Some(now() + seconds(25)));
        }
    }

    #[test]
    fn holds_that_have_passed_are_forgotten_as_new_ones_come() {
        let mut held = Held::default();
        for number in 0..100 * MIN_HELD {
            let ended = now() + SignedDuration::from_millis(i64::try_from(number).unwrap() * 10);
            held.hold(item(&number.to_string(), 1, "7"), Next::Ended, None, ended);
        }
        // 100 requests end per second, and each is held for 60 s.
        assert!(held.holds.len() <= 2 * 6_001, "{}", held.holds.len());
    }
}
