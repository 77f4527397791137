//! The connections of both kinds in the watch caches. No I/O.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::connections::connection::{Connection, key_of, target_of};
use crate::domain::tenant::ConnectionKey;
use crate::kubernetes::status_patch::Target;
use crate::kubernetes::watch::refusal::Refusal;
use crate::kubernetes::watch::stored_request::{GuardedClusterConnection, GuardedConnection, Unreadable};

/// Why requests cannot name a `ClusterOceanBaseConnection` if the operator does not watch them.
const NOT_USED: &str = "this operator uses no ClusterOceanBaseConnection: name an OceanBaseConnection of this namespace in a new \
                        SessionKill, or have the operator run with --cluster-connections and the rights for it (the value \
                        clusterConnections.enabled of the chart)";

/// The connections in the watch caches. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    namespaced: Store<GuardedConnection>,
    cluster: Option<ClusterConnections>,
}

/// Those of no namespace.
#[derive(Clone)]
pub struct ClusterConnections {
    /// The watch cache.
    pub stored: Store<GuardedClusterConnection>,
    /// Why they cannot be read, if so. The cache then is of an earlier time, and counts for nothing.
    pub refusal: Arc<Refusal>,
    /// The namespace of the Secrets, Services and accounts that they name.
    pub home: Arc<str>,
}

/// A connection that cannot be read.
pub struct UnreadableConnection {
    /// Its metadata, and why.
    pub invalid: Unreadable,
    /// Its key.
    pub key: ConnectionKey,
}

impl UnreadableConnection {
    /// Its UID.
    pub fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    /// The target of its status writes.
    pub fn target(&self) -> Target {
        target_of(self.metadata())
    }

    /// Its metadata.
    pub const fn metadata(&self) -> &ObjectMeta {
        &self.invalid.metadata
    }
}

/// All stored connections.
#[derive(Default)]
pub struct Stored {
    pub readable: Vec<Connection>,
    pub unreadable: Vec<UnreadableConnection>,
}

impl Stored {
    fn add(&mut self, read: Result<Connection, Unreadable>) {
        match read {
            Ok(connection) => self.readable.push(connection),
            Err(invalid) => {
                let key = key_of(&invalid.metadata);
                self.unreadable.push(UnreadableConnection { invalid, key });
            }
        }
    }
}

impl Connections {
    /// Those in these caches. `None`: requests can name no `ClusterOceanBaseConnection`.
    pub const fn new(namespaced: Store<GuardedConnection>, cluster: Option<ClusterConnections>) -> Self {
        Self { namespaced, cluster }
    }

    /// The connection with this key; the error says why there is none.
    pub fn get(&self, key: &ConnectionKey) -> Result<Connection, String> {
        let found = if let Some(namespace) = key.namespace() {
            let found = self.namespaced.get(&ObjectRef::new(key.name()).within(namespace));
            found.map(|guarded| match &guarded.0 {
                Ok(object) => Ok(Connection::Namespaced(object.clone())),
                Err(invalid) => Err(invalid.error.clone()),
            })
        } else {
            let cluster = self.readable_cluster()?;
            let found = cluster.stored.get(&ObjectRef::new(key.name()));
            found.map(|guarded| match &guarded.0 {
                Ok(object) => Ok(cluster.of(object.clone())),
                Err(invalid) => Err(invalid.error.clone()),
            })
        };
        match found {
            Some(Ok(connection)) => Ok(connection),
            Some(Err(error)) => Err(format!("{key} cannot be read ({error}): replace it by a valid one, or delete it")),
            None => Err(match key.namespace() {
                Some(namespace) => format!("{key} does not exist in namespace {namespace}: create it"),
                None => format!("{key} does not exist: create it, or correct connectionRef in a new SessionKill"),
            }),
        }
    }

    /// Whether there is a connection with this key.
    pub fn has(&self, key: &ConnectionKey) -> bool {
        match (key.namespace(), &self.cluster) {
            (Some(namespace), _) => self.namespaced.get(&ObjectRef::new(key.name()).within(namespace)).is_some(),
            (None, cluster) => cluster.as_ref().is_some_and(|it| it.stored.get(&ObjectRef::new(key.name())).is_some()),
        }
    }

    /// All of them.
    pub fn all(&self) -> Stored {
        let mut all = Stored::default();
        for guarded in self.namespaced.state() {
            all.add(guarded.0.clone().map(Connection::Namespaced));
        }
        if let Ok(cluster) = self.readable_cluster() {
            for guarded in cluster.stored.state() {
                all.add(guarded.0.clone().map(|object| cluster.of(object)));
            }
        }
        all
    }

