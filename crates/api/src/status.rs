//! The status of a `SessionKill`, and what a receipt records of each session. Written by the operator only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditions::{Conditions, conditions_schema};

/// What happened. Written by the operator only.
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
    /// The metadata.generation this status speaks of; -1 until the operator has seen the object.
    #[serde(default)]
    pub observed_generation: i64,
    /// When the operator first worked on the request. Write-once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the request ended, on every outcome. Write-once; the outcome never changes afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The earliest time of the next try, while the request waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
    /// The call that was made, or the recorded one that was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch: Option<Dispatch>,
    /// How many sessions stand where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The outcome of each session of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["serverIP".into(), "sessionID".into()]))]
    pub sessions: Vec<SessionStatus>,
    /// Succeeded is the summary; Ready, Reconciling and Stalled serve kstatus and Argo CD.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}

/// The call that was made for a request.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Dispatch {
    /// The SessionKillReceipt that holds the claim and the record.
    #[schemars(length(max = 64))]
    pub receipt_name: String,
    /// The attempt that made the call.
    #[serde(rename = "attemptID")]
    #[schemars(length(max = 64))]
    pub attempt_id: String,
    /// The operation that was called.
    pub operation: Operation,
    /// Alibaba Cloud's RequestId of the answer, for support cases. Empty when no answer came.
    #[serde(rename = "requestID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub request_id: String,
    /// When the claim was made.
    pub start_time: Time,
}

/// The operation of the OceanBasePro API (version 2019-09-01) that ends sessions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// Synchronous, with an answer for each session.
    #[default]
    KillProcessList,
    /// Asynchronous, without a word on any session: the process list tells what became of them.
    BatchKillProcessList,
}

impl Operation {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::KillProcessList, Self::BatchKillProcessList];

    /// The name of the action.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillProcessList => "KillProcessList",
            Self::BatchKillProcessList => "BatchKillProcessList",
        }
    }
}

/// How many sessions stand where.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Sessions named by the request, those that are not decided yet among them.
    pub total: i32,
    /// Ended by this request.
    pub killed: i32,
    /// Already gone.
    pub gone: i32,
    /// Not sent, on purpose.
    pub skipped: i32,
    /// Not ended.
    pub failed: i32,
    /// Whether they ended cannot be told.
    pub unknown: i32,
}

/// The outcome of one session.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// As in the spec.
    #[serde(rename = "serverIP")]
    #[schemars(length(max = 45))]
    pub server_ip: String,
    /// As in the spec.
    #[serde(rename = "sessionID")]
    pub session_id: i64,
    /// What became of the session. Pending: not decided. Killed: ended by this request. Gone: ended before, or after a
    /// call of which no answer came. Skipped: nothing was sent for it, on purpose. Failed: not ended. Unknown: cannot be
    /// told.
    pub outcome: SessionOutcome,
    /// Why, in one word for programs.
    pub reason: SessionReason,
    /// Status of the API's answer, verbatim: the session's state at the kill, not proof of its end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub status: String,
    /// ErrorMessage of the API's answer, verbatim, with what cannot be seen escaped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub error_message: String,
    /// What there is to say beyond the reason: which field of expect differed and how, or how the session was seen last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The session as it was seen right before the kill, or as the answer to the kill showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedSession>,
}

/// What became of a session.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOutcome {
    /// Not decided.
    Pending,
    /// Ended by this request.
    Killed,
    /// Already gone, or gone after a call of which no answer came.
    Gone,
    /// Nothing was sent for it, on purpose.
    Skipped,
    /// Not ended.
    Failed,
    /// Cannot be told.
    Unknown,
}

/// Why a session has its outcome.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionReason {
    /// Waiting for the request's turn.
    Waiting,
    /// DryRun: a Kill would be sent for it.
    DryRun,
    /// Killed, and then seen to be gone from the process list.
    Verified,
    /// The ID now belongs to another session: the one that was meant has ended.
    IdReused,
    /// Not in the process list.
    NotFound,
    /// It is not what expect says; see message. Nothing was sent for it.
    PreconditionMismatch,
    /// Still in the process list after verification.timeoutSeconds. Nothing is sent again.
    StillPresent,
    /// The API took the kill and reported no error for this session.
    Accepted,
    /// The API took the call, and the process list could not be read to see what came of it.
    NotVerified,
    /// The API reported an error for this session; see errorMessage.
    KillRefused,
    /// The API refused the whole call before executing it.
    RequestRejected,
    /// notAfterTime had passed.
    DeadlineExceeded,
    /// The request was deleted before it was sent.
    Deleted,
    /// The connection does not allow the instance or the tenant.
    NotAllowed,
    /// The API's answer has no row for this session.
    MissingInAnswer,
    /// The call was sent and its answer was lost or could not be read.
    AnswerLost,
    /// The operator that held the claim went away before it could say what happened.
    HolderLost,
}

/// A session as the API showed it. Strings are cut at a character boundary, and what cannot be seen is escaped.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct ObservedSession {
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
    /// Seconds in the present state, as the API wrote them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub execute_time: String,
    /// The ID of the statement.
    #[serde(rename = "sqlID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub sql_id: String,
    /// The ID of the proxy's session.
    #[serde(rename = "proxySessionID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub proxy_session_id: String,
    /// The statement, as the connection's sqlText says: at most 256 characters of it, its digest, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub sql_text: String,
    /// The tenant.
    #[serde(rename = "tenantID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub tenant_id: String,
    /// When it was seen so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation_time: Option<Time>,
}
