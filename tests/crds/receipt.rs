//! The receipt: its name is the claim, its spec is immutable, and its outcome is write-once.

use serde_json::{Value, json};
use sessionkill::{api::MAX_SESSIONS, domain::kill::conclusion::bounded};

use crate::{
    cases::{Case, Server, longest, set, without},
    session_kill_status::{largest_sessions, session, session_bounds},
};

const WRITE_ONCE: &str = "a receipt's outcome is write-once";

/// A session that is to be killed.
fn planned() -> Value {
    let mut planned = session();
    planned["outcome"] = "Pending".into();
    planned["reason"] = "Waiting".into();
    planned
}

/// A receipt without an outcome.
pub fn valid() -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "SessionKillReceipt",
        "metadata": {"name": "sk-43fc0eb8b9218d7a511019b73883fc6e426b028b"},
        "spec": {
            "sessionKillRef": {"name": "incident", "uid": "b7d1a7e4"},
            "attemptID": "a1",
            "holderIdentity": "operator-0",
            "claimTime": "2026-10-05T09:10:00Z",
            "dispatchDeadlineTime": "2026-10-05T09:10:15Z",
            "settleDeadlineTime": "2026-10-05T09:10:30Z",
            "notAfterTime": "2026-10-05T09:30:00Z",
            "connectionName": "prod-ob",
            "instanceID": "ob317v4uif0000",
            "tenantID": "t4louaeei0000",
            "operation": "KillProcessList",
            "sessions": [planned()],
        },
    })
}

/// The outcome of this receipt.
fn outcome() -> Value {
    json!({
        "outcome": "SessionsKilled", "completionTime": "2026-10-05T09:10:02Z", "requestID": "R",
        "operation": "KillProcessList", "sessions": [session()],
    })
}

