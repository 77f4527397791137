//! Fixtures for tests. Pure.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "for tests, which end here if an object cannot be made"
)]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use sessionkill_api::{
    ClusterOceanBaseConnection, ConnectionKind, OceanBaseConnection, Operation, SessionKill, SqlTextPolicy,
};

use crate::kill::claim::Attempt;
use crate::kill::precheck::{MustSee, precheck};
use crate::session::Seen;
use crate::snapshot::Snapshot;

/// A time on the one day that all tests use.
#[must_use]
pub fn time(clock: &str) -> Timestamp {
    format!("2026-10-05T{clock}Z").parse().unwrap()
}

/// A fresh request for two sessions, created at 09:59:00, not after 10:30:00.
#[must_use]
pub fn request() -> SessionKill {
    let mut object: SessionKill = serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "SessionKill",
        "metadata": {"name": "incident", "namespace": "dba", "uid": "uid-1", "generation": 1},
        "spec": {
            "connectionRef": {"name": "prod-ob"},
            "instanceID": "ob1",
            "tenantID": "t1",
            "sessions": [
                {"serverIP": "192.168.13.119", "sessionID": 3_221_614_618_i64},
                {"serverIP": "192.168.13.120", "sessionID": 7},
            ],
            "notAfterTime": "2026-10-05T10:30:00Z",
        },
    }))
    .unwrap();
    object.metadata.creation_timestamp = Some(Time(time("09:59:00")));
    object
}

/// The same request, with this selector instead of its sessions.
#[must_use]
pub fn selecting(selector: serde_json::Value) -> SessionKill {
    let mut object = request();
    object.spec.sessions.clear();
    object.spec.selector = Some(serde_json::from_value(selector).unwrap());
    object
}

/// The same request through the `ClusterOceanBaseConnection` of that name.
#[must_use]
pub fn of_cluster(mut object: SessionKill) -> SessionKill {
    object.spec.connection_ref.kind = ConnectionKind::ClusterOceanBaseConnection;
    object
}

/// A `ClusterOceanBaseConnection` with these `allowedNamespaces`, and otherwise as [`connection`].
#[must_use]
pub fn cluster_connection(allowed_namespaces: &serde_json::Value) -> ClusterOceanBaseConnection {
    let mut spec = serde_json::to_value(connection().spec).unwrap();
    spec["allowedNamespaces"] = allowed_namespaces.clone();
    serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "ClusterOceanBaseConnection",
        "metadata": {"name": "prod-ob"},
        "spec": spec,
    }))
    .unwrap()
}

/// A connection without allow-lists.
#[must_use]
pub fn connection() -> OceanBaseConnection {
    connection_to(&[])
}

/// The same, for these instances only.
#[must_use]
pub fn connection_to(instance_ids: &[&str]) -> OceanBaseConnection {
    let credentials = json!({"secretRef": {"name": "aliyun-ak"}});
    serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "OceanBaseConnection",
        "metadata": {"name": "prod-ob", "namespace": "dba"},
        "spec": {"alibabaCloud": {"regionID": "cn-hangzhou", "instanceIDs": instance_ids, "credentials": credentials}},
    }))
    .unwrap()
}

/// Session 0 or 1 of the request, in the middle of a query.
#[must_use]
pub fn seen(number: usize) -> Seen {
    let session = &request().spec.sessions[number];
    Seen {
        server_ip: session.server_ip.clone(),
        session_id: session.session_id,
        status: "ACTIVE".to_owned(),
        client_ip: "10.2.3.4".to_owned(),
        user: "report_ro".to_owned(),
        database: "reports".to_owned(),
        command: "Query".to_owned(),
        execute_time: "742".to_owned(),
        ..Seen::default()
    }
}

/// A complete process list, read at 10:00:00.
#[must_use]
pub fn snapshot(sessions: Vec<Seen>) -> Snapshot {
    Snapshot::new(sessions, true, time("10:00:00"))
}

/// An attempt at 10:00:00 for the request, after both of its sessions were seen.
#[must_use]
pub fn attempt() -> Attempt {
    let list = snapshot(vec![seen(0), seen(1)]);
    Attempt {
        attempt_id: "a1".to_owned(),
        holder_identity: "pod-1".to_owned(),
        claim_time: time("10:00:00"),
        dispatch_window: jiff::SignedDuration::from_secs(15),
        request_timeout: jiff::SignedDuration::from_secs(10),
        operation: Operation::KillProcessList,
        planned: precheck(&request().spec.sessions, Some(&list), MustSee::Expected, SqlTextPolicy::Truncated).unwrap(),
        matched: None,
    }
}
