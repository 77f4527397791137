//! `SessionKill`: the request. One object, one execution.

#![allow(clippy::duplicated_attributes, reason = "the lint reads the arguments of several printer columns as one list")]

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::connection_kind::ConnectionKind;
use super::selector::SessionSelector;
use super::session::Session;
use super::status::SessionKillStatus;
use super::times::{IS_EARLIER, IS_TIME, time_schema};
use super::verification::Verification;

/// The most sessions in one request.
pub const MAX_SESSIONS: usize = 100;

/// A patch with a null removes the field, and a template that renders nothing for it writes a null. The request must
/// not go on because of that.
const SUSPEND_IS_NOT_REMOVED: &str = "!has(oldSelf.suspend) || !oldSelf.suspend || has(self.suspend)";

/// Absent and Session are the same. Written with `has`, as the API server takes the result of `?scope` for a string of
/// any length, and refuses the definition for the cost of its comparison.
const SAME_SCOPE: &str =
    "(has(self.scope) && self.scope == 'Query') == (has(oldSelf.scope) && oldSelf.scope == 'Query')";

/// The same name and the same kind, which is `OceanBaseConnection` if it is absent. Written with `has`, as for the scope.
const SAME_CONNECTION: &str = "self == oldSelf || (dyn(self).all(field, field in ['kind', 'name']) && self.name == oldSelf.name && \
     (has(self.kind) && self.kind == 'ClusterOceanBaseConnection') == (has(oldSelf.kind) && oldSelf.kind == 'ClusterOceanBaseConnection'))";

/// Sessions by their IDs, or by what they are.
const ONE_WAY: &str = "has(self.sessions) != has(self.selector)";

/// A Kill ends a bounded number of sessions.
const IS_BOUNDED: &str =
    "!has(self.selector) || (has(self.mode) && self.mode == 'DryRun') || has(self.selector.maxSessions)";

/// "No filter" never means "all": states and transaction alone name nobody.
const NAMES_SOMEBODY: &str = "!has(self.selector) || (has(self.mode) && self.mode == 'DryRun') || has(self.selector.match.users) || has(self.selector.match.databases) || has(self.selector.match.clientCIDRs) || has(self.selector.match.commands) || has(self.selector.match.sqlIDs) || has(self.selector.match.sqlTextPattern) || has(self.selector.match.minExecutionSeconds)";

/// Whether `$id` has the form of an instance's or a tenant's ID. Lower case only: the same ID in upper case would lead
/// to another receipt.
macro_rules! is_id {
    ($id:literal) => {
        concat!($id, ".matches('^[a-z0-9][a-z0-9_-]*$')")
    };
}

pub(super) const IS_ID: &str = is_id!("self");

/// Whether each entry is an ID that a request can have: any other entry would allow nothing.
pub(super) const ARE_IDS: &str = concat!("self.all(id, ", is_id!("id"), ")");

/// Whether a string is the name of a Kubernetes object. A rule, not a `pattern`: the error for a `pattern` shows only
/// the regular expression.
pub(super) const IS_OBJECT_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')";

/// The sessions to end, their tenant, and the time limit. Only suspend and ttlSecondsAfterFinished can be changed.
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
    doc = "SessionKill asks the operator to end database sessions of one OceanBase tenant, once. To try again, create a new SessionKill with a new notAfterTime. To wait for any outcome, run: kubectl wait sk/NAME --for=jsonpath='{.status.completionTime}'",
    selectable = ".status.completionTime",
    selectable = ".spec.connectionRef.name",
    selectable = ".spec.connectionRef.kind",
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
    printcolumn(name = "Connection", type_ = "string", json_path = ".spec.connectionRef.name", priority = 1),
    printcolumn(name = "Connection Kind", type_ = "string", json_path = ".spec.connectionRef.kind", priority = 1),
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
    validation = Rule::new(SAME_SCOPE)
        .message("scope is immutable: create a new SessionKill instead")
        .field_path(".scope"),
    validation = Rule::new("!has(self.scope) || self.scope != 'Query' || !has(self.sessions) || self.sessions.all(session, has(session.expect) && (has(session.expect.traceID) || has(session.expect.sqlID)))")
        .message("scope Query needs expect.traceID or expect.sqlID for each session: without it, whatever statement the session runs by then would be ended")
        .field_path(".scope"),
    validation = Rule::new(ONE_WAY)
        .message("exactly one of sessions and selector is needed: sessions by their IDs, or by what they are")
        .field_path(".sessions"),
    validation = Rule::new(IS_BOUNDED)
        .message("a Kill needs selector.maxSessions: the most sessions that may be ended")
        .field_path(".selector"),
    validation = Rule::new(NAMES_SOMEBODY)
        .message("selector.match of a Kill needs users, databases, clientCIDRs, commands, sqlIDs, sqlTextPattern or minExecutionSeconds: no filter never means all")
        .field_path(".selector"),
    validation = Rule::new("has(self.sessions) == has(oldSelf.sessions) && (!has(self.sessions) || self.sessions == oldSelf.sessions)")
        .message("sessions is immutable: create a new SessionKill instead")
        .field_path(".sessions"),
    validation = Rule::new("has(self.selector) == has(oldSelf.selector) && (!has(self.selector) || self.selector == oldSelf.selector)")
        .message("selector is immutable: create a new SessionKill instead")
        .field_path(".selector"),
    validation = Rule::new(SUSPEND_IS_NOT_REMOVED)
        .message("suspend must not be removed while it is true: set it to false to go on")
        .field_path(".suspend")
)]
pub struct SessionKillSpec {
    /// The connection to call through: an OceanBaseConnection of the same namespace, or a ClusterOceanBaseConnection that
    /// allows this namespace.
    #[x_kube(validation = (SAME_CONNECTION, "connectionRef is immutable: create a new SessionKill instead"))]
    pub connection_ref: ConnectionRef,