    /// Those that can be read.
    pub fn readable(&self) -> Vec<Connection> {
        self.all().readable
    }

    fn readable_cluster(&self) -> Result<&ClusterConnections, String> {
        let cluster = self.cluster.as_ref().ok_or_else(|| NOT_USED.to_owned())?;
        match cluster.refusal.words() {
            None => Ok(cluster),
            Some(words) => Err(format!("ClusterOceanBaseConnections cannot be read: {words}")),
        }
    }
}

impl ClusterConnections {
    fn of(&self, object: Arc<crate::api::ClusterOceanBaseConnection>) -> Connection {
        Connection::Cluster(object, self.home.clone())
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::runtime::reflector;
    use kube::runtime::watcher::{Error, Event};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::test_objects::{cluster_connection, connection};

    fn filled<K>(objects: &[Value]) -> Store<K>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
    {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for object in objects {
            writer.apply_watcher_event(&Event::InitApply(serde_json::from_value(object.clone()).unwrap()));
        }
        writer.apply_watcher_event(&Event::InitDone);
        store
    }

    fn both() -> (Connections, Arc<Refusal>) {
        let lent = serde_json::to_value(cluster_connection(&json!({"names": ["dba"]}))).unwrap();
        let mut broken = lent.clone();
        (broken["metadata"]["name"], broken["spec"]) = ("broken".into(), json!({}));
        let refusal = Arc::new(Refusal::default());
        let cluster =
            ClusterConnections { stored: filled(&[lent, broken]), refusal: refusal.clone(), home: "system".into() };
        let own = serde_json::to_value(connection()).unwrap();
        (Connections::new(filled(&[own]), Some(cluster)), refusal)
    }

    fn refused(connections: &Connections, key: &ConnectionKey) -> String {
        connections.get(key).map(|found| found.to_string()).unwrap_err()
    }

    #[test]
    fn a_name_leads_to_the_connection_of_the_kind_that_is_named() {
        let (connections, _) = both();
        let own = connections.get(&ConnectionKey::new(Some("dba"), "prod-ob")).unwrap();
        let lent = connections.get(&ConnectionKey::new(None, "prod-ob")).unwrap();
        assert_eq!((own.home(), lent.home()), ("dba", "system"));
        for (missing, words) in [
            (
                ConnectionKey::new(Some("shop"), "prod-ob"),
                "OceanBaseConnection prod-ob does not exist in namespace shop",
            ),
            (ConnectionKey::new(None, "other"), "ClusterOceanBaseConnection other does not exist: create it"),
            (ConnectionKey::new(None, "broken"), "ClusterOceanBaseConnection broken cannot be read ("),
        ] {
            let said = refused(&connections, &missing);
            assert!(said.starts_with(words), "{said}");
        }
        let all = connections.all();
        assert_eq!((all.readable.len(), all.unreadable.len()), (2, 1));
        assert_eq!(all.unreadable[0].key, ConnectionKey::new(None, "broken"));
        assert!(
            connections.has(&ConnectionKey::new(None, "broken")) && !connections.has(&ConnectionKey::new(None, "x"))
        );
    }

    #[test]
    fn what_cannot_be_read_any_more_counts_for_nothing() {
        let (connections, refusal) = both();
        let lent = ConnectionKey::new(None, "prod-ob");
        let forbidden = Status::failure("it is forbidden", "Forbidden").with_code(403).boxed();
        assert!(refusal.is_from(&Error::WatchStartFailed(kube::Error::Api(forbidden))));
        let said = refused(&connections, &lent);
        for words in ["ClusterOceanBaseConnections cannot be read: begin watch: it is forbidden", "list and watch them"]
        {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(connections.readable().len(), 1);
        assert!(connections.get(&ConnectionKey::new(Some("dba"), "prod-ob")).is_ok(), "the others are used");
        assert!(connections.has(&lent), "what is known of it is kept");
        refusal.is_over();
        assert!(connections.get(&lent).is_ok());
    }

    #[test]
    fn an_operator_that_uses_none_says_so() {
        let connections = Connections::new(filled(&[]), None);
        let said = refused(&connections, &ConnectionKey::new(None, "prod-ob"));
        for words in ["uses no ClusterOceanBaseConnection", "--cluster-connections", "clusterConnections.enabled"] {
            assert!(said.contains(words), "{said}");
        }
    }
}
