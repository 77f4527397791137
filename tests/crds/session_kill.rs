//! The request: what can be written, and what can be changed afterwards.

use serde_json::{Value, json};
use sessionkill::api::MAX_SESSIONS;

use crate::cases::{Case, Server, longest, set, without};

/// A request with every field that a user may set.
pub fn valid() -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "SessionKill",
        "metadata": {"name": "incident"},
        "spec": {
            "connectionRef": {"name": "prod-ob"},
            "instanceID": "ob317v4uif0000",
            "tenantID": "t4louaeei0000",
            "sessions": [
                {"serverIP": "192.168.13.119", "sessionID": 3_221_614_618_i64},
                {"serverIP": "192.168.13.119", "sessionID": 7},
                {"serverIP": "fd00::1", "sessionID": 7},
            ],
            "notBeforeTime": "2026-10-05T09:00:00Z",
            "notAfterTime": "2026-10-05T09:30:00Z",
            "reason": "INC-4711 runaway report",
            "suspend": false,
            "ttlSecondsAfterFinished": 86_400,
        },
    })
}

fn sessions(count: usize) -> Value {
    (1..=count).map(|id| json!({"serverIP": "192.168.13.119", "sessionID": id})).collect()
}

fn names_and_ids() -> Vec<Case> {
    const NAME: &str = "/spec/connectionRef/name";
    let bad_name = "connectionRef.name must be the name of an OceanBaseConnection: lower-case letters";
    let mut cases = vec![
        without("/spec").refused("spec: Required value"),
        without("/spec/connectionRef").refused("spec.connectionRef: Required value"),
        without(NAME).refused("spec.connectionRef.name: Required value"),
        set(NAME, "").refused("spec.connectionRef.name in body should be at least 1 chars long"),
        set(NAME, "Prod").refused(bad_name),
        set(NAME, "-prod").refused(bad_name),
        set(NAME, "prod_ob").refused(bad_name),
        set(NAME, "other-namespace/prod").refused(bad_name),
        set(NAME, "prod.ob-2"),
        set("/spec/connectionRef/namespace", "other").refused(r#"unknown field "spec.connectionRef.namespace""#),
    ];
    cases.extend(longest(NAME, "spec.connectionRef.name", 253));
    for (field, name) in [("/spec/instanceID", "instanceID"), ("/spec/tenantID", "tenantID")] {
        let path = format!("spec.{name}");
        let bad_id = format!("{name} must be letters, digits, - and _ only: copy it from");
        cases.extend([
            without(field).refused(format!("{path}: Required value")),
            set(field, "").refused(format!("{path} in body should be at least 1 chars long")),
            set(field, "ob 1").refused(&bad_id),
            set(field, "-ob").refused(&bad_id),
            set(field, "ob1\n").refused(&bad_id),
            set(field, "ob/1?x=y").refused(&bad_id),
            set(field, "租户").refused(&bad_id),
            set(field, 7).refused(format!("{path} in body must be of type string")),
            set(field, "A-_9"),
        ]);
        cases.extend(longest(field, &path, 64));
    }
    cases
}

fn session_lists() -> Vec<Case> {
    const SERVER: &str = "/spec/sessions/0/serverIP";
    const ID: &str = "/spec/sessions/0/sessionID";
    let bad_server = "serverIP must be an IP address in canonical form, such as 192.168.13.119 or fd00::1";
    let mut cases = vec![
        without("/spec/sessions").refused("spec.sessions: Required value"),
        set("/spec/sessions", json!([])).refused("spec.sessions in body should have at least 1 items"),
        set("/spec/sessions", sessions(MAX_SESSIONS)),
        set("/spec/sessions", sessions(MAX_SESSIONS + 1))
            .refused("spec.sessions: Too many: 101: must have at most 100"),
        set("/spec/sessions/-", json!({"serverIP": "fd00::1", "sessionID": 7}))
            .refused(r"spec.sessions[3]: Duplicate value")
            .refused(r#""sessionID":7"#),
        set("/spec/sessions/-", json!({"serverIP": "fd00::2", "sessionID": 7})),
        set("/spec/sessions/0/expect", json!({})).refused(r#"unknown field "spec.sessions[0].expect""#),
        without(SERVER).refused("spec.sessions[0].serverIP: Required value"),
        without(ID).refused("spec.sessions[0].sessionID: Required value"),
        set(SERVER, "").refused("spec.sessions[0].serverIP in body should be at least 2 chars long"),
        set(SERVER, "1".repeat(46)).refused("spec.sessions[0].serverIP: Too long: may not be more than 45 bytes"),
        set(ID, 0).refused("spec.sessions[0].sessionID in body should be greater than or equal to 1"),
        set(ID, -1).refused("spec.sessions[0].sessionID in body should be greater than or equal to 1"),
        set(ID, 1),
        set(ID, 9_007_199_254_740_991_i64),
        set(ID, 9_007_199_254_740_992_i64)
            .refused("spec.sessions[0].sessionID in body should be less than or equal to 9007199254740991"),
        set(ID, u64::MAX).refused("spec.sessions[0].sessionID"),
        set(ID, 7.5).refused("spec.sessions[0].sessionID in body must be of type int64"),
        set(ID, "7").refused("spec.sessions[0].sessionID in body must be of type integer"),
    ];
    for good in ["127.0.0.1", "10.0.0.255", "::1", "fd00::13:119", "2001:db8::1"] {
        cases.push(set(SERVER, good));
    }
    for bad in [
        "observer-1.internal",
        "192.168.013.119",
        "192.168.13",
        "192.168.13.256",
        "192.168.13.119:2881",
        "192.168.13.119 ",
        "FD00::1",
        "fd00:0:0::1",
        "fd00::0001",
        "[fd00::1]",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "10.0.0.0/8",
    ] {
        cases.push(set(SERVER, bad).refused(bad_server).refused("spec.sessions[0].serverIP"));
    }
    cases
}

fn times() -> Vec<Case> {
    const FIELDS: [(&str, &str); 2] =
        [("/spec/notBeforeTime", "notBeforeTime"), ("/spec/notAfterTime", "notAfterTime")];
    let not_after = FIELDS[1].0;
    let mut cases = vec![
        without(not_after).refused("spec.notAfterTime: Required value"),
        set(not_after, Value::Null).refused("spec.notAfterTime"),
        without("/spec/notBeforeTime"),
        set("/spec/notBeforeTime", Value::Null),
        set("/spec/notBeforeTime", "2026-10-05T09:29:59.999Z"),
        set("/spec/notBeforeTime", "2026-10-05T17:29:59+08:00"),
        set("/spec/notBeforeTime", "2026-10-05T09:30:00Z").refused("notBeforeTime must be earlier than notAfterTime"),
        set("/spec/notBeforeTime", "2026-10-05T09:00:01-01:00").refused("notBeforeTime must be earlier than"),
        // A comparison of texts would take it for earlier.
        set(not_after, "2026-10-05T10:00:00+08:00").refused("spec.notBeforeTime"),
        set(not_after, "2026-10-05T09:30:00.123456789Z"),
        set(not_after, "2999-12-31T23:59:59Z"),
    ];
    for (field, name) in FIELDS {
        let refusal = format!("spec.{name}: Invalid value");
        let remedy =
            format!("{name} must be a time before the year 3000 with seconds and an offset, such as 2026-10-05T");
        for bad in [
            "2026-10-05t09:10:00z",
            "2026-10-05T09:10:00z",
            "2026-10-05T09:10:00",
            "2026-10-05T09:10Z",
            "2026-10-05 09:10:00Z",
            "2026-10-05",
            "2026-10-05T09:10:00+0800",
            "2026-10-05T09:10:00+15:00",
            "2026-10-05T09:10:00+08:60",
            "2026-10-05T09:10:00.Z",
            "2026-10-05T09:10:00,5Z",
            "2026-10-05T09:10:00.1234567890Z",
            "2026-02-30T09:10:00Z",
            "2026-13-01T09:10:00Z",
            "2026-10-05T24:00:00Z",
            "2026-10-05T09:10:60Z",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "tomorrow",
            "",
        ] {
            cases.push(set(field, bad).refused(&refusal).refused(&remedy));
        }
        cases.push(set(field, 1_791_190_800).refused(format!("spec.{name} in body must be of type string")));
        cases.push(set(field, "2".repeat(41)).refused(format!("spec.{name}: Too long: may not be more than 40 bytes")));
    }
    cases
}

fn the_rest() -> Vec<Case> {
    const TTL: &str = "/spec/ttlSecondsAfterFinished";
    let mut cases = vec![
        without("/spec/reason"),
        // Characters count, not bytes.
        set("/spec/reason", "终".repeat(256)),
        without("/spec/suspend"),
        set("/spec/suspend", true),
        set("/spec/suspend", "yes").refused("spec.suspend in body must be of type boolean"),
        without(TTL),
        set(TTL, 0),
        set(TTL, i32::MAX),
        set(TTL, -1).refused("spec.ttlSecondsAfterFinished in body should be greater than or equal to 0"),
        set(TTL, 2_147_483_648_i64)
            .refused("spec.ttlSecondsAfterFinished in body should be less than or equal to 2147483647"),
        set("/spec/notafterTime", "x").refused(r#"unknown field "spec.notafterTime""#),
        set("/spec/endpoint", "x").refused(r#"unknown field "spec.endpoint""#),
        set("/sessions", json!([])).refused(r#"unknown field "sessions""#),
    ];
    cases.extend(longest("/spec/reason", "spec.reason", 256));
    cases
}

/// What can be written.
pub fn creations() -> Vec<Case> {
    [names_and_ids(), session_lists(), times(), the_rest()].into_iter().flatten().collect()
}

/// What can be changed.
pub fn updates() -> Vec<Case> {
    let immutable = |name: &str| format!("{name} is immutable: create a new SessionKill instead");
    vec![
        set("/spec/connectionRef/name", "other").refused(immutable("connectionRef")),
        set("/spec/instanceID", "other").refused(immutable("instanceID")),
        set("/spec/tenantID", "other").refused(immutable("tenantID")),
        set("/spec/sessions/0/sessionID", 8).refused(immutable("sessions")),
        set("/spec/sessions/0/serverIP", "10.0.0.1").refused(immutable("sessions")),
        set("/spec/sessions/-", json!({"serverIP": "10.0.0.1", "sessionID": 1})).refused(immutable("sessions")),
        without("/spec/sessions/0").refused(immutable("sessions")),
        set("/spec/notAfterTime", "2026-10-05T10:30:00Z").refused(immutable("notAfterTime")),
        set("/spec/notBeforeTime", "2026-10-05T08:30:00Z").refused(immutable("notBeforeTime")),
        without("/spec/notBeforeTime").refused(immutable("notBeforeTime")),
        set("/spec/notBeforeTime", Value::Null).refused(immutable("notBeforeTime")),
        set("/spec/reason", "another").refused(immutable("reason")),
        without("/spec/reason").refused(immutable("reason")),
        set("/spec/suspend", true),
        set("/spec/ttlSecondsAfterFinished", 0),
        without("/spec/ttlSecondsAfterFinished"),
        set("/metadata/labels", json!({"team": "dba"})),
    ]
}

/// What can be added to a request that was written without optional fields.
pub fn additions() -> Vec<Case> {
    let immutable = |name: &str| format!("{name} is immutable: create a new SessionKill instead");
    vec![
        set("/spec/notBeforeTime", "2026-10-05T08:30:00Z").refused(immutable("notBeforeTime")),
        set("/spec/reason", "afterthought").refused(immutable("reason")),
        set("/spec/suspend", true),
        set("/spec/ttlSecondsAfterFinished", 60),
    ]
}

#[tokio::test]
async fn what_can_be_written_is_bounded_and_every_refusal_says_what_to_do() {
    let server = Server::in_namespace("requests-written").await;
    server.check_create(&valid(), &creations()).await;
}

#[tokio::test]
async fn only_suspend_and_ttl_can_be_changed() {
    let server = Server::in_namespace("requests-changed").await;
    let stored = server.create(&valid()).await;
    server.check_update(&stored, &updates()).await;

    let mut short = valid();
    short["metadata"]["name"] = "short".into();
    for optional in ["notBeforeTime", "reason", "suspend", "ttlSecondsAfterFinished"] {
        short["spec"].as_object_mut().unwrap().remove(optional);
    }
    let stored = server.create(&short).await;
    server.check_update(&stored, &additions()).await;
}

#[tokio::test]
async fn a_fresh_request_runs_at_once_and_was_observed_by_nobody() {
    let server = Server::in_namespace("requests-fresh").await;
    let mut short = valid();
    short["spec"].as_object_mut().unwrap().remove("suspend");
    // Users have no say in the status, even on creation.
    short["status"] = json!({"observedGeneration": 1, "completionTime": "2026-10-05T09:00:00Z"});
    let stored = server.create(&short).await;
    assert_eq!(stored["spec"]["suspend"], json!(false));
    assert_eq!(stored["status"], json!({"observedGeneration": -1}));
}
