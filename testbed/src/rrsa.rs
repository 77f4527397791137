//! What a cluster has where a `ServiceAccount` is a RAM role (RRSA): the account, the operator's right to make tokens of
//! it, and the credentials of a connection that name both.

use serde_json::{Value, json};
use sessionkill::api::CREDENTIALS_LABEL;

use crate::{
    base::{NAMESPACE, SERVICE_ACCOUNT},
    gateway::sts::roles::RoleArn,
};

/// The `sub` of the tokens of this `ServiceAccount`.
#[must_use]
pub fn subject(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The `ServiceAccount`. The operator uses it only if it is labelled.
#[must_use]
pub fn account(namespace: &str, name: &str, is_labelled: bool) -> Value {
    let labels = if is_labelled { json!({CREDENTIALS_LABEL: "true"}) } else { json!({}) };
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "automountServiceAccountToken": false,
    })
}

/// The name of the role of [`token_right`].
#[must_use]
pub fn token_role(name: &str) -> String {
    format!("{SERVICE_ACCOUNT}-token-{name}")
}

/// Lets the operator make tokens of this `ServiceAccount` alone, as `rbac.serviceAccountTokens` of the chart does: a role
/// and its binding.
#[must_use]
pub fn token_right(namespace: &str, name: &str) -> [Value; 2] {
    let role_name = token_role(name);
    let metadata = json!({"name": role_name, "namespace": namespace});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
        "rules": [
            {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [name], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [name], "verbs": ["create"]},
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role_name},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE}],
    });
    [role, binding]
}

/// The `credentials` of a connection: this `ServiceAccount` is this role.
#[must_use]
pub fn credentials(name: &str, role: &RoleArn, provider: &str) -> Value {
    json!({"serviceAccountRef": {"name": name, "roleARN": role.to_string(), "oidcProviderARN": provider}})
}
