//! The keys that group requests: by tenant, for queues, permits and the order of ends, and by connection. Pure.

use std::fmt;

use sessionkill_api::{ConnectionKind, ConnectionRef, SessionKill, SessionKillReceipt};

use crate::backend::Tenant;

/// Requests with the same key are processed one at a time. Those of different namespaces never have the same, even through
/// one `ClusterOceanBaseConnection`, so that no namespace waits behind the requests of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantKey {
    namespace: String,
    connection: ConnectionRef,
    instance: String,
    tenant: String,
}

/// Identifies a connection of either kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// `None` for a `ClusterOceanBaseConnection`.
    namespace: Option<String>,
    name: String,
}

impl ConnectionKey {
    /// The key of the connection of this namespace, or of none, with this name.
    #[must_use]
    pub fn new(namespace: Option<&str>, name: &str) -> Self {
        Self { namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    /// The key of the connection that a request of `namespace` names by `reference`.
    #[must_use]
    pub fn of(namespace: &str, reference: &ConnectionRef) -> Self {
        Self::new(Some(namespace).filter(|_| reference.kind.is_namespaced()), &reference.name)
    }

    /// The kind of the connection.
    #[must_use]
    pub const fn kind(&self) -> ConnectionKind {
        match self.namespace {
            Some(_) => ConnectionKind::OceanBaseConnection,
            None => ConnectionKind::ClusterOceanBaseConnection,
        }
    }

    /// The namespace of the connection; `None` for a `ClusterOceanBaseConnection`.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The name of the connection.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ConnectionKey {
    /// Kind and name, as people write them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind().as_str(), self.name)
    }
}

impl TenantKey {
    /// The key of a request.
    #[must_use]
    pub fn of(object: &SessionKill) -> Self {
        Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            connection: object.spec.connection_ref.clone(),
            instance: object.spec.instance_id.clone(),
            tenant: object.spec.tenant_id.clone(),
        }
    }

    /// The key of the request that made `receipt`.
    #[must_use]
    pub fn of_receipt(receipt: &SessionKillReceipt) -> Self {
        let spec = &receipt.spec;
        Self {
            namespace: receipt.metadata.namespace.clone().unwrap_or_default(),
            connection: ConnectionRef { kind: spec.connection_kind, name: spec.connection_name.clone() },
            instance: spec.instance_id.clone(),
            tenant: spec.tenant_id.clone(),
        }
    }

    /// The key of a namespace's unreadable objects, which have no known tenant.
    #[must_use]
    pub fn unreadable(namespace: &str) -> Self {
        let (connection, instance, tenant) = <(ConnectionRef, String, String)>::default();
        Self { namespace: namespace.to_owned(), connection, instance, tenant }
    }

    /// The key of the connection itself, without a tenant. A `ClusterOceanBaseConnection` counts as one of `home`, where its
    /// credentials are.
    #[must_use]
    pub fn of_connection(home: &str, connection: &ConnectionKey) -> Self {
        let connection = ConnectionRef { kind: connection.kind(), name: connection.name.clone() };
        Self { connection, ..Self::unreadable(home) }
    }

    /// The namespace of the requests.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The connection that their calls go through, as they name it.
    #[must_use]
    pub const fn connection(&self) -> &ConnectionRef {
        &self.connection
    }

    /// The key of that connection.
    #[must_use]
    pub fn connection_key(&self) -> ConnectionKey {
        ConnectionKey::of(&self.namespace, &self.connection)
    }

    /// Whether their calls go through the connection of this key.
    #[must_use]
    pub fn goes_through(&self, connection: &ConnectionKey) -> bool {
        let same_namespace = connection.namespace().is_none_or(|namespace| namespace == self.namespace);
        self.connection.kind == connection.kind() && self.connection.name == connection.name && same_namespace
    }

    /// The tenant at the other side.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        Tenant { instance_id: self.instance.clone(), tenant_id: self.tenant.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::claim::receipt;
    use crate::test_objects::{attempt, of_cluster, request};

    #[test]
    fn a_request_and_its_receipt_have_one_key() {
        for object in [request(), of_cluster(request())] {
            let key = TenantKey::of(&object);
            assert_eq!((key.namespace(), key.connection()), ("dba", &object.spec.connection_ref));
            let mut receipt = receipt(&object, &attempt());
            receipt.metadata.namespace = request().metadata.namespace;
            assert_eq!(TenantKey::of_receipt(&receipt), key);
            assert_eq!(key.tenant(), Tenant { instance_id: "ob1".to_owned(), tenant_id: "t1".to_owned() });
        }
    }

    #[test]
    fn what_has_no_tenant_shares_no_key_with_what_has_one() {
        let of =
            |namespace: Option<&str>, name: &str| TenantKey::of_connection("dba", &ConnectionKey::new(namespace, name));
        let keys = [
            TenantKey::of(&request()),
            TenantKey::of(&of_cluster(request())),
            of(Some("dba"), "prod-ob"),
            of(Some("dba"), "other"),
            of(None, "prod-ob"),
            TenantKey::unreadable("dba"),
            TenantKey::unreadable("other"),
        ];
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().filter(|other| *other == key).count(), 1, "{number}");
        }
    }

    #[test]
    fn a_connection_of_a_namespace_is_another_one_than_that_of_none_with_its_name() {
        let in_namespace = |namespace: &str, mut object: SessionKill| {
            object.metadata.namespace = Some(namespace.to_owned());
            TenantKey::of(&object)
        };
        let [own, lent] = [request, || of_cluster(request())].map(|object| in_namespace("dba", object()));
        let [others, lent_to_others] = [request, || of_cluster(request())].map(|object| in_namespace("shop", object()));
        let (connection, cluster) = (ConnectionKey::new(Some("dba"), "prod-ob"), ConnectionKey::new(None, "prod-ob"));
        assert_eq!((own.connection_key(), lent.connection_key()), (connection.clone(), cluster.clone()));
        assert_eq!(lent_to_others.connection_key(), cluster);
        let through = |key: &TenantKey| [&connection, &cluster].map(|connection| key.goes_through(connection));
        assert_eq!(
            [&own, &lent, &others, &lent_to_others].map(through),
            [[true, false], [false, true], [false, false], [false, true]]
        );
        assert!(lent != lent_to_others, "each namespace has its own turn");
    }
}