/// Changes of a new receipt.
pub fn creations() -> Vec<Case> {
    let name = "a receipt's name is sk- and 40 hexadecimal digits derived from the request";
    let many = |count: usize| vec![planned(); count];
    let mut cases = vec![
        set("/metadata/name", format!("sk-{}", "0".repeat(40))),
        set("/metadata/name", "mine").refused(name),
        set("/metadata/name", format!("sk-{}", "0".repeat(39))).refused(name),
        set("/metadata/name", format!("sk-{}", "0".repeat(41))).refused(name),
        set("/metadata/name", format!("sk-{}", "g".repeat(40))).refused(name),
        set("/spec/attemptID", "").refused("spec.attemptID in body should be at least 1 chars long"),
        set("/spec/holderIdentity", "").refused("spec.holderIdentity in body should be at least 1 chars long"),
        set("/spec/claimTime", "now").refused("spec.claimTime in body must be of type date-time"),
        set("/spec/dispatchDeadlineTime", "now").refused("spec.dispatchDeadlineTime in body must be of type date-time"),
        set("/spec/settleDeadlineTime", "now").refused("spec.settleDeadlineTime in body must be of type date-time"),
        set("/spec/notAfterTime", "now").refused("spec.notAfterTime in body must be of type date-time"),
        set("/spec/operation", "BatchKillProcessList"),
        set("/spec/operation", "Kill"),
        set("/spec/operation", "KillSession").refused(r#"spec.operation: Unsupported value: "KillSession""#),
        set("/spec/connectionKind", "ClusterOceanBaseConnection"),
        set("/spec/connectionKind", "OceanBase").refused(
            r#"spec.connectionKind: Unsupported value: "OceanBase": supported values: "OceanBaseConnection", "Cluster"#,
        ),
        set("/spec/scope", "Query"),
        set("/spec/scope", "All")
            .refused(r#"spec.scope: Unsupported value: "All": supported values: "Session", "Query""#),
        set("/spec/sessions", json!([])).refused("a receipt without sessions is that of a request with a selector"),
        set("/spec/sessions", json!([])).and(set("/spec/matched", 0)),
        set("/spec/sessions", many(100)),
        set("/spec/sessions", many(101)).refused("spec.sessions: Too many: 101: must have at most 100 items"),
        set("/spec/sessions/0", json!({"serverIP": "::1", "sessionID": 1, "outcome": "Gone", "reason": "NotFound"})),
        set("/spec/sessions/0", json!({"serverIP": "::1", "sessionID": 1}))
            .refused("spec.sessions[0].outcome: Required value")
            .refused("spec.sessions[0].reason: Required value"),
        // A receipt has no `expect`: it is part of the name's hash, and the message says how a session differed from
        // it.
        set("/spec/sessions/0/expect", json!({"user": "root"})).refused(r#"unknown field "spec.sessions[0].expect""#),
        set("/spec/note", "x").refused(r#"unknown field "spec.note""#),
    ];
    for field in ["/spec/sessionKillRef", "/spec/attemptID", "/spec/dispatchDeadlineTime", "/spec/sessions"] {
        cases.push(without(field).refused(format!("{}: Required value", field[1..].replace('/', "."))));
    }
    cases.extend(longest("/spec/sessionKillRef/name", "spec.sessionKillRef.name", 253));
    cases.extend(longest("/spec/sessionKillRef/uid", "spec.sessionKillRef.uid", 64));
    cases.extend(longest("/spec/attemptID", "spec.attemptID", 64));
    cases.extend(longest("/spec/holderIdentity", "spec.holderIdentity", 256));
    cases.extend(longest("/spec/connectionName", "spec.connectionName", 253));
    cases.extend(longest("/spec/instanceID", "spec.instanceID", 64));
    cases.extend(longest("/spec/tenantID", "spec.tenantID", 64));
    cases.extend(session_bounds("/spec/sessions/0"));
    cases
}

/// Changes of a stored receipt.
pub fn updates() -> Vec<Case> {
    let immutable = "a receipt's spec is immutable";
    vec![
        set("/spec", json!({})).refused("spec.attemptID: Required value"),
        set("/spec/attemptID", "a2").refused(immutable),
        set("/spec/dispatchDeadlineTime", "2026-10-05T09:11:15Z").refused(immutable),
        set("/spec/sessionKillRef/uid", "other").refused(immutable),
        set("/spec/operation", "BatchKillProcessList").refused(immutable),
        set("/spec/connectionKind", "ClusterOceanBaseConnection").refused(immutable),
        set("/spec/sessions/0/outcome", "Skipped").refused(immutable),
        set("/spec/sessions/0/observed/user", "root").refused(immutable),
        set("/spec/sessions/-", planned()).refused(immutable),
        set("/metadata/labels", json!({"kept-by": "audit"})),
    ]
}

/// Changes of an outcome that is recorded for the first time.
pub fn records() -> Vec<Case> {
    let many = |count: i64| -> Value {
        (1..=count)
            .map(|id| json!({"serverIP": "::1", "sessionID": id, "outcome": "Gone", "reason": "Accepted"}))
            .collect()
    };
    let recorded = || set("/status", outcome());
    let mut cases = vec![
        recorded(),
        recorded().and(without("/status/requestID")),
        recorded().and(set("/status/operation", "BatchKillProcessList")),
        recorded().and(set("/status/operation", "KillSession")).refused(
            r#"status.operation: Unsupported value: "KillSession": supported values: "KillProcessList", "Batch"#,
        ),
        recorded().and(without("/status/outcome")).refused("status.outcome: Required value"),
        recorded().and(set("/status/outcome", "Fine")).refused(r#"status.outcome: Unsupported value: "Fine""#),
        recorded().and(without("/status/completionTime")).refused("status.completionTime: Required value"),
        recorded()
            .and(set("/status/completionTime", "now"))
            .refused("completionTime in body must be of type date-time"),
        recorded().and(set("/status/sessions", many(100))),
        recorded().and(set("/status/sessions", many(101))).refused("status.sessions: Too many: 101"),
    ];
    let bounds =
        longest("/status/requestID", "status.requestID", 64).into_iter().chain(session_bounds("/status/sessions/0"));
    cases.extend(bounds.map(|case| case.after(recorded())));
    cases
}

/// Changes of a recorded outcome.
pub fn changes_of_the_record() -> Vec<Case> {
    vec![
        set("/status/outcome", "KillFailed").refused("status: Invalid value").refused(WRITE_ONCE),
        set("/status/completionTime", "2026-10-05T09:10:03Z").refused(WRITE_ONCE),
        set("/status/requestID", "Q").refused(WRITE_ONCE),
        set("/status/operation", "BatchKillProcessList").refused(WRITE_ONCE),
        set("/status/sessions/0/outcome", "Failed").refused(WRITE_ONCE),
        without("/status/sessions/0").refused(WRITE_ONCE),
        without("/status").refused(WRITE_ONCE),
        set("/status", Value::Null).refused(WRITE_ONCE),
    ]
}

#[tokio::test]
async fn a_receipt_is_bounded_and_named_after_its_content() {
    let server = Server::in_namespace("receipts-written").await;
    server.check_create(&valid(), &creations()).await;
}

#[tokio::test]
async fn a_claim_is_immutable_and_its_outcome_is_recorded_once() {
    let server = Server::in_namespace("receipts-changed").await;
    let mut stored = server.create(&valid()).await;
    assert!(stored.get("status").is_none(), "a claim has no outcome: {stored}");
    server.check_update(&stored, &updates()).await;
    server.check_status(&stored, &records()).await;
    stored["status"] = outcome();
    let stored = server.store_status(&stored).await;
    server.check_status(&stored, &changes_of_the_record()).await;
}

#[tokio::test]
async fn the_largest_record_that_the_schema_accepts_can_be_stored() {
    let server = Server::in_namespace("receipts-largest").await;
    let mut stored = server.create(&valid()).await;
    stored["status"] = outcome();
    stored["status"]["sessions"] = largest_sessions();
    server.store_status(&stored).await;
}

/// The claim is stored before the kill and the record after it. A refusal of the record would come too late.
#[tokio::test]
async fn the_largest_record_that_the_operator_writes_fits_beside_the_largest_claim() {
    let server = Server::in_namespace("receipts-full").await;
    let mut receipt = valid();
    receipt["spec"]["sessions"] = largest_sessions();
    let mut stored = server.create(&receipt).await;
    stored["status"] = outcome();
    stored["status"]["sessions"] = json!(bounded(serde_json::from_value(largest_sessions()).unwrap()));
    let stored = server.store_status(&stored).await;
    assert_eq!(stored["spec"]["sessions"].as_array().unwrap().len(), MAX_SESSIONS);
    assert_eq!(stored["status"]["sessions"].as_array().unwrap().len(), MAX_SESSIONS);
}
