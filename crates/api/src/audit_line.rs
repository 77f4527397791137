//! The audit line: what was ended, for whom, by whose word, and what came of it. One JSON object per line on standard output.
//!
//! Its form is a promise (docs/audit.md): within a version, fields are added and never renamed, removed or given
//! another meaning.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use super::{Operation, Outcome, SessionOutcome, SessionReason};

/// The version of the form.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Version {
    /// The present one.
    #[serde(rename = "sessionkill.dev/audit/v1")]
    V1,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Subject {
    /// A kill.
    #[serde(rename = "sessionkill.dev/kill")]
    Kill,
    /// The status of a request whose kill is told by the line before: the API server stores it in no form, so that only this
    /// line and the receipt tell its outcome.
    #[serde(rename = "sessionkill.dev/status-not-stored")]
    StatusNotStored,
}

/// One kill that was sent, or may have been, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "sessionkill audit line")]
pub struct AuditLine {
    /// The version of this form.
    pub schema: Version,
    /// What the line is about.
    pub audit: Subject,
    /// When the line was written: when nothing more could be learned of the kill.
    #[schemars(with = "Time")]
    pub time: Timestamp,
    /// The namespace of the request.
    pub namespace: String,
    /// The SessionKill.
    pub name: String,
    /// Its UID: another object of the same name has another one.
    pub uid: String,
    /// spec.reason of the request. Absent if it gave none, or was deleted before its outcome was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,
    /// The OceanBaseConnection.
    pub connection: String,
    /// The instance.
    #[serde(rename = "instanceID")]
    pub instance_id: String,
    /// The tenant.
    #[serde(rename = "tenantID")]
    pub tenant_id: String,
    /// The operation that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The SessionKillReceipt that holds the claim and the record.
    pub receipt: String,
    /// The attempt that made the call.
    #[serde(rename = "attemptID")]
    pub attempt_id: String,
    /// The operator that made the call.
    pub holder_identity: String,
    /// Alibaba Cloud's RequestId, for ActionTrail and support cases. Empty if no answer came.
    #[serde(rename = "requestID")]
    pub request_id: String,
    /// The trace of the request. Absent if tracing is off.
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The reason of the condition Succeeded.
    pub outcome: Outcome,
    /// Each session of the request.
    pub sessions: Vec<AuditedSession>,
}

/// One session of a kill.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditedSession {
    /// Its server.
    #[serde(rename = "serverIP")]
    pub server_ip: String,
    /// Its ID there.
    #[serde(rename = "sessionID")]
    pub session_id: i64,
    /// What became of it.
    pub outcome: SessionOutcome,
    /// Why.
    pub reason: SessionReason,
    /// ErrorMessage of the API's answer.
    #[schemars(length(max = 1024))]
    pub error_message: String,
    /// What there is to say beyond the reason: it may be another session that ended than the one that was seen before.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The database user, as seen right before the kill or in the answer. Empty if it was not seen.
    #[schemars(length(max = 128))]
    pub user: String,
    /// The database, likewise.
    #[schemars(length(max = 128))]
    pub database: String,
    /// The client's address, likewise.
    #[serde(rename = "clientIP")]
    #[schemars(length(max = 64))]
    pub client_ip: String,
}

/// The JSON Schema of [`AuditLine`].
#[must_use]
pub fn schema() -> Schema {
    schema_for!(AuditLine)
}
