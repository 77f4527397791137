//! The wire types of the four kinds: schema, bounds, CEL rules, columns. No logic, no I/O.
//!
//! Names follow the [Kubernetes API conventions]. Terms of Alibaba Cloud and OceanBase keep their meaning
//! (`instanceID`, `tenantID`, `serverIP`, `sessionID`). Everything has a bound, so that the API server refuses what the
//! operator could not handle.
//!
//! [Kubernetes API conventions]:
//! https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md

mod alibaba_cloud;
mod allowed_namespaces;
pub mod audit_line;
mod cluster_connection;
mod conditions;
mod connection;
mod connection_kind;
mod connection_status;
mod credential_source;
mod credentials;
mod description;
mod expect;
mod operation;
mod receipt;
mod selector;
mod session;
mod session_kill;
mod sql;
mod status;
mod strict;
mod times;
mod verification;

pub use alibaba_cloud::{AlibabaCloud, KillOperation, Network, SignatureMethod};
pub use allowed_namespaces::{AllowedNamespaces, LabelOperator, LabelRequirement, NamespaceSelector};
pub use cluster_connection::{ClusterOceanBaseConnection, ClusterOceanBaseConnectionSpec};
pub use conditions::{ConditionType, ConnectionReason, Notice, Outcome, WaitReason};
#[cfg(feature = "scripted")]
pub use connection::Scripted;
pub use connection::{BackendSpec, OceanBaseConnection, OceanBaseConnectionSpec, SqlTextPolicy};
pub use connection_kind::ConnectionKind;
pub use connection_status::OceanBaseConnectionStatus;
pub use credential_source::{AssumeRole, OperatorIdentity, SecretRef, ServiceAccountRef, SessionPolicy};
pub use credentials::{CredentialSource, Credentials, IdentitySpec};
pub use expect::{Expect, SessionState, TransactionState};
pub use operation::{BackendName, Operation};
pub use receipt::{SessionKillReceipt, SessionKillReceiptSpec, SessionKillReceiptStatus, SessionKillRef};
pub use selector::{SessionCriteria, SessionSelector, Take};
pub use session::Session;
pub use session_kill::{ConnectionRef, MAX_SESSIONS, Mode, Scope, SessionKill, SessionKillSpec};
pub use sql::{CaRef, SYS_TENANT, Sql, SqlCredentials, SqlService, SqlTls, SqlTlsMode};
pub use status::{Counts, Dispatch, ObservedSession, SessionKillStatus, SessionOutcome, SessionReason, SessionStatus};
pub use verification::{Verification, VerificationPolicy};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube_core::CustomResourceExt as _;

/// The API group of all kinds.
pub const GROUP: &str = "sessionkill.dev";

/// The label, with the value `"true"`, of a Secret whose data the operator may read and send, and of a `ServiceAccount`
/// whose token it may make and send. Without this check, anyone who may create an `OceanBaseConnection` could make the
/// operator use any of the namespace.
pub const CREDENTIALS_LABEL: &str = "sessionkill.dev/credentials";

/// How many kinds users write. They come first in [`definitions`].
const WRITTEN_BY_USERS: usize = 3;

/// The custom resource definitions, in the order in which they are installed.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 4] {
    let mut definitions =
        [SessionKill::crd(), OceanBaseConnection::crd(), ClusterOceanBaseConnection::crd(), SessionKillReceipt::crd()];
    for status in definitions.iter_mut().filter_map(status_schema) {
        // Refuse a null status: it would replace a write-once status, and no rule would be checked.
        status.nullable = None;
    }
    // Give a new object an observedGeneration. kstatus and Argo CD compare it with metadata.generation, so they call no
    // object healthy before the operator has seen it. Receipts have none, as no tool waits for them.
    for status in definitions.iter_mut().take(WRITTEN_BY_USERS).filter_map(status_schema) {
        status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
    }
    // Receipts need no strict fields, as only the operator writes them.
    for object in definitions.iter_mut().take(WRITTEN_BY_USERS).filter_map(object_schema) {
        strict::keep_unknown_fields(object);
        if let Some(spec) = object.properties.as_mut().and_then(|parts| parts.get_mut("spec")) {
            strict::drop_nothing(spec);
        }
    }
    definitions.iter_mut().filter_map(object_schema).for_each(description::join_lines);
    // Otherwise it would speak of the namespace that its objects do not have.
    let cluster = definitions.iter_mut().filter(|definition| definition.spec.scope == "Cluster");
    cluster.filter_map(object_schema).for_each(description::name_the_operators_namespace);
    definitions
}

/// The same as YAML, one document each: the content of `crds/`.
pub fn manifests() -> Result<Vec<String>, serde_saphyr::ser::Error> {
    definitions().iter().map(serde_saphyr::to_string).collect()
}

/// The schema of the whole status. The derive macros set neither its default nor its nullability.
fn status_schema(definition: &mut CustomResourceDefinition) -> Option<&mut JSONSchemaProps> {
    object_schema(definition)?.properties.as_mut()?.get_mut("status")
}

/// The schema of the whole object.
fn object_schema(definition: &mut CustomResourceDefinition) -> Option<&mut JSONSchemaProps> {
    definition.spec.versions.first_mut()?.schema.as_mut()?.open_api_v3_schema.as_mut()
}
