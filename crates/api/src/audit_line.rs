//! The audit line: which sessions were ended, for which request, by which call, and with which outcome. One JSON object
//! per line on standard output.
//!
//! Its form is a promise (docs/audit.md): within a version, fields may be added. None is renamed, removed or given
//! another meaning.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use super::{BackendName, ConnectionKind, Operation, Outcome, Scope, SessionOutcome, SessionReason};

/// The version of the form.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Version {
    /// The current version.
    #[serde(rename = "sessionkill.dev/audit/v1")]
    V1,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Subject {
    /// A kill.
    #[serde(rename = "sessionkill.dev/kill")]
    Kill,
    /// A status that the API server does not store. The line before has the kill. Only these lines and the receipt have
    /// its outcome.
    #[serde(rename = "sessionkill.dev/status-not-stored")]
    StatusNotStored,
}

/// One kill that was sent, or may have been sent, and its outcome.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "sessionkill audit line")]
pub struct AuditLine {
    /// The version of this form.
    pub schema: Version,
    /// What the line is about.
    pub audit: Subject,
    /// When the line was written. That is when nothing more could be learned about the kill.
    #[schemars(with = "Time")]
    pub time: Timestamp,
    /// The namespace of the request.
    pub namespace: String,
    /// The name of the SessionKill.
    pub name: String,
    /// The UID of the SessionKill. Another object of the same name has another UID.
    pub uid: String,
    /// spec.reason of the request. Absent if the request has none, or was deleted before its outcome was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
    /// The name of the connection.
    pub connection: String,
    /// The kind of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_kind: Option<ConnectionKind>,
    /// The ID of the instance.
    #[serde(rename = "instanceID")]
    pub instance_id: String,
    /// The ID of the tenant.
    #[serde(rename = "tenantID")]
    pub tenant_id: String,
    /// The backend of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
    /// What was to end: the sessions, or the statements that they run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The operation that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The name of the SessionKillReceipt that holds the claim and the record.
    pub receipt: String,
    /// The ID of the attempt that made the call.
    #[serde(rename = "attemptID")]
    pub attempt_id: String,
    /// The operator process that made the call.
    pub holder_identity: String,
    /// Alibaba Cloud's RequestId, for ActionTrail and support cases. Empty if no answer came.
    #[serde(rename = "requestID")]
    pub request_id: String,
    /// By SQL: the ID of the operator's own session, which the server's log and its SQL audit name.
    #[serde(rename = "serverConnectionID", skip_serializing_if = "Option::is_none")]
    pub server_connection_id: Option<String>,
    /// The ID of the request's trace. Absent if tracing is off.
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The reason of the condition Succeeded.
    pub outcome: Outcome,
    /// The sessions of the request.
    pub sessions: Vec<AuditedSession>,
}

/// One session of a kill.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditedSession {
    /// The IP address of its OBServer.
    #[serde(rename = "serverIP")]
    pub server_ip: String,
    /// Its ID on that OBServer.
    #[serde(rename = "sessionID")]
    pub session_id: i64,
    /// What happened to it.
    pub outcome: SessionOutcome,
    /// The reason for the outcome.
    pub reason: SessionReason,
    /// The ErrorMessage in the API's answer.
    #[schemars(length(max = 1024))]
    pub error_message: String,
    /// Details beyond the reason, such as that another session may have ended than the one that was seen before.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The database user, as seen right before the kill or in the answer. Empty if not seen.
    #[schemars(length(max = 128))]
    pub user: String,
    /// The database, as seen right before the kill or in the answer. Empty if not seen.
    #[schemars(length(max = 128))]
    pub database: String,
    /// The client's IP address, as seen right before the kill or in the answer. Empty if not seen.
    #[serde(rename = "clientIP")]
    #[schemars(length(max = 64))]
    pub client_ip: String,
}

/// The JSON Schema of [`AuditLine`].
#[must_use]
pub fn schema() -> Schema {
    schema_for!(AuditLine)
}
