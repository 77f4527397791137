//! The status of a request: bounded, and immutable after the end.

use serde_json::{Value, json};

use crate::{
    cases::{Case, Server, longest, set, without},
    session_kill::{self, valid},
};

fn condition(kind: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": "SessionsKilled", "message": "3 of 3 sessions killed",
        "lastTransitionTime": "2026-10-05T09:10:02Z", "observedGeneration": 1,
    })
}

/// The outcome of one session, with every field set.
pub fn session() -> Value {
    json!({
        "serverIP": "192.168.13.119", "sessionID": 3_221_614_618_i64, "outcome": "Killed", "reason": "Accepted",
        "status": "SLEEP", "errorMessage": "none", "message": "last seen at 09:10:01", "observed": {
            "host": "10.2.3.4:52110", "clientIP": "10.2.3.4", "user": "report_ro", "database": "reports", "command": "Query",
            "executeTime": "742", "sqlID": "45CCBDC7F1D2A0B34C5D6E7F8091A2B3",
            "traceID": "YB42AC11000A-000651C2B1A1B2C3-0-0", "transactionID": "2713",
            "proxySessionID": "12402504630519660553", "sqlText": "select 1", "tenantID": "t4louaeei0000",
            "observationTime": "2026-10-05T09:10:01Z",
        },
    })
}

/// A status with every field set, before the end.
fn unfinished() -> Value {
    json!({
        "observedGeneration": 1,
        "startTime": "2026-10-05T09:10:00Z",
        "nextAttemptTime": "2026-10-05T09:10:05Z",
        "dispatch": {
            "receiptName": "sk-43fc0eb8b9218d7a511019b73883fc6e426b028b", "attemptID": "a1",
            "operation": "KillProcessList", "requestID": "R", "startTime": "2026-10-05T09:10:00Z",
        },
        "counts": {"total": 1, "killed": 1, "gone": 0, "skipped": 0, "failed": 0, "unknown": 0},
        "sessions": [session()],
        "conditions": [condition("Succeeded"), condition("Ready")],
    })
}

const OUTCOMES: [&str; 6] = ["Pending", "Killed", "Gone", "Skipped", "Failed", "Unknown"];

const REASONS: [&str; 18] = [
    "Waiting",
    "DryRun",
    "Verified",
    "IdReused",
    "QueryEnded",
    "NotFound",
    "PreconditionMismatch",
    "StillPresent",
    "Accepted",
    "NotVerified",
    "KillRefused",
    "NotSent",
    "RequestRejected",
    "DeadlineExceeded",
    "NotAllowed",
    "MissingInAnswer",
    "AnswerLost",
    "HolderLost",
];

