//! A connection of either kind, as it is stored. No I/O.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{
    AllowedNamespaces, ClusterOceanBaseConnection, OceanBaseConnection, OceanBaseConnectionSpec,
    OceanBaseConnectionStatus,
};
use crate::domain::kill::admission::must_see;
use crate::domain::kill::precheck::MustSee;
use crate::domain::tenant::ConnectionKey;
use crate::kubernetes::status_patch::Target;
use crate::kubernetes::watch::metadata::Size;

/// A connection. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Connection {
    /// One of the namespace of its requests.
    Namespaced(Arc<OceanBaseConnection>),
    /// One of no namespace, and the namespace of what it names.
    Cluster(Arc<ClusterOceanBaseConnection>, Arc<str>),
}

impl Connection {
    /// Where it leads, as whom, and what requests may name.
    pub fn spec(&self) -> &OceanBaseConnectionSpec {
        match self {
            Self::Namespaced(object) => &object.spec,
            Self::Cluster(object, _) => &object.spec.connection,
        }
    }

    /// What was last written about it.
    pub fn status(&self) -> Option<&OceanBaseConnectionStatus> {
        match self {
            Self::Namespaced(object) => object.status.as_ref(),
            Self::Cluster(object, _) => object.status.as_ref(),
        }
    }

    /// The namespaces that may use it; `None` if only its own may.
    pub fn allowed_namespaces(&self) -> Option<&AllowedNamespaces> {
        match self {
            Self::Namespaced(_) => None,
            Self::Cluster(object, _) => Some(&object.spec.allowed_namespaces),
        }
    }

    /// The namespace of the Secrets, Services and accounts that it names: never that of a request by another namespace.
    pub fn home(&self) -> &str {
        match self {
            Self::Namespaced(object) => object.metadata.namespace.as_deref().unwrap_or_default(),
            Self::Cluster(_, home) => home,
        }
    }

    /// Its key.
    pub fn key(&self) -> ConnectionKey {
        key_of(self.metadata())
    }

    /// Its UID.
    pub fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    /// The generation of its spec.
    pub fn generation(&self) -> Option<i64> {
        self.metadata().generation
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Its own namespace; `None` if it has none.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata().namespace.as_deref()
    }

    /// Which sessions must be in the process list before a kill through it.
    pub fn must_see(&self) -> MustSee {
        must_see(self.spec(), self.key().kind())
    }

    /// The target of its status writes.
    pub fn target(&self) -> Target {
        target_of(self.metadata())
    }

    fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespaced(object) => &object.metadata,
            Self::Cluster(object, _) => &object.metadata,
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key().fmt(f)
    }
}

/// The key of the connection with this metadata.
pub fn key_of(metadata: &ObjectMeta) -> ConnectionKey {
    ConnectionKey::new(metadata.namespace.as_deref(), metadata.name.as_deref().unwrap_or_default())
}

/// The target of status writes to the connection with this metadata.
pub fn target_of(metadata: &ObjectMeta) -> Target {
    Target {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        size: Size::Usual,
        generation: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ConnectionKind;
    use crate::domain::test_objects::{cluster_connection, connection};

    #[test]
    fn what_a_connection_names_is_in_its_own_namespace_or_in_the_operators() {
        let own = Connection::Namespaced(Arc::new(connection()));
        let lent = Connection::Cluster(Arc::new(cluster_connection(&json!({"names": ["dba"]}))), "system".into());
        assert_eq!((own.home(), lent.home()), ("dba", "system"));
        assert_eq!((own.namespace(), lent.namespace()), (Some("dba"), None));
        assert_eq!((own.name(), lent.name()), ("prod-ob", "prod-ob"));
        assert_ne!(own.key(), lent.key());
        assert_eq!(own.to_string(), "OceanBaseConnection prod-ob");
        assert_eq!(lent.to_string(), "ClusterOceanBaseConnection prod-ob");
        assert_eq!(own.spec(), lent.spec());
        assert!(own.allowed_namespaces().is_none() && lent.allowed_namespaces().is_some());
        assert_eq!((own.must_see(), lent.must_see()), (MustSee::Expected, MustSee::All));
        assert_eq!(lent.key().kind(), ConnectionKind::ClusterOceanBaseConnection);
        assert_eq!((own.target().namespace.as_str(), lent.target().namespace.as_str()), ("dba", ""));
    }
}
