//! `SessionKill`: the request. One object, one execution.

#![allow(clippy::duplicated_attributes, reason = "the lint reads the arguments of several printer columns as one list")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::expect::Expect;
use super::status::SessionKillStatus;

/// The most sessions one request may name.
pub const MAX_SESSIONS: usize = 100;

/// Whether `$text` is a time that every client can read.
///
/// The schema's own `date-time` also takes forms that clients cannot, `9999-12-31T23:59:59Z` among them, and one such
/// object would be skipped by every reader. Of a `date-time` CEL sees the parsed value only, so both times are strings.
macro_rules! is_time {
    ($text:literal) => {
        concat!(
            $text,
            ".matches('^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')",
            " && !format.datetime().validate(",
            $text,
            ").hasValue()"
        )
    };
}

const IS_TIME: &str = is_time!("self");

/// A malformed time has its own message: the second clause keeps it from being compared.
const IS_EARLIER: &str = concat!(
    "!has(self.notBeforeTime) || [self.notBeforeTime, self.notAfterTime].exists(time, !(",
    is_time!("time"),
    ")) || timestamp(self.notBeforeTime) < timestamp(self.notAfterTime)"
);

/// A patch removes a field by a null, which is all that a template may have rendered for it.
const SUSPEND_IS_NOT_REMOVED: &str = "!has(oldSelf.suspend) || !oldSelf.suspend || has(self.suspend)";

/// Whether `$id` is made as IDs of instances and tenants are. In one case: to a receipt, the same ID in another would be
/// another ID.
macro_rules! is_id {
    ($id:literal) => {
        concat!($id, ".matches('^[a-z0-9][a-z0-9_-]*$')")
    };
}

const IS_ID: &str = is_id!("self");

/// Each as a request may name it: another entry would allow nothing.
pub(super) const ARE_IDS: &str = concat!("self.all(id, ", is_id!("id"), ")");

/// What names of Kubernetes objects are made of. Rules, not patterns: a refused pattern is answered with a regular expression.
pub(super) const IS_OBJECT_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";

/// What to end, where, and until when. Immutable but for suspend and ttlSecondsAfterFinished.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    crates(kube = "::kube_derive", kube_core = "::kube_core"),
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
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(IS_EARLIER)
        .message("notBeforeTime must be earlier than notAfterTime")
        .field_path(".notBeforeTime"),
    validation = Rule::new("has(self.notBeforeTime) == has(oldSelf.notBeforeTime) && (!has(self.notBeforeTime) || self.notBeforeTime == oldSelf.notBeforeTime)")
        .message("notBeforeTime is immutable: create a new SessionKill instead")
        .field_path(".notBeforeTime"),
    validation = Rule::new("has(self.reason) == has(oldSelf.reason) && (!has(self.reason) || self.reason == oldSelf.reason)")
        .message("reason is immutable: create a new SessionKill instead")
        .field_path(".reason"),
    validation = Rule::new(SUSPEND_IS_NOT_REMOVED)
        .message("suspend must not be removed while it is true: set it to false to go on")
        .field_path(".suspend")
)]
pub struct SessionKillSpec {
    /// The OceanBaseConnection to call through. Always in the same namespace.
    #[x_kube(validation = ("self == oldSelf", "connectionRef is immutable: create a new SessionKill instead"))]
    pub connection_ref: ConnectionRef,

