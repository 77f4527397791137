//! The status of a connection, of either kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

use super::conditions::{Conditions, conditions_schema};
use super::operation::{BackendName, Operation};

/// Whether calls through the connection work. Only the operator writes it, when it changes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct OceanBaseConnectionStatus {
    /// The metadata.generation that this status describes. It is -1 until the operator has checked the connection.
    #[serde(default)]
    pub observed_generation: i64,
    /// What ends the sessions: the backend that is set in the spec.
    // Not as an `Option` in the schema, which would take the description of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "BackendName")]
    pub backend: Option<BackendName>,
    /// The operation in use. With killOperation Auto it is the one that the gateway offers. By SQL it is Kill.
    // Not as an `Option` in the schema, which would take the description of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Operation")]
    pub operation: Option<Operation>,
    /// When the operator last probed whether the operation is offered and the credentials are accepted. Such a probe
    /// ends no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    /// Ready: the last call or probe was answered. CredentialsValid: the credentials were accepted. ServerSideFence: the
    /// other side itself refuses calls that come after the dispatch deadline. Stalled: somebody must change something,
    /// such as the credentials, before the connection works again; absent otherwise. ClockSkew: the clocks of the
    /// gateway and the operator differ by more than 5 s; absent otherwise. Encrypted: the connection to the database is
    /// encrypted; only by SQL. NamespacesAllowed: requests of some namespace may use it; only of a
    /// ClusterOceanBaseConnection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}
