//! What a change of a connection leads to: requests that wait for it are woken, and what is known of one that is gone is
//! forgotten. No I/O of its own; it follows the watches.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use kube::Resource;
use kube::runtime::watcher::{self, Event};
use tokio::sync::Notify;

use crate::connections::call_permits::CallPermits;
use crate::connections::connection::key_of;
use crate::connections::states::ConnectionStates;
use crate::domain::tenant::ConnectionKey;
use crate::queue::lanes::Queue;

/// Who is told of changes. Cheap to clone.
#[derive(Clone)]
pub struct Followers {
    /// What is known about connections.
    pub states: Arc<ConnectionStates>,
    /// How fast they answer.
    pub permits: Arc<CallPermits>,
    /// The requests.
    pub queue: Arc<Queue>,
    /// Notified of each event.
    pub changed: Arc<Notify>,
}

impl Followers {
    /// Follows the watch of one kind to its end. Each event is in the cache already; the objects of a list are there when the
    /// list is complete.
    pub async fn follow<K>(self, events: impl Stream<Item = watcher::Result<Event<K>>>)
    where
        K: Resource<DynamicType = ()>,
    {
        let mut known = Known::default();
        events
            .for_each(|event| {
                // The watch itself logs its failures.
                if let Ok(event) = event {
                    self.heard(&mut known, &event);
                }
                self.changed.notify_one();
                ready(())
            })
            .await;
    }

    fn heard<K: Resource<DynamicType = ()>>(&self, known: &mut Known, event: &Event<K>) {
        if let Event::Delete(gone) = event {
            self.states.forget(gone.meta().uid.as_deref().unwrap_or_default());
            self.permits.forget_connection(&key_of(gone.meta()));
        }
        if matches!(event, Event::InitDone) {
            self.permits.forget_connections_gone();
        }
        for changed in known.changed(event) {
            self.queue.wake(&changed);
        }
    }
}

/// The generation of each connection, by UID: requests that wait for a connection are woken when a user changes it, not
/// at each status that the operator writes.
#[derive(Default)]
struct Known {
    generations: HashMap<String, Option<i64>>,
    /// Those of a list that is not complete yet: the cache does not have them.
    listed: Vec<ConnectionKey>,
    is_listing: bool,
}

impl Known {
    /// The connections that are in the cache, and are new or were changed by a user.
    fn changed<K: Resource<DynamicType = ()>>(&mut self, event: &Event<K>) -> Vec<ConnectionKey> {
        match event {
            Event::Apply(it) | Event::InitApply(it) => {
                let (meta, generation) = (it.meta(), it.meta().generation);
                let before = self.generations.insert(meta.uid.clone().unwrap_or_default(), generation);
                if before != Some(generation) {
                    self.listed.push(key_of(meta));
                }
            }
            // A complete list follows.
            Event::Init => {
                self.generations.clear();
                self.is_listing = true;
            }
            Event::InitDone => self.is_listing = false,
            Event::Delete(gone) => {
                self.generations.remove(gone.meta().uid.as_deref().unwrap_or_default());
            }
        }
        if self.is_listing { vec![] } else { std::mem::take(&mut self.listed) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{ClusterOceanBaseConnection, OceanBaseConnection};
    use crate::domain::test_objects::{cluster_connection, connection};

    fn of(uid: &str, generation: i64) -> OceanBaseConnection {
        let mut connection = connection();
        connection.metadata.name = Some(format!("named-{uid}"));
        (connection.metadata.uid, connection.metadata.generation) = (Some(uid.to_owned()), Some(generation));
        connection
    }

    #[test]
    fn what_a_list_has_wakes_once_the_cache_has_it_and_what_a_watch_has_at_once() {
        let mut known = Known::default();
        let key = |uid: &str| ConnectionKey::new(Some("dba"), &format!("named-{uid}"));
        let nothing: [ConnectionKey; 0] = [];
        assert_eq!(known.changed(&Event::<OceanBaseConnection>::Init), nothing);
        assert_eq!(known.changed(&Event::InitApply(of("a", 1))), nothing);
        assert_eq!(known.changed(&Event::InitApply(of("b", 1))), nothing);
        assert_eq!(known.changed(&Event::<OceanBaseConnection>::InitDone), [key("a"), key("b")]);
        assert_eq!(known.changed(&Event::Apply(of("a", 1))), nothing, "a status");
        assert_eq!(known.changed(&Event::Apply(of("a", 2))), [key("a")], "an edit");
        assert_eq!(known.changed(&Event::Delete(of("a", 2))), nothing);
        assert_eq!(known.changed(&Event::Apply(of("a", 2))), [key("a")], "it is there again");
    }

    #[test]
    fn a_connection_of_no_namespace_is_known_as_such() {
        let lent: ClusterOceanBaseConnection = cluster_connection(&json!({}));
        assert_eq!(Known::default().changed(&Event::Apply(lent)), [ConnectionKey::new(None, "prod-ob")]);
    }
}
