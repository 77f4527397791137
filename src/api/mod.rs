//! The wire types of the three kinds: schema, bounds, CEL rules, columns. No logic, no I/O.
//!
//! Names follow the [Kubernetes API conventions](https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md);
//! words that belong to Alibaba Cloud or OceanBase keep their meaning (`instanceID`, `tenantID`, `serverIP`, `sessionID`).
//! Everything is bounded, so that the API server refuses what the operator could not handle.

mod conditions;
mod connection;
mod receipt;
mod session_kill;

pub use conditions::{ConditionType, ConnectionReason, Outcome, WaitReason};
pub use connection::{
    Credentials, Network, OceanBaseConnection, OceanBaseConnectionSpec, OceanBaseConnectionStatus, SecretKeys,
    SignatureMethod,
};
pub use receipt::{SessionKillReceipt, SessionKillReceiptSpec, SessionKillReceiptStatus, SessionKillRef};
pub use session_kill::{
    ConnectionRef, Counts, Dispatch, MAX_SESSIONS, ObservedSession, Operation, Session, SessionKill, SessionKillSpec,
    SessionKillStatus, SessionOutcome, SessionReason, SessionStatus,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt as _;

/// The API group of all three kinds.
pub const GROUP: &str = "sessionkill.dev";

/// The label a Secret must carry, with the value `"true"`, before its data may be read and sent anywhere.
/// Without it, whoever may create an `OceanBaseConnection` could make the operator read any Secret of the namespace.
pub const CREDENTIALS_LABEL: &str = "sessionkill.dev/credentials";

/// The custom resource definitions, in the order in which they are installed.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 3] {
    let mut session_kill = SessionKill::crd();
    default_observed_generation(&mut session_kill);
    [session_kill, OceanBaseConnection::crd(), SessionKillReceipt::crd()]
}

/// The same as YAML, one document each: what `crds/` holds.
pub fn manifests() -> Result<Vec<String>, serde_saphyr::ser::Error> {
    definitions().iter().map(serde_saphyr::to_string).collect()
}

/// Gives a fresh object `status.observedGeneration: -1`, so that no tool calls it healthy before the operator saw it:
/// kstatus and Argo CD compare this field with `metadata.generation`. The derive macros have no way to say so.
fn default_observed_generation(crd: &mut CustomResourceDefinition) {
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
        }
    }
}
