//! What a source of access keys names, and the role that is assumed with its key.

use std::borrow::Cow;

use kube_derive::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::session_kill::IS_OBJECT_NAME;

/// Names a Secret in the same namespace. It has no namespace field and no names of keys, on purpose: somebody who may
/// write connections but not read Secrets could have the secret sent as the ID.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (IS_OBJECT_NAME, "secretRef.name must be the name of a Secret: lower-case letters, digits, - and ."))]
    pub name: String,
}

/// Whether a string is the ARN of a RAM role.
const IS_ROLE: &str = "self.matches('^acs:ram::[0-9]{1,20}:role/[A-Za-z0-9._-]{1,128}$')";

/// What a role's ARN looks like.
const ROLE: &str = "roleARN must be the ARN of a RAM role, such as acs:ram::123456789012:role/sessionkill: copy it from the \
                    RAM console";

/// Names a `ServiceAccount` in the same namespace, and the role that it has at Alibaba Cloud. It has no namespace field
/// and no audience, on purpose: the operator could make tokens for others.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccountRef {
    /// The name of the ServiceAccount.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (IS_OBJECT_NAME, "serviceAccountRef.name must be the name of a ServiceAccount: lower-case letters, digits, - and ."))]
    pub name: String,

    /// The ARN of the RAM role, such as acs:ram::123456789012:role/sessionkill. Its trust policy must name the OIDC
    /// provider, the audience sts.aliyuncs.com and the subject system:serviceaccount:NAMESPACE:NAME.
    #[serde(rename = "roleARN")]
    #[schemars(length(max = 192))]
    #[x_kube(validation = (IS_ROLE, ROLE))]
    pub role_arn: String,

    /// The ARN of the OIDC provider that RAM has for this cluster, such as
    /// acs:ram::123456789012:oidc-provider/ack-rrsa-CLUSTER.
    #[serde(rename = "oidcProviderARN")]
    #[schemars(length(max = 192))]
    #[x_kube(validation = ("self.matches('^acs:ram::[0-9]{1,20}:oidc-provider/[A-Za-z0-9._-]{1,128}$')", "oidcProviderARN must be the ARN of an OIDC provider, such as acs:ram::123456789012:oidc-provider/ack-rrsa-CLUSTER: copy it from the RAM console"))]
    pub oidc_provider_arn: String,
}

/// The role that the operator's own `ServiceAccount` has at Alibaba Cloud.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorIdentity {
    /// The ARN of the RAM role, such as acs:ram::123456789012:role/sessionkill.
    #[serde(rename = "roleARN")]
    #[schemars(length(max = 192))]
    #[x_kube(validation = (IS_ROLE, ROLE))]
    pub role_arn: String,
}

/// An object without fields. Whoever runs the operator chooses the node.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceRole {}

impl JsonSchema for InstanceRole {
    fn schema_name() -> Cow<'static, str> {
        "InstanceRole".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "maxProperties": 0})
    }
}

/// A role that is assumed with another access key.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssumeRole {
    /// The ARN of the RAM role, such as acs:ram::123456789012:role/sessionkill. Its trust policy must name the identity
    /// that assumes it, which needs the right sts:AssumeRole.
    #[serde(rename = "roleARN")]
    #[schemars(length(max = 192))]
    #[x_kube(validation = (IS_ROLE, ROLE))]
    pub role_arn: String,

    /// The external ID that the trust policy of the role asks for. With operatorIdentity and instanceRole it must not be
    /// set: there the operator sets it to its cluster and the namespace.
    #[serde(rename = "externalID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9_+=,.@:/-]+$')", "externalID must be letters, digits and _+=,.@:/- only, as in the trust policy of the role"))]
    pub external_id: Option<String>,

    /// For how many seconds an access key of the role is asked for, 900 to 43200. STS refuses more than the role's
    /// MaxSessionDuration.
    #[serde(default = "default_duration_seconds")]
    #[schemars(range(min = 900, max = 43_200))]
    pub duration_seconds: i32,
}

/// In seconds. It is the least that a role's `MaxSessionDuration` can be, and what the official clients ask for.
const fn default_duration_seconds() -> i32 {
    3600
}

/// What an access key of a role is limited to.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionPolicy {
    /// The operations that are called, on any instance.
    Actions,
    /// These, on the instances that requests may name.
    Instances,
    /// All that the role may do.
    None,
}