    /// The ID of the OceanBase cluster instance, such as ob317v4uif0000. Copy it from the ApsaraDB for OceanBase
    /// console. By SQL: spec.sql.cluster of the connection.
    #[serde(rename = "instanceID")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = (IS_ID, "instanceID must be lower-case letters, digits, - and _ only: copy it from the ApsaraDB for OceanBase console"),
        validation = ("self == oldSelf", "instanceID is immutable: create a new SessionKill instead")
    )]
    pub instance_id: String,

    /// The ID of the tenant whose sessions are ended, such as t4louaeei0000. Copy it from the ApsaraDB for OceanBase
    /// console. By SQL: the name of the tenant, such as spec.sql.tenant of the connection.
    #[serde(rename = "tenantID")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = (IS_ID, "tenantID must be lower-case letters, digits, - and _ only: copy it from the ApsaraDB for OceanBase console"),
        validation = ("self == oldSelf", "tenantID is immutable: create a new SessionKill instead")
    )]
    pub tenant_id: String,

    /// Kill ends the sessions. DryRun reports for each session what a Kill would do, and ends nothing.
    #[serde(default)]
    #[x_kube(validation = ("self == oldSelf", "mode is immutable: create a new SessionKill instead"))]
    pub mode: Mode,

    /// What is ended. Session: the sessions. Query: only the statement that each of them runs, and the session lives. Query
    /// needs a connection by SQL, and expect.traceID or expect.sqlID for each session. Unset means Session.
    // No default in the schema, so that requests of before it was there are the same.
    #[serde(default, skip_serializing_if = "Scope::is_session")]
    pub scope: Scope,

    /// The sessions to end, 1 to 100. Name each session once: serverIP and sessionID together are its key. Either sessions
    /// or selector is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["serverIP".into(), "sessionID".into()]))]
    pub sessions: Vec<Session>,

    /// The sessions to end, by what they are. The process list is read once, right before the kill: what matches then is
    /// ended, and nothing that matches later. With mode DryRun, the status lists what matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<SessionSelector>,

    /// Nothing is sent before this time. It must be earlier than notAfterTime. Write it with seconds and an offset,
    /// such as 2026-10-05T09:00:00Z. Unset means at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    #[x_kube(validation = (IS_TIME, "notBeforeTime must be a time before the year 3000 with seconds and an offset, such as 2026-10-05T09:00:00Z or 2026-10-05T17:00:00+08:00"))]
    pub not_before_time: Option<Time>,

    /// Nothing is sent after this time. Session IDs are reused, so an old request must be harmless. Choose minutes from
    /// now, not days. Write it with seconds and an offset, such as 2026-10-05T09:30:00Z.
    #[schemars(schema_with = "time_schema")]
    #[x_kube(
        validation = (IS_TIME, "notAfterTime must be a time before the year 3000 with seconds and an offset, such as 2026-10-05T09:30:00Z or 2026-10-05T17:30:00+08:00"),
        validation = ("self == oldSelf", "notAfterTime is immutable: create a new SessionKill instead")
    )]
    pub not_after_time: Time,

    /// Why the sessions are ended, for people: an incident number or a sentence, at most 256 characters. It is shown in
    /// Events and in the audit line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reason: Option<String>,

    /// How the operator checks that the sessions have ended. A kill that the API accepted is no proof of that.
    #[serde(default)]
    #[x_kube(validation = ("self == oldSelf", "verification is immutable: create a new SessionKill instead"))]
    pub verification: Verification,

    /// True holds the request back until you set it to false, or until notAfterTime passes. Unset means false. It has
    /// no effect after the call was made.
    // No default in the schema: with one, a rule could not see that the field was removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,

    /// The number of seconds from completionTime until the operator deletes the object. It never deletes the object
    /// before notAfterTime. Unset means never. On an object of Argo CD or Flux the field is ignored, and an Event says
    /// so: the tool would create the object again.
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
    /// Reports what a Kill would do.
    DryRun,
}

/// What is ended of a session.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The session.
    #[default]
    Session,
    /// The statement that it runs.
    Query,
}

impl Scope {
    /// Whether whole sessions are ended.
    #[must_use]
    pub fn is_session(&self) -> bool {
        *self == Self::Session
    }
}

/// Names a connection. It has no namespace field on purpose: a request must not use the connection, and so the
/// credentials, of another namespace, unless a `ClusterOceanBaseConnection` lends them to its own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionRef {
    /// The kind of the connection. OceanBaseConnection: one of the same namespace. ClusterOceanBaseConnection: one of no
    /// namespace, which must allow this namespace. Unset means OceanBaseConnection.
    // No default in the schema: an operator of before it was there would refuse every request with it.
    #[serde(default, skip_serializing_if = "ConnectionKind::is_namespaced")]
    pub kind: ConnectionKind,

    /// The name of the connection.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (IS_OBJECT_NAME, "connectionRef.name must be the name of a connection: lower-case letters, digits, - and ."))]
    pub name: String,
}

impl fmt::Display for ConnectionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}
