//! The status of a `SessionKill`, and a receipt's record of each session. Only the operator writes them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::conditions::{Conditions, conditions_schema};
use super::operation::Operation;

/// What happened. Only the operator writes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.startTime) || (has(self.startTime) && self.startTime == oldSelf.startTime)")
        .message("startTime is write-once")
        .field_path(".startTime"),
    validation = Rule::new("!has(oldSelf.completionTime) || (has(self.completionTime) && self.completionTime == oldSelf.completionTime)")
        .message("completionTime is write-once: the request has ended")
        .field_path(".completionTime"),
    validation = Rule::new("!has(oldSelf.completionTime) || (has(self.sessions) == has(oldSelf.sessions) && (!has(self.sessions) || self.sessions == oldSelf.sessions))")
        .message("the outcome of a finished request is immutable")
        .field_path(".sessions"),
    validation = Rule::new("!has(oldSelf.completionTime) || (has(self.counts) == has(oldSelf.counts) && (!has(self.counts) || self.counts == oldSelf.counts))")
        .message("the outcome of a finished request is immutable")
        .field_path(".counts"),
    validation = Rule::new("!has(oldSelf.completionTime) || (has(self.dispatch) == has(oldSelf.dispatch) && (!has(self.dispatch) || self.dispatch == oldSelf.dispatch))")
        .message("the outcome of a finished request is immutable")
        .field_path(".dispatch"),
    validation = Rule::new("!has(oldSelf.completionTime) || (has(self.conditions) == has(oldSelf.conditions) && (!has(self.conditions) || (self.conditions.size() == oldSelf.conditions.size() && oldSelf.conditions.all(o, self.conditions.exists(n, n.type == o.type && n.status == o.status && n.reason == o.reason && n.message == o.message && n.lastTransitionTime == o.lastTransitionTime)))))")
        .message("the outcome of a finished request is immutable: of its conditions only observedGeneration may change")
        .field_path(".conditions")
)]
pub struct SessionKillStatus {
    /// The metadata.generation that this status describes. It is -1 until the operator has seen the object.
    #[serde(default)]
    pub observed_generation: i64,
    /// When the operator first worked on the request. Write-once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the request ended, with any outcome. Write-once: the outcome never changes after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The earliest time of the next try. Set while the request waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
    /// The call that was made. For a request with a copied outcome: the call of the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch: Option<Dispatch>,
    /// The number of sessions with each outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The outcome of each session of the spec. With a selector: of each that is taken of those that it matches; for a DryRun
    /// the first 100 of them, those first that have been in their present state longest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["serverIP".into(), "sessionID".into()]))]
    pub sessions: Vec<SessionStatus>,
    /// Succeeded is the summary: Unknown while the request is worked on, then True or False. Ready, Reconciling and
    /// Stalled say the same to kstatus and Argo CD. TargetMismatch: the API named another user, database or client for
    /// a killed session than was expected or seen before; absent otherwise. NotAudited: the audit line was lost; absent
    /// otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// The call that was made for a request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Dispatch {
    /// The name of the SessionKillReceipt that holds the claim and the record.
    #[schemars(length(max = 64))]
    pub receipt_name: String,
    /// The attempt that made the call.
    #[serde(rename = "attemptID")]
    #[schemars(length(max = 64))]
    pub attempt_id: String,
    /// The operation that was called.
    pub operation: Operation,
    /// Alibaba Cloud's RequestId in the answer: give it to their support. By SQL, the ID of the operator's own session.
    /// Empty if no answer came.
    #[serde(rename = "requestID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub request_id: String,
    /// When the claim was made.
    pub start_time: Time,
}

/// The number of sessions with each outcome.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All sessions of the request, undecided ones included.
    pub total: i32,
    /// Ended by this request.
    pub killed: i32,
    /// Ended before the call, or after a call without an answer.
    pub gone: i32,
    /// Skipped on purpose: nothing was sent for them.
    pub skipped: i32,
    /// Not ended.
    pub failed: i32,
    /// It is not known whether they ended.
    pub unknown: i32,
    /// All sessions that the selector matched, those beyond sessions included. Unset for a request that names its sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<i32>,
}