/// Cases for the bounds of the session at `at`, such as `/status/sessions/0`.
pub fn session_bounds(at: &str) -> Vec<Case> {
    let name = at[1..].replace("/0", "[0]").replace('/', ".");
    let mut cases = vec![
        set(format!("{at}/outcome"), "Dead").refused(format!(r#"{name}.outcome: Unsupported value: "Dead""#)),
        set(format!("{at}/reason"), "dead").refused(format!(r#"{name}.reason: Unsupported value: "dead""#)),
        set(format!("{at}/observed/observationTime"), "now")
            .refused("sessions[0].observed.observationTime in body must be of type date-time"),
        set(format!("{at}/observed/traceId"), "x").refused(format!(r#"unknown field "{name}.observed.traceId""#)),
    ];
    cases.extend(OUTCOMES.map(|outcome| set(format!("{at}/outcome"), outcome)));
    cases.extend(REASONS.map(|reason| set(format!("{at}/reason"), reason)));
    for (field, limit) in [("serverIP", 45), ("status", 64), ("errorMessage", 1024), ("message", 1024)] {
        cases.extend(longest(&format!("{at}/{field}"), &format!("{name}.{field}"), limit));
    }
    for (field, limit) in [
        ("host", 64),
        ("clientIP", 64),
        ("user", 128),
        ("database", 128),
        ("command", 64),
        ("executeTime", 32),
        ("sqlID", 64),
        ("traceID", 64),
        ("transactionID", 32),
        ("proxySessionID", 32),
        ("sqlText", 256),
        ("tenantID", 64),
    ] {
        cases.extend(longest(&format!("{at}/observed/{field}"), &format!("{name}.observed.{field}"), limit));
    }
    cases
}

/// Cases for the bounds of conditions. Two kinds have them.
pub fn condition_bounds() -> Vec<Case> {
    const FIRST: &str = "status.conditions[0]";
    let bad_reason = "conditions[0].reason in body should match '^[A-Z][A-Za-z0-9]*$'";
    let many = |count: usize| (0..count).map(|n| condition(&format!("T{n}"))).collect::<Value>();
    let mut cases = vec![
        set("/status/conditions", many(8)),
        set("/status/conditions", many(9)).refused("status.conditions: Too many: 9: must have at most 8 items"),
        set("/status/conditions/-", condition("Ready")).refused("status.conditions[2]: Duplicate value"),
        set("/status/conditions/0/status", "true").refused(
            r#"status.conditions[0].status: Unsupported value: "true": supported values: "True", "False", "Unknown""#,
        ),
        set("/status/conditions/0/reason", "").refused("conditions[0].reason in body should be at least 1 chars"),
        set("/status/conditions/0/reason", "not ready").refused(bad_reason),
        set("/status/conditions/0/lastTransitionTime", "now")
            .refused("conditions[0].lastTransitionTime in body must be of type date-time"),
        without("/status/conditions/0/message").refused("status.conditions[0].message: Required value"),
    ];
    cases.extend(longest("/status/conditions/0/type", &format!("{FIRST}.type"), 64));
    cases.push(set("/status/conditions/0/reason", "A".repeat(64)));
    cases.push(set("/status/conditions/0/reason", "A".repeat(65)).refused(format!("{FIRST}.reason: Too long")));
    cases.extend(longest("/status/conditions/0/message", &format!("{FIRST}.message"), 4096));
    cases
}

/// Changes of a status before the end.
pub fn changes_before_the_end() -> Vec<Case> {
    let many = |count: i64| -> Value {
        (1..=count)
            .map(|id| json!({"serverIP": "::1", "sessionID": id, "outcome": "Gone", "reason": "Accepted"}))
            .collect()
    };
    let mut cases = vec![
        set("/status/startTime", "2026-10-05T09:10:01Z")
            .refused("status.startTime: Invalid value")
            .refused("write-once"),
        without("/status/startTime").refused("startTime is write-once"),
        set("/status/startTime", "now").refused("startTime in body must be of type date-time"),
        set("/status/completionTime", "2026-10-05T09:10:02Z"),
        set("/status/completionTime", "now").refused("completionTime in body must be of type date-time"),
        set("/status/nextAttemptTime", "2026-10-05T09:10:59Z"),
        set("/status/nextAttemptTime", "now").refused("nextAttemptTime in body must be of type date-time"),
        without("/status/dispatch"),
        set("/status/dispatch/startTime", "now").refused("dispatch.startTime in body must be of type date-time"),
        set("/status/dispatch/operation", "BatchKillProcessList"),
        set("/status/dispatch/operation", "Kill"),
        set("/status/dispatch/operation", "KillSession").refused(
            r#"status.dispatch.operation: Unsupported value: "KillSession": supported values: "KillProcessList", "BatchKillProcessList", "Kill""#,
        ),
        without("/status/counts/unknown").refused("status.counts.unknown: Required value"),
        set("/status/sessions", many(100)),
        set("/status/sessions", many(101)).refused("status.sessions: Too many: 101: must have at most 100 items"),
        set("/status/sessions/-", session()).refused("status.sessions[1]: Duplicate value"),
        set("/status/conditions/-", condition("TargetMismatch")),
        set("/status/conditions/0/status", "Unknown"),
        without("/status/conditions"),
        set("/status/phase", "Done").refused(r#"unknown field "status.phase""#),
        // A write of the status cannot change the spec.
        set("/spec/instanceID", "other"),
    ];
    cases.extend(longest("/status/dispatch/receiptName", "status.dispatch.receiptName", 64));
    cases.extend(longest("/status/dispatch/attemptID", "status.dispatch.attemptID", 64));
    cases.extend(longest("/status/dispatch/requestID", "status.dispatch.requestID", 64));
    cases.extend(session_bounds("/status/sessions/0"));
    cases.extend(condition_bounds());
    cases
}

/// Changes of a status after the end.
pub fn changes_after_the_end() -> Vec<Case> {
    const ENDED: &str = "completionTime is write-once: the request has ended";
    const FINAL: &str = "the outcome of a finished request is immutable";
    vec![
        set("/status/observedGeneration", 2),
        set("/status/conditions/0/observedGeneration", 2).and(set("/status/conditions/1/observedGeneration", 2)),
        set("/status/completionTime", "2026-10-05T09:10:03Z").refused(ENDED),
        without("/status/completionTime").refused(ENDED),
        without("/status").refused(ENDED),
        set("/status", Value::Null).refused(ENDED),
        set("/status/startTime", "2026-10-05T09:10:01Z").refused("startTime is write-once"),
        set("/status/sessions/0/outcome", "Failed").refused("status.sessions: Invalid value").refused(FINAL),
        set("/status/sessions/0/errorMessage", "").refused(FINAL),
        set("/status/sessions/0/observed/user", "root").refused(FINAL),
        set("/status/sessions/-", json!({"serverIP": "::1", "sessionID": 1, "outcome": "Gone", "reason": "Accepted"}))
            .refused(FINAL),
        without("/status/sessions").refused(FINAL),
        set("/status/counts/killed", 2).refused("status.counts: Invalid value").refused(FINAL),
        without("/status/counts").refused(FINAL),
        set("/status/dispatch/requestID", "Q").refused("status.dispatch: Invalid value").refused(FINAL),
        without("/status/dispatch").refused(FINAL),
        set("/status/conditions/0/status", "False").refused("status.conditions: Invalid value").refused(FINAL),
        set("/status/conditions/0/reason", "KillFailed")
            .refused("of its conditions only observedGeneration may change"),
        set("/status/conditions/0/message", "").refused(FINAL),
        set("/status/conditions/0/lastTransitionTime", "2026-10-05T09:10:03Z").refused(FINAL),
        set("/status/conditions/-", condition("Stalled")).refused(FINAL),
        without("/status/conditions/1").refused(FINAL),
        without("/status/conditions").refused(FINAL),
    ]
}

#[tokio::test]
async fn the_status_is_bounded_and_the_start_is_written_once() {
    let server = Server::in_namespace("status-before").await;
    let mut stored = server.create(&valid()).await;
    stored["status"] = unfinished();
    let stored = server.store_status(&stored).await;
    server.check_status(&stored, &changes_before_the_end()).await;
}

#[tokio::test]
async fn the_outcome_never_changes_after_the_end() {
    let server = Server::in_namespace("status-after").await;
    let mut stored = server.create(&valid()).await;
    stored["status"] = unfinished();
    stored["status"].as_object_mut().unwrap().remove("nextAttemptTime");
    stored["status"]["completionTime"] = "2026-10-05T09:10:02Z".into();
    let stored = server.store_status(&stored).await;
    server.check_status(&stored, &changes_after_the_end()).await;
}

#[tokio::test]
async fn nothing_can_be_added_to_an_outcome_that_was_short() {
    let server = Server::in_namespace("status-short").await;
    let mut stored = server.create(&valid()).await;
    stored["status"] = json!({"observedGeneration": 1, "completionTime": "2026-10-05T09:10:02Z"});
    let stored = server.store_status(&stored).await;
    let full = unfinished();
    let added = |field: &str, name: &str| set(field, full[name].clone()).refused("finished request is immutable");
    let cases = [
        added("/status/dispatch", "dispatch"),
        added("/status/counts", "counts"),
        added("/status/sessions", "sessions"),
        added("/status/conditions", "conditions"),
    ];
    server.check_status(&stored, &cases).await;
}

/// Sessions with every text at its limit, in characters that take the most bytes: etcd must be able to store everything
/// that the schema accepts.
pub fn largest_sessions() -> Value {
    let text = |length: usize| "𐐷".repeat(length);
    // No server writes another character into an address with a port, a trace ID or a number.
    let ascii = |length: usize| "A".repeat(length);
    let session = |id: i64| {
        json!({
            "serverIP": text(45), "sessionID": id, "outcome": "Skipped", "reason": "PreconditionMismatch",
            "status": text(64), "errorMessage": text(1024), "message": text(1024), "observed": {
                "host": ascii(64), "traceID": ascii(64), "transactionID": ascii(32),
                "clientIP": text(64), "user": text(128), "database": text(128), "command": text(64),
                "executeTime": text(32), "sqlID": text(64), "proxySessionID": text(32), "sqlText": text(256), "tenantID": text(64),
                "observationTime": "2026-10-05T09:10:01.123456789+08:00",
            },
        })
    };
    (1..=100).map(session).collect()
}

#[tokio::test]
async fn the_largest_status_that_the_schema_accepts_can_be_stored() {
    let server = Server::in_namespace("status-largest").await;
    let mut request = valid();
    request["spec"]["sessions"] = session_kill::largest_sessions();
    request["spec"]["reason"] = "𐐷".repeat(256).into();
    let mut stored = server.create(&request).await;
    stored["status"] = unfinished();
    stored["status"]["sessions"] = largest_sessions();
    let conditions = (0..8).map(|n| {
        let mut condition = condition(&format!("Type{n}"));
        condition["message"] = "𐐷".repeat(4096).into();
        condition
    });
    stored["status"]["conditions"] = conditions.collect();
    let stored = server.store_status(&stored).await;
    assert_eq!(stored["status"]["sessions"].as_array().unwrap().len(), 100);
}
