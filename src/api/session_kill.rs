//! `SessionKill`: the request. One object, one execution.

#![allow(clippy::duplicated_attributes, reason = "the lint reads the arguments of several printer columns as one list")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditions::{Conditions, conditions_schema};

/// The most sessions one request may name.
pub const MAX_SESSIONS: usize = 100;

/// What to end, where, and until when. Immutable but for `suspend` and `ttlSecondsAfterFinished`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "sessionkill.dev",
    version = "v1alpha1",
    kind = "SessionKill",
    namespaced,
    status = "SessionKillStatus",
    derive = "PartialEq",
    shortname = "sk",
    category = "sessionkill-dev",
    doc = "SessionKill asks the operator to end database sessions of one ApsaraDB for OceanBase tenant, once. To try again, make a new object with a new notAfterTime. Wait for any outcome with: kubectl wait sk/NAME --for=jsonpath='{.status.completionTime}'",
    selectable = ".status.completionTime",
    selectable = ".spec.connectionRef.name",
    selectable = ".spec.instanceID",
    selectable = ".spec.tenantID",
    printcolumn(
        name = "Succeeded",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Succeeded\")].status"
    ),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Succeeded\")].reason"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenantID"),
    printcolumn(name = "Killed", type_ = "integer", json_path = ".status.counts.killed"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.counts.total"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Not After", type_ = "string", json_path = ".spec.notAfterTime", priority = 1),
    printcolumn(name = "Request ID", type_ = "string", json_path = ".status.dispatch.requestID", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Succeeded\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.notBeforeTime) || self.notBeforeTime < self.notAfterTime")
        .message("notBeforeTime must be earlier than notAfterTime")
        .field_path(".notBeforeTime"),
    validation = Rule::new("has(self.notBeforeTime) == has(oldSelf.notBeforeTime) && (!has(self.notBeforeTime) || self.notBeforeTime == oldSelf.notBeforeTime)")
        .message("notBeforeTime is immutable: create a new SessionKill instead")
        .field_path(".notBeforeTime"),
    validation = Rule::new("has(self.reason) == has(oldSelf.reason) && (!has(self.reason) || self.reason == oldSelf.reason)")
        .message("reason is immutable: create a new SessionKill instead")
        .field_path(".reason")
)]
pub struct SessionKillSpec {
    /// The OceanBaseConnection to call through. Always in the same namespace.
    #[x_kube(validation = ("self == oldSelf", "connectionRef is immutable: create a new SessionKill instead"))]
    pub connection_ref: ConnectionRef,

    /// The ID of the OceanBase cluster instance, such as ob317v4uif0000.
    #[serde(rename = "instanceID")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"))]
    #[x_kube(validation = ("self == oldSelf", "instanceID is immutable: create a new SessionKill instead"))]
    pub instance_id: String,

    /// The ID of the tenant whose sessions are ended, such as t4louaeei0000.
    #[serde(rename = "tenantID")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"))]
    #[x_kube(validation = ("self == oldSelf", "tenantID is immutable: create a new SessionKill instead"))]
    pub tenant_id: String,

    /// The sessions to end: 1 to 100, each named once by serverIP and sessionID.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["serverIP".into(), "sessionID".into()]),
        validation = ("self == oldSelf", "sessions is immutable: create a new SessionKill instead")
    )]
    pub sessions: Vec<Session>,

    /// Nothing is sent before this time. Unset means at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_time_schema")]
    pub not_before_time: Option<Time>,

    /// Nothing is sent after this time, whatever happens: session IDs are reused, so an old request must be harmless.
    #[schemars(schema_with = "time_schema")]
    #[x_kube(validation = ("self == oldSelf", "notAfterTime is immutable: create a new SessionKill instead"))]
    pub not_after_time: Time,

    /// Why, for people: an incident number or a sentence. Shown in Events and in the audit line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,

    /// True holds the request back until it is false again or notAfterTime passes. No effect once the call is made.
    #[serde(default)]
    pub suspend: bool,

    /// Seconds after completionTime at which the object is deleted, but never before notAfterTime. Unset means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub ttl_seconds_after_finished: Option<i32>,
}

/// Names an `OceanBaseConnection` in the same namespace. There is no namespace field on purpose: a request cannot use
/// the connection, and so the credentials, of another namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRef {
    /// The name of the OceanBaseConnection.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// One session of one server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The IP address of the OBServer that holds the session, in canonical form.
    #[serde(rename = "serverIP")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = ("isIP(self) && ip.isCanonical(self)", "serverIP must be an IP address in canonical form, such as 192.168.13.119 or fd00::1"))]
    pub server_ip: String,

    /// The ID of the session on that server, 1 to 2^53-1.
    #[serde(rename = "sessionID")]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub session_id: i64,
}

/// What happened. Written by the operator only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
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
    validation = Rule::new("!has(oldSelf.completionTime) || !has(oldSelf.conditions) || (has(self.conditions) && oldSelf.conditions.all(o, self.conditions.exists(n, n.type == o.type && n.status == o.status && n.reason == o.reason)))")
        .message("the outcome of a finished request is immutable: its conditions keep their status and reason")
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
}

/// How many sessions stand where; they add up to `total`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Sessions named by the request.
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
#[serde(rename_all = "camelCase")]
pub struct SessionStatus {
    /// As in the spec.
    #[serde(rename = "serverIP")]
    #[schemars(length(max = 45))]
    pub server_ip: String,
    /// As in the spec.
    #[serde(rename = "sessionID")]
    pub session_id: i64,
    /// What became of the session.
    pub outcome: SessionOutcome,
    /// Why, in one word for programs.
    pub reason: SessionReason,
    /// Status of the API's answer, verbatim: the session's state at the kill, not proof of its end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub status: String,
    /// ErrorMessage of the API's answer, verbatim, control characters removed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub error_message: String,
    /// What the API said of the session.
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
    /// Already gone; nothing was sent for it.
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
    /// The API took the kill and reported no error for this session.
    Accepted,
    /// The API reported an error for this session; see errorMessage.
    KillRefused,
    /// The API refused the whole call before executing it.
    RequestRejected,
    /// notAfterTime had passed.
    DeadlineExceeded,
    /// The connection does not allow the instance or the tenant.
    NotAllowed,
    /// The API's answer has no row for this session.
    MissingInAnswer,
    /// The call was sent and its answer was lost or could not be read.
    AnswerLost,
    /// The operator that held the claim went away before it could say what happened.
    HolderLost,
}

/// A session as the API showed it. Strings are cut at a character boundary, control characters removed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
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
    /// The statement, at most 256 characters of it.
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

/// RFC 3339 with an offset: the API server's own `date-time` format also takes forms that clients cannot parse, and one
/// such object would be skipped by every reader.
fn time_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "string",
        "format": "date-time",
        "maxLength": 40,
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
    })
}

fn optional_time_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = time_schema(generator);
    schema.insert("nullable".to_owned(), true.into());
    schema
}