/// The outcome of one session.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// As in the spec of the SessionKill.
    #[serde(rename = "serverIP")]
    #[schemars(length(max = 45))]
    pub server_ip: String,
    /// As in the spec of the SessionKill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_port: Option<i32>,
    /// As in the spec of the SessionKill.
    #[serde(rename = "sessionID")]
    pub session_id: i64,
    /// What happened to the session. Pending: not decided yet. Killed: ended by this request. Gone: ended before the
    /// call, or after a call without an answer. Skipped: nothing was sent for it, on purpose. Failed: not ended.
    /// Unknown: it is not known whether it ended.
    pub outcome: SessionOutcome,
    /// The reason for the outcome, in one word for programs.
    pub reason: SessionReason,
    /// The Status in the API's answer, verbatim. It is the session's state at the kill, not proof of its end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub status: String,
    /// The ErrorMessage in the API's answer, verbatim, with invisible characters escaped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub error_message: String,
    /// Details beyond the reason: which field of expect differed and how, or how the session was last seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The session as seen right before the kill, or as shown in the answer to the kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedSession>,
}

/// What happened to a session.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum SessionOutcome {
    /// Not decided yet.
    Pending,
    /// Ended by this request.
    Killed,
    /// Ended before the call, or after a call without an answer.
    Gone,
    /// Nothing was sent for it, on purpose.
    Skipped,
    /// Not ended.
    Failed,
    /// It is not known whether it ended.
    Unknown,
}

impl SessionOutcome {
    /// The name as written in `sessions[].outcome`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a session has its outcome.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum SessionReason {
    /// The request is still waiting.
    Waiting,
    /// DryRun: a Kill would be sent for it.
    DryRun,
    /// Killed, and then absent from the process list.
    Verified,
    /// The ID now belongs to another session: the intended one has ended.
    IdReused,
    /// The statement has ended, and the session lives.
    QueryEnded,
    /// Not in the process list.
    NotFound,
    /// It differs from expect: see message. Nothing was sent for it.
    PreconditionMismatch,
    /// Still in the process list after verification.timeoutSeconds. Nothing is sent again.
    StillPresent,
    /// The API accepted the kill and reported no error for this session.
    Accepted,
    /// The API accepted the call, but the process list could not be read to verify the result.
    NotVerified,
    /// The API reported an error for this session: see errorMessage.
    KillRefused,
    /// The call ended before it came to this session: nothing was sent for it.
    NotSent,
    /// The API refused the whole call before executing it.
    RequestRejected,
    /// notAfterTime had passed.
    DeadlineExceeded,
    /// The request was deleted before it was sent.
    Deleted,
    /// The selector matched more sessions than maxSessions: nothing was sent for any of them.
    TooManyMatched,
    /// The connection does not allow the namespace, the instance or the tenant.
    NotAllowed,
    /// The API's answer has no row for this session.
    MissingInAnswer,
    /// The call was sent, but its answer was lost or could not be read.
    AnswerLost,
    /// The operator that held the claim was gone before it could record what happened.
    HolderLost,
}

impl SessionReason {
    /// The name as written in `sessions[].reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A session as the API showed it. Long strings are cut at a character boundary. Invisible characters are escaped.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct ObservedSession {
    /// The address and port of the session's connection, as its server sees them (HOST). With a proxy they are the
    /// proxy's. By SQL only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub host: String,
    /// The client's IP address.
    #[serde(rename = "clientIP", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub client_ip: String,
    /// The database user.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub user: String,
    /// The database.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub database: String,
    /// The type of command, such as Query or Sleep.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub command: String,
    /// The number of seconds in the present state (ExecuteTime), as the API wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub execute_time: String,
    /// The ID of the statement (SqlId).
    #[serde(rename = "sqlID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub sql_id: String,
    /// The trace ID of the statement. By SQL only.
    #[serde(rename = "traceID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub trace_id: String,
    /// The ID of the open transaction. By SQL only.
    #[serde(rename = "transactionID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub transaction_id: String,
    /// The ID of the proxy's session (ProxySessId).
    #[serde(rename = "proxySessionID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub proxy_session_id: String,
    /// What the connection's sqlText keeps of the statement: its digest, at most 256 characters of it, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub sql_text: String,
    /// The tenant.
    #[serde(rename = "tenantID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub tenant_id: String,
    /// When the session was seen like this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation_time: Option<Time>,
}
