//! The Lease with which the replicas of an arena elect a leader.

use anyhow::Context;
use k8s_openapi::api::{
    coordination::v1::{Lease, LeaseSpec},
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, api::PostParams};
use serde_json::json;

use super::namespace::Arena;
use crate::base::{NAMESPACE, SERVICE_ACCOUNT};

/// The name of the Lease, as `deploy/base` grants the right to it.
pub const LEASE: &str = "sessionkill-operator";

/// The Role that grants it.
const ROLE: &str = "sessionkill-operator-leases";

impl Arena {
    /// Lets the replicas hold a Lease in this namespace, with exactly the rights that `deploy/base` grants. Call it
    /// once.
    pub async fn allow_election(&self) -> anyhow::Result<()> {
        let params = PostParams::default();
        let installed: Api<Role> = Api::namespaced(self.client.clone(), NAMESPACE);
        let rules = installed.get(ROLE).await.context("deploy/base has no Role for its Lease")?.rules;
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": SERVICE_ACCOUNT},
            "rules": rules,
        });
        self.api_of::<Role>().create(&params, &serde_json::from_value(role)?).await.context("no Role")?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": SERVICE_ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": SERVICE_ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE}],
        });
        let bindings: Api<RoleBinding> = self.api_of();
        bindings.create(&params, &serde_json::from_value(binding)?).await.map(drop).context("no RoleBinding")
    }

    /// The spec of the Lease. `None` before a replica has held it.
    pub async fn lease(&self) -> anyhow::Result<Option<LeaseSpec>> {
        Ok(self.api_of::<Lease>().get_opt(LEASE).await?.and_then(|lease| lease.spec))
    }
}
