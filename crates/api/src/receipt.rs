//! `SessionKillReceipt`: the claim before a kill and the record after it. Only the operator writes it.

#![allow(clippy::duplicated_attributes, reason = "the lint reads the arguments of several printer columns as one list")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::conditions::Outcome;
use super::connection_kind::ConnectionKind;
use super::operation::Operation;
use super::session_kill::Scope;
use super::status::SessionStatus;

/// The claim: which attempt may make the one call, until when, and for which sessions. Immutable.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    crates(kube = "::kube_derive", kube_core = "::kube_core"),
    attr = "x_kube(crates(kube_core = \"::kube_core\"))",
    group = "sessionkill.dev",
    version = "v1alpha1",
    kind = "SessionKillReceipt",
    namespaced,
    status = "SessionKillReceiptStatus",
    derive = "PartialEq",
    shortname = "skr",
    category = "sessionkill-dev",
    doc = "SessionKillReceipt is the operator's claim on a kill, and then the record of what happened. Its name is a digest of the request's content, so the same request can be executed only once. It outlives the request. The operator deletes it after notAfterTime. Do not edit or delete it: it protects against a second kill.",
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "Request", type_ = "string", json_path = ".spec.sessionKillRef.name"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenantID"),
    printcolumn(name = "Not After", type_ = "string", json_path = ".spec.notAfterTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Request ID", type_ = "string", json_path = ".status.requestID", priority = 1),
    printcolumn(name = "Holder", type_ = "string", json_path = ".spec.holderIdentity", priority = 1),
    validation = Rule::new("self.metadata.name.matches('^sk-[0-9a-f]{40}$')")
        .message("a receipt's name is sk- and 40 hexadecimal digits derived from the request; only the operator makes receipts"),
    validation = Rule::new("!has(oldSelf.status) || has(self.status)")
        .message("a receipt's outcome is write-once")
)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self == oldSelf", "a receipt's spec is immutable"),
    validation = ("self.sessions.size() > 0 || has(self.matched)", "a receipt without sessions is that of a request with a selector: it says how many matched")
)]
pub struct SessionKillReceiptSpec {
    /// The request that made the claim.
    pub session_kill_ref: SessionKillRef,
    /// The ID of the attempt that may make the call. Each attempt has its own ID.
    #[serde(rename = "attemptID")]
    #[schemars(length(min = 1, max = 64))]
    pub attempt_id: String,
    /// The operator process that made the claim.
    #[schemars(length(min = 1, max = 256))]
    pub holder_identity: String,
    /// When the claim was made.
    pub claim_time: Time,
    /// Nothing is sent under this claim after this time.
    pub dispatch_deadline_time: Time,
    /// By this time the holder has written the outcome or is gone. It is dispatchDeadlineTime, plus the time-outs of
    /// the call and of its verification, plus a margin of 20 s. Until then only the holder may go on with the claim.
    pub settle_deadline_time: Time,
    /// As in the request.
    pub not_after_time: Time,
    /// The kind of the connection, as in the request. Unset means OceanBaseConnection.
    #[serde(default, skip_serializing_if = "ConnectionKind::is_namespaced")]
    pub connection_kind: ConnectionKind,
    /// The name of the connection, as in the request.
    #[schemars(length(max = 253))]
    pub connection_name: String,
    /// As in the request.
    #[serde(rename = "instanceID")]
    #[schemars(length(max = 64))]
    pub instance_id: String,
    /// As in the request.
    #[serde(rename = "tenantID")]
    #[schemars(length(max = 64))]
    pub tenant_id: String,
    /// The operation to call first.
    pub operation: Operation,
    /// As in the request.
    #[serde(default, skip_serializing_if = "Scope::is_session")]
    pub scope: Scope,
    /// The sessions of the request at the time of the claim. Pending ones are named in the call, and observed shows
    /// what was seen of them. The others were decided before, and are not named in the call. For a request with a selector:
    /// what it matched.
    #[schemars(length(max = 100))]
    pub sessions: Vec<SessionStatus>,
    /// How many sessions the selector of the request matched at the time of the claim. If none of them is pending, nothing
    /// is sent under this claim. Unset for a request that names its sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<i32>,
}

/// The request that made a claim.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct SessionKillRef {
    /// The name of the SessionKill.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The UID of the SessionKill. An object that is created again under the same name is another request.
    #[schemars(length(max = 64))]
    pub uid: String,
}

/// The record of what happened. Write-once.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "a receipt's outcome is write-once"))]
pub struct SessionKillReceiptStatus {
    /// The outcome of the request: the reason of its Succeeded condition.
    pub outcome: Outcome,
    /// When the outcome was known.
    pub completion_time: Time,
    /// Alibaba Cloud's RequestId in the answer. By SQL, the ID of the operator's own session. Empty if no answer came.
    #[serde(rename = "requestID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub request_id: String,
    /// The operation that was called last.
    #[serde(default)]
    pub operation: Operation,
    /// The outcome of each session.
    #[schemars(length(max = 100))]
    pub sessions: Vec<SessionStatus>,
}
