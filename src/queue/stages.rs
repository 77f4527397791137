//! The stage of each request on its way through the operator. No I/O; the queue owns it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::tenant::TenantKey;
use crate::metrics::labels::Stage;

/// The requests that wait or are being processed, by UID.
#[derive(Debug, Default)]
pub struct Places {
    by_uid: HashMap<String, Place>,
    /// How many requests of each tenant are being processed; tenants with none are left out.
    at_work: HashMap<Arc<TenantKey>, usize>,
    /// How many requests each namespace has; namespaces with none are left out.
    of_namespace: HashMap<String, usize>,
}

#[derive(Debug)]
struct Place {
    tenant: Arc<TenantKey>,
    stage: Stage,
    since: Instant,
}

impl Places {
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// How many requests `namespace` has.
    pub fn of_namespace(&self, namespace: &str) -> usize {
        self.of_namespace.get(namespace).copied().unwrap_or_default()
    }

    /// The tenant of this request.
    pub fn tenant(&self, uid: &str) -> Option<Arc<TenantKey>> {
        self.by_uid.get(uid).map(|place| place.tenant.clone())
    }

    pub fn has(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    /// How many tenants have a request being processed.
    pub fn tenants_at_work(&self) -> usize {
        self.at_work.len()
    }

    /// The stage of each request, and how long it has been there.
    pub fn stages(&self) -> Vec<(Stage, Duration)> {
        self.by_uid.values().map(|place| (place.stage, place.since.elapsed())).collect()
    }

    /// Adds a request that begins to wait.
    pub fn add(&mut self, uid: &str, tenant: Arc<TenantKey>) {
        *self.of_namespace.entry(tenant.namespace().to_owned()).or_default() += 1;
        self.by_uid.insert(uid.to_owned(), Place { tenant, stage: Stage::Queued, since: Instant::now() });
    }

    /// Moves a request to `next`, or removes it for `None`. Returns the stage that it leaves, and when it entered it.
    pub fn moves(&mut self, uid: &str, next: Option<Stage>) -> Option<(Stage, Instant)> {
        let place = self.by_uid.get_mut(uid)?;
        let (tenant, left) = (place.tenant.clone(), (place.stage, place.since));
        if let Some(stage) = next {
            (place.stage, place.since) = (stage, Instant::now());
        } else {
            self.by_uid.remove(uid);
            one_less(&mut self.of_namespace, tenant.namespace().to_owned());
        }
        match (is_at_work(left.0), next.is_some_and(is_at_work)) {
            (false, true) => *self.at_work.entry(tenant).or_default() += 1,
            (true, false) => one_less(&mut self.at_work, tenant),
            _ => {}
        }
        Some(left)
    }
}

/// Decreases the count of `key` and removes it at 0.
fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

fn is_at_work(stage: Stage) -> bool {
    stage != Stage::Queued
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_at_work_until_its_last_item_leaves_and_not_while_all_of_them_wait() {
        let mut places = Places::default();
        let tenant = |name: &str| Arc::new(TenantKey::unreadable(name));
        for (uid, name) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
            places.add(uid, tenant(name));
        }
        let at_work = |places: &Places| {
            ["a", "b"].into_iter().filter(|name| places.at_work.contains_key(&tenant(name))).collect::<String>()
        };
        let moves = [
            ("a1", Some(Stage::Preparing), "a"),
            ("a2", Some(Stage::Preparing), "a"),
            ("b1", Some(Stage::Preparing), "ab"),
            ("a1", Some(Stage::Calling), "ab"),
            ("a1", None, "ab"),
            ("a2", Some(Stage::Queued), "b"),
            ("a2", Some(Stage::Preparing), "ab"),
            ("b1", None, "a"),
            ("a2", Some(Stage::Queued), ""),
            ("a2", None, ""),
        ];
        for (uid, next, expected) in moves {
            assert!(places.moves(uid, next).is_some());
            assert_eq!(at_work(&places), expected, "after {uid} {next:?}");
        }
        assert!(places.len() == 0 && places.of_namespace.is_empty() && places.moves("a1", None).is_none());
    }
}
