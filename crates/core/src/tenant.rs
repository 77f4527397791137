//! The key that groups requests by tenant, for queues, permits and the order of ends. Pure.

use kube_core::ResourceExt as _;
use sessionkill_api::{OceanBaseConnection, SessionKill, SessionKillReceipt};

use crate::backend::Tenant;

/// Requests with the same key are processed one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantKey {
    namespace: String,
    connection: String,
    instance: String,
    tenant: String,
}

impl TenantKey {
    /// The key of a request.
    #[must_use]
    pub fn of(object: &SessionKill) -> Self {
        Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            connection: object.spec.connection_ref.name.clone(),
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
            connection: spec.connection_name.clone(),
            instance: spec.instance_id.clone(),
            tenant: spec.tenant_id.clone(),
        }
    }

    /// The key of a namespace's unreadable objects, which have no known tenant.
    #[must_use]
    pub fn unreadable(namespace: &str) -> Self {
        let (connection, instance, tenant) = <(String, String, String)>::default();
        Self { namespace: namespace.to_owned(), connection, instance, tenant }
    }

    /// The key of a connection itself, without a tenant.
    #[must_use]
    pub fn of_connection(namespace: &str, name: &str) -> Self {
        Self { connection: name.to_owned(), ..Self::unreadable(namespace) }
    }

    /// The key of calls through `connection` for `tenant`.
    #[must_use]
    pub fn through(connection: &OceanBaseConnection, tenant: &Tenant) -> Self {
        Self {
            namespace: connection.namespace().unwrap_or_default(),
            connection: connection.name_any(),
            instance: tenant.instance_id.clone(),
            tenant: tenant.tenant_id.clone(),
        }
    }

    /// The namespace of the requests.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name of the connection that their calls go through.
    #[must_use]
    pub fn connection(&self) -> &str {
        &self.connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::claim::receipt;
    use crate::test_objects::{attempt, connection, request};

    #[test]
    fn a_request_its_receipt_and_its_calls_have_one_key() {
        let key = TenantKey::of(&request());
        assert_eq!((key.namespace(), key.connection()), ("dba", "prod-ob"));
        let mut receipt = receipt(&request(), &attempt());
        receipt.metadata.namespace = request().metadata.namespace;
        assert_eq!(TenantKey::of_receipt(&receipt), key);
        let tenant = Tenant { instance_id: "ob1".to_owned(), tenant_id: "t1".to_owned() };
        assert_eq!(TenantKey::through(&connection(), &tenant), key);
    }

    #[test]
    fn what_has_no_tenant_shares_no_key_with_what_has_one() {
        let keys = [
            TenantKey::of(&request()),
            TenantKey::of_connection("dba", "prod-ob"),
            TenantKey::of_connection("dba", "other"),
            TenantKey::unreadable("dba"),
            TenantKey::unreadable("other"),
        ];
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(keys.iter().filter(|other| *other == key).count(), 1, "{number}");
        }
    }
}