    /// The ID of the OceanBase cluster instance, such as ob317v4uif0000.
    #[serde(rename = "instanceID")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = (IS_ID, "instanceID must be lower-case letters, digits, - and _ only: copy it from the ApsaraDB for OceanBase console"),
        validation = ("self == oldSelf", "instanceID is immutable: create a new SessionKill instead")
    )]
    pub instance_id: String,

    /// The ID of the tenant whose sessions are ended, such as t4louaeei0000.
    #[serde(rename = "tenantID")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = (IS_ID, "tenantID must be lower-case letters, digits, - and _ only: copy it from the ApsaraDB for OceanBase console"),
        validation = ("self == oldSelf", "tenantID is immutable: create a new SessionKill instead")
    )]
    pub tenant_id: String,

    /// Kill ends the sessions. DryRun says for each what a Kill would do, and ends nothing.
    #[serde(default)]
    #[x_kube(validation = ("self == oldSelf", "mode is immutable: create a new SessionKill instead"))]
    pub mode: Mode,

    /// The sessions to end: 1 to 100, each named once by serverIP and sessionID.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["serverIP".into(), "sessionID".into()]),
        validation = ("self == oldSelf", "sessions is immutable: create a new SessionKill instead")
    )]
    pub sessions: Vec<Session>,

    /// Nothing is sent before this time, which has seconds and an offset, as notAfterTime. Unset means at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    #[x_kube(validation = (IS_TIME, "notBeforeTime must be a time before the year 3000 with seconds and an offset, such as 2026-10-05T09:00:00Z or 2026-10-05T17:00:00+08:00"))]
    pub not_before_time: Option<Time>,

    /// Nothing is sent after this time, whatever happens: session IDs are reused, so an old request must be harmless. A
    /// time with seconds and an offset, such as 2026-10-05T09:30:00Z.
    #[schemars(schema_with = "time_schema")]
    #[x_kube(
        validation = (IS_TIME, "notAfterTime must be a time before the year 3000 with seconds and an offset, such as 2026-10-05T09:30:00Z or 2026-10-05T17:30:00+08:00"),
        validation = ("self == oldSelf", "notAfterTime is immutable: create a new SessionKill instead")
    )]
    pub not_after_time: Time,

    /// Why, for people: an incident number or a sentence. Shown in Events and in the audit line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,

    /// How the operator makes sure that the sessions have ended: that the API took the kill does not prove it.
    #[serde(default)]
    #[x_kube(validation = ("self == oldSelf", "verification is immutable: create a new SessionKill instead"))]
    pub verification: Verification,

    /// True holds the request back until it is set to false or notAfterTime passes. Unset means false. No effect once the call
    /// is made.
    // With a default in the schema nobody could tell that it was removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// Seconds after completionTime at which the object is deleted, but never before notAfterTime. Unset means never. Ignored,
    /// which an Event tells, on an object that Argo CD or Flux keeps and would put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub ttl_seconds_after_finished: Option<i32>,
}

/// Whether a request ends sessions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Ends them.
    #[default]
    Kill,
    /// Says what a Kill would do.
    DryRun,
}

/// How the end of the sessions is made sure of.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verification {
    /// What counts as the end of a session. Required: its absence from the process list; while the list cannot be read,
    /// the outcome is unknown. BestEffort: the same, but the word of the API if the list cannot be read. None: the word
    /// of the API.
    #[serde(default)]
    pub policy: VerificationPolicy,
    /// For how many seconds after the call the process list is read until the sessions are gone from it.
    #[serde(default = "default_timeout_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: i32,
}

impl Default for Verification {
    fn default() -> Self {
        Self { policy: VerificationPolicy::default(), timeout_seconds: default_timeout_seconds() }
    }
}

/// Seconds; killed sessions may stay in the list for a while.
const fn default_timeout_seconds() -> i32 {
    60
}

/// What counts as the end of a session.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerificationPolicy {
    /// Its absence from the process list only. While the list cannot be read, the outcome is unknown.
    Required,
    /// Its absence from the process list; the word of the API if the list cannot be read.
    #[default]
    BestEffort,
    /// The word of the API. The list is read only if the word is missing.
    None,
}

/// Names an `OceanBaseConnection` in the same namespace. There is no namespace field on purpose: a request cannot use
/// the connection, and so the credentials, of another namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionRef {
    /// The name of the OceanBaseConnection.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (IS_OBJECT_NAME, "connectionRef.name must be the name of an OceanBaseConnection: lower-case letters, digits, - and ."))]
    pub name: String,
}

/// One session of one server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.expect) == has(oldSelf.expect) && (!has(self.expect) || self.expect == oldSelf.expect)")
        .message("expect is immutable: create a new SessionKill instead")
        .field_path(".expect")
)]
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

    /// What the process list must say of the session right before the kill, or nothing is sent for it. All given fields
    /// must hold. Recommended: IDs are reused, and without expect whatever session has the ID is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 40})
}
