//! The request: what users can write, and what they can change later.

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
            "connectionRef": {"kind": "OceanBaseConnection", "name": "prod-ob"},
            "instanceID": "ob317v4uif0000",
            "tenantID": "t4louaeei0000",
            "mode": "Kill",
            "scope": "Session",
            "sessions": [
                {
                    "serverIP": "192.168.13.119", "serverPort": 2881, "sessionID": 3_221_614_618_i64,
                    "expect": expect(),
                },
                {"serverIP": "192.168.13.119", "sessionID": 7},
                {"serverIP": "fd00::1", "sessionID": 7},
            ],
            "notBeforeTime": "2026-10-05T09:00:00Z",
            "notAfterTime": "2026-10-05T09:30:00Z",
            "reason": "INC-4711 runaway report",
            "verification": {"policy": "Required", "timeoutSeconds": 30},
            "suspend": false,
            "ttlSecondsAfterFinished": 86_400,
        },
    })
}

/// All fields of `expect`.
fn expect() -> Value {
    json!({
        "user": "report_ro",
        "database": "reports",
        "clientIP": "10.2.3.4",
        "command": "Query",
        "state": "Active",
        "sqlID": "45CCBDC7F1D2A0B34C5D6E7F8091A2B3",
        "proxySessionID": "12402504630519660553",
        "minExecutionSeconds": 300,
        "clientPort": 52_110,
        "traceID": "YB42AC11000A-000651C2B1A1B2C3-0-0",
        "transactionID": "2713",
        "transaction": "Open",
    })
}

/// A request that ends statements, through a connection of no namespace.
pub fn of_statements() -> Value {
    let mut request = valid();
    request["metadata"]["name"] = "statements".into();
    request["spec"]["scope"] = "Query".into();
    request["spec"]["connectionRef"]["kind"] = "ClusterOceanBaseConnection".into();
    request["spec"]["sessions"].as_array_mut().unwrap().truncate(1);
    request
}

fn sessions(count: usize) -> Value {
    (1..=count).map(|id| json!({"serverIP": "192.168.13.119", "sessionID": id})).collect()
}

/// As many sessions as possible, each with all fields of `expect` at their longest.
pub fn largest_sessions() -> Value {
    let session = |id: usize| {
        let mut session = json!({"serverIP": "192.168.13.119", "sessionID": id, "expect": expect()});
        for (field, limit) in [("user", 128), ("database", 128), ("command", 64)] {
            session["expect"][field] = "𐐷".repeat(limit).into();
        }
        session["serverPort"] = 65_535.into();
        for (field, longest) in
            [("sqlID", "A".repeat(64)), ("traceID", "Y".repeat(64)), ("transactionID", "9".repeat(20))]
        {
            session["expect"][field] = longest.into();
        }
        session
    };
    (1..=MAX_SESSIONS).map(session).collect()
}

fn names_and_ids() -> Vec<Case> {
    const NAME: &str = "/spec/connectionRef/name";
    const KIND: &str = "/spec/connectionRef/kind";
    let bad_name = "connectionRef.name must be the name of a connection: lower-case letters";
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
        without(KIND),
        set(KIND, "ClusterOceanBaseConnection"),
        set(KIND, "clusterOceanBaseConnection")
            .refused("spec.connectionRef.kind: Unsupported value")
            .refused(r#"supported values: "OceanBaseConnection", "ClusterOceanBaseConnection""#),
        set(KIND, "Secret").refused("spec.connectionRef.kind: Unsupported value"),
        set("/spec/connectionRef/namespace", "other").refused(r#"unknown field "spec.connectionRef.namespace""#),
    ];
    cases.extend(longest(NAME, "spec.connectionRef.name", 253));
    for (field, name) in [("/spec/instanceID", "instanceID"), ("/spec/tenantID", "tenantID")] {
        let path = format!("spec.{name}");
        let bad_id = format!("{name} must be lower-case letters, digits, - and _ only: copy it from");
        cases.extend([
            without(field).refused(format!("{path}: Required value")),
            set(field, "").refused(format!("{path} in body should be at least 1 chars long")),
            set(field, "ob 1").refused(&bad_id),
            set(field, "-ob").refused(&bad_id),
            set(field, "ob1\n").refused(&bad_id),
            set(field, "ob/1?x=y").refused(&bad_id),
            set(field, "租户").refused(&bad_id),
            set(field, 7).refused(format!("{path} in body must be of type string")),
            // For the receipt's name, it would differ from the same ID in lower case.
            set(field, "OB1").refused(&bad_id),
            set(field, "a-_9"),
        ]);
        cases.extend(longest(field, &path, 64));
    }
    cases
}

fn session_lists() -> Vec<Case> {
    const SERVER: &str = "/spec/sessions/0/serverIP";
    const PORT: &str = "/spec/sessions/0/serverPort";
    const ID: &str = "/spec/sessions/0/sessionID";
    let bad_server = "serverIP must be an IP address in canonical form, such as 192.168.13.119 or fd00::1";
    let mut cases = vec![
        without("/spec/sessions").refused("exactly one of sessions and selector is needed"),
        set("/spec/sessions", json!([])).refused("spec.sessions in body should have at least 1 items"),
        set("/spec/sessions", sessions(MAX_SESSIONS)),
        set("/spec/sessions", sessions(MAX_SESSIONS + 1))
            .refused("spec.sessions: Too many: 101: must have at most 100"),
        set("/spec/sessions/-", json!({"serverIP": "fd00::1", "sessionID": 7}))
            .refused(r"spec.sessions[3]: Duplicate value")
            .refused(r#""sessionID":7"#),
        set("/spec/sessions/-", json!({"serverIP": "fd00::2", "sessionID": 7})),
        // `expect` is not part of the key: the session is a duplicate.
        set("/spec/sessions/-", json!({"serverIP": "fd00::1", "sessionID": 7, "expect": {"user": "other"}}))
            .refused(r"spec.sessions[3]: Duplicate value"),
        set("/spec/sessions", largest_sessions()),
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
        // Versions of Kubernetes differ here: some say "of type int64", others "of type integer".
        set(ID, 7.5).refused("spec.sessions[0].sessionID in body must be of type int"),
        set(ID, "7").refused("spec.sessions[0].sessionID in body must be of type integer"),
        without(PORT),
        set(PORT, 1),
        set(PORT, 65_535),
        set(PORT, 0).refused("spec.sessions[0].serverPort in body should be greater than or equal to 1"),
        set(PORT, 65_536).refused("spec.sessions[0].serverPort in body should be less than or equal to 65535"),
        // The port is not part of the key: a receipt names each session once.
        set("/spec/sessions/-", json!({"serverIP": "fd00::1", "serverPort": 2882, "sessionID": 7}))
            .refused(r"spec.sessions[3]: Duplicate value"),
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

fn expectations() -> Vec<Case> {
    const EXPECT: &str = "/spec/sessions/0/expect";
    const NAME: &str = "spec.sessions[0].expect";
    let empty = "expect must have at least one field: leave it out to kill whatever session has the ID";
    let at = |field: &str| format!("{EXPECT}/{field}");
    let bad_address = "clientIP must be an IP address, such as 10.2.3.4 or fd00::1";
    let bad_statement = "sqlID must be hexadecimal digits, such as 45CCBDC7F1D2A0B34C5D6E7F8091A2B3";
    let bad_proxy_session = r#"proxySessionID must be digits in a string, such as "752113700739156671""#;
    let bad_trace = "traceID must be letters, digits and -, such as YB42AC11000A-000651C2B1A1B2C3-0-0";
    let bad_transaction = r#"transactionID must be digits in a string, such as "2713""#;
    let (seconds, port) = (at("minExecutionSeconds"), at("clientPort"));
    let mut cases = vec![
        without(EXPECT),
        set(EXPECT, json!({})).refused(format!("{NAME}: Invalid value")).refused(empty),
        set(EXPECT, "report_ro").refused(format!("{NAME} in body must be of type object")),
        set(EXPECT, json!({"user": "report_ro", "sqlText": "select 1"}))
            .refused(r#"unknown field "spec.sessions[].expect.sqlText""#),
        set("/spec/expect", expect()).refused(r#"unknown field "spec.expect""#),
        set(at("clientIP"), "FD00:0::1"),
        set(at("command"), "sleep"),
        set(at("state"), "Sleep"),
        set(at("state"), "SLEEP")
            .refused(format!(r#"{NAME}.state: Unsupported value: "SLEEP": supported values: "Active", "Sleep""#)),
        set(at("sqlID"), "45ccbdc7f1d2a0b34c5d6e7f8091a2b3"),
        set(at("proxySessionID"), "0"),
        set(at("proxySessionID"), u64::MAX.to_string()),
        set(at("proxySessionID"), 752_113_700_739_156_671_i64)
            .refused(format!("{NAME}.proxySessionID in body must be of type string")),
        set(&seconds, 1),
        set(&seconds, i32::MAX),
        set(&seconds, 0).refused(format!("{NAME}.minExecutionSeconds in body should be greater than or equal to 1")),
        set(&seconds, 2_147_483_648_i64)
            .refused(format!("{NAME}.minExecutionSeconds in body should be less than or equal to 2147483647")),
        set(&seconds, "5m").refused(format!("{NAME}.minExecutionSeconds in body must be of type integer")),
        set(&port, 1),
        set(&port, 65_535),
        set(&port, 0).refused(format!("{NAME}.clientPort in body should be greater than or equal to 1")),
        set(&port, 65_536).refused(format!("{NAME}.clientPort in body should be less than or equal to 65535")),
        set(at("transactionID"), 2713).refused(format!("{NAME}.transactionID in body must be of type string")),
        set(at("transaction"), "None"),
        set(at("transaction"), "open")
            .refused(format!(r#"{NAME}.transaction: Unsupported value: "open": supported values: "Open", "None""#)),
    ];
    for (field, value) in expect().as_object().unwrap() {
        cases.push(set(EXPECT, json!({field: value})));
        cases.push(without(at(field)));
        // Without the rule, a null alone would mean that nothing is expected.
        let alone = set(EXPECT, json!({field: null}));
        cases.push(if ["state", "transaction"].contains(&field.as_str()) {
            alone.refused(format!("{NAME}.{field}: Unsupported value"))
        } else {
            alone.refused(empty).refused(format!("{field} must not be null: give it a value, or leave it out"))
        });
    }
    for (field, least) in [
        ("user", 1),
        ("database", 1),
        ("clientIP", 2),
        ("command", 1),
        ("sqlID", 1),
        ("proxySessionID", 1),
        ("traceID", 1),
        ("transactionID", 1),
    ] {
        cases.push(set(at(field), "").refused(format!("{NAME}.{field} in body should be at least {least} chars long")));
    }
    for (field, limit) in [("user", 128), ("database", 128), ("command", 64), ("sqlID", 64), ("traceID", 64)] {
        cases.extend(longest(&at(field), &format!("{NAME}.{field}"), limit));
    }
    cases.push(set(at("clientIP"), "1".repeat(46)).refused(format!("{NAME}.clientIP: Too long")));
    for field in ["proxySessionID", "transactionID"] {
        cases.push(set(at(field), "1".repeat(20)));
        cases.push(set(at(field), "1".repeat(21)).refused(format!("{NAME}.{field}: Too long")));
    }
    for (field, refusal, bad) in [
        ("clientIP", bad_address, &["10.2.3.4:52110", "10.2.3.0/24", "app-1.internal", "10.2.3", "fe80::1%eth0"][..]),
        ("sqlID", bad_statement, &["select 1", "0x45", "45CC-BDC7", "45CC\n"]),
        ("proxySessionID", bad_proxy_session, &["-1", "7.5", "0x7", " 7", "7\n"]),
        ("traceID", bad_trace, &["YB42_0", "a b", "' OR 1=1", "YB42\n", "名"]),
        ("transactionID", bad_transaction, &["-1", "7.5", "0x7", " 7", "7\n"]),
    ] {
        cases.extend(bad.iter().map(|bad| set(at(field), *bad).refused(format!("{NAME}.{field}")).refused(refusal)));
    }
    cases
}

/// Changes of a new request that ends statements.
pub fn scopes() -> Vec<Case> {
    const SCOPE: &str = "/spec/scope";
    const EXPECT: &str = "/spec/sessions/0/expect";
    let any_statement = "scope Query needs expect.traceID or expect.sqlID for each session";
    let another = |expect: Value| json!({"serverIP": "fd00::1", "sessionID": 7, "expect": expect});
    vec![
        without(SCOPE),
        set(SCOPE, "Session").and(without(EXPECT)),
        set(SCOPE, "query").refused(r#"spec.scope: Unsupported value: "query": supported values: "Session", "Query""#),
        set(EXPECT, json!({"traceID": "YB42AC11000A-000651C2B1A1B2C3-0-0"})),
        set(EXPECT, json!({"sqlID": "45CCBDC7F1D2A0B34C5D6E7F8091A2B3"})),
        set(EXPECT, json!({"user": "report_ro"})).refused("spec.scope: Invalid value").refused(any_statement),
        without(EXPECT).refused(any_statement),
        set("/spec/sessions/-", another(json!({"sqlID": "45CC"}))),
        set("/spec/sessions/-", another(json!({"user": "report_ro"}))).refused(any_statement),
        set("/spec/sessions/-", json!({"serverIP": "fd00::1", "sessionID": 7})).refused(any_statement),
    ]
}

fn how_to_end_them() -> Vec<Case> {
    const VERIFICATION: &str = "/spec/verification";
    const POLICY: &str = "/spec/verification/policy";
    const TIMEOUT: &str = "/spec/verification/timeoutSeconds";
    vec![
        without("/spec/mode"),
        set("/spec/mode", "DryRun"),
        set("/spec/mode", "dryRun")
            .refused(r#"spec.mode: Unsupported value: "dryRun": supported values: "Kill", "DryRun""#),
        set("/spec/dryRun", true).refused(r#"unknown field "spec.dryRun""#),
        without(VERIFICATION),
        set(VERIFICATION, json!({})),
        set(VERIFICATION, "Required").refused("spec.verification in body must be of type object"),
        set(POLICY, "BestEffort"),
        set(POLICY, "None"),
        set(POLICY, "Never").refused(
            r#"spec.verification.policy: Unsupported value: "Never": supported values: "Required", "BestEffort", "None""#,
        ),
        set(TIMEOUT, 1),
        set(TIMEOUT, 300),
        set(TIMEOUT, 0).refused("spec.verification.timeoutSeconds in body should be greater than or equal to 1"),
        set(TIMEOUT, 301).refused("spec.verification.timeoutSeconds in body should be less than or equal to 300"),
        set(TIMEOUT, "60s").refused("spec.verification.timeoutSeconds in body must be of type integer"),
        set("/spec/verification/timeout", 60).refused(r#"unknown field "spec.verification.timeout""#),
    ]
}

fn times() -> Vec<Case> {
    const FIELDS: [(&str, &str); 2] =
        [("/spec/notBeforeTime", "notBeforeTime"), ("/spec/notAfterTime", "notAfterTime")];
    let not_after = FIELDS[1].0;
    let mut cases = vec![
        without(not_after).refused("spec.notAfterTime: Required value"),
        set(not_after, Value::Null).refused("spec.notAfterTime"),
        without("/spec/notBeforeTime"),
        set("/spec/notBeforeTime", "2026-10-05T09:29:59.999Z"),
        set("/spec/notBeforeTime", "2026-10-05T17:29:59+08:00"),
        set("/spec/notBeforeTime", "2026-10-05T09:30:00Z").refused("notBeforeTime must be earlier than notAfterTime"),
        set("/spec/notBeforeTime", "2026-10-05T09:00:01-01:00").refused("notBeforeTime must be earlier than"),
        // Compared as text, this time would be earlier.
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
        // The limit counts characters, not bytes.
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

/// Changes of a new request.
pub fn creations() -> Vec<Case> {
    [names_and_ids(), session_lists(), expectations(), how_to_end_them(), times(), the_rest()]
        .into_iter()
        .flatten()
        .collect()
}

/// Changes of a stored request.
pub fn updates() -> Vec<Case> {
    let immutable = |name: &str| format!("{name} is immutable: create a new SessionKill instead");
    vec![
        set("/spec/connectionRef/name", "other").refused(immutable("connectionRef")),
        set("/spec/connectionRef/kind", "ClusterOceanBaseConnection")
            .refused("spec.connectionRef: Invalid value")
            .refused(immutable("connectionRef")),
        // OceanBaseConnection is what is meant without it.
        without("/spec/connectionRef/kind"),
        set("/spec/instanceID", "other").refused(immutable("instanceID")),
        set("/spec/tenantID", "other").refused(immutable("tenantID")),
        set("/spec/mode", "DryRun").refused("spec.mode: Invalid value").refused(immutable("mode")),
        set("/spec/scope", "Query").refused("spec.scope: Invalid value").refused(immutable("scope")),
        // Session is what is meant without it.
        without("/spec/scope"),
        set("/spec/sessions/0/serverPort", 2882).refused(immutable("serverPort")),
        without("/spec/sessions/0/serverPort").refused(immutable("serverPort")),
        set("/spec/sessions/1/serverPort", 2881).refused(immutable("serverPort")),
        set("/spec/sessions/0/sessionID", 8).refused(immutable("sessions")),
        set("/spec/sessions/0/serverIP", "10.0.0.1").refused(immutable("sessions")),
        set("/spec/sessions/-", json!({"serverIP": "10.0.0.1", "sessionID": 1})).refused(immutable("sessions")),
        without("/spec/sessions/0").refused(immutable("sessions")),
        set("/spec/sessions/0/expect/user", "root")
            .refused("spec.sessions[0].expect: Invalid value")
            .refused(immutable("expect")),
        without("/spec/sessions/0/expect/minExecutionSeconds").refused(immutable("expect")),
        without("/spec/sessions/0/expect").refused(immutable("expect")),
        set("/spec/sessions/1/expect", json!({"user": "root"}))
            .refused("spec.sessions[1].expect: Invalid value")
            .refused(immutable("expect")),
        set("/spec/verification/policy", "None")
            .refused("spec.verification: Invalid value")
            .refused(immutable("verification")),
        set("/spec/verification/timeoutSeconds", 31).refused(immutable("verification")),
        // A removal would restore the default, which differs from the stored value.
        without("/spec/verification").refused(immutable("verification")),
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

/// Changes of a suspended request.
pub fn releases() -> Vec<Case> {
    let removed = "suspend must not be removed while it is true: set it to false to go on";
    vec![
        set("/spec/suspend", false),
        without("/spec/suspend").refused("spec.suspend: Invalid value").refused(removed),
        set("/spec/suspend", Value::Null).refused("spec.suspend: Invalid value").refused(removed),
        set("/spec/ttlSecondsAfterFinished", 0),
    ]
}

/// Additions to a request that was written without optional fields.
pub fn additions() -> Vec<Case> {
    let immutable = |name: &str| format!("{name} is immutable: create a new SessionKill instead");
    vec![
        set("/spec/notBeforeTime", "2026-10-05T08:30:00Z").refused(immutable("notBeforeTime")),
        set("/spec/reason", "afterthought").refused(immutable("reason")),
        set("/spec/sessions/0/expect", expect()).refused(immutable("expect")),
        set("/spec/mode", "DryRun").refused(immutable("mode")),
        set("/spec/scope", "Query").refused(immutable("scope")),
        set("/spec/verification", json!({"policy": "None"})).refused(immutable("verification")),
        // Writing the defaults explicitly is no change.
        set("/spec/mode", "Kill"),
        set("/spec/scope", "Session"),
        set("/spec/connectionRef/kind", "OceanBaseConnection"),
        set("/spec/connectionRef/kind", "ClusterOceanBaseConnection").refused(immutable("connectionRef")),
        set("/spec/verification", json!({"timeoutSeconds": 60})),
        without("/spec/mode").and(without("/spec/verification")),
        set("/spec/suspend", true),
        set("/spec/ttlSecondsAfterFinished", 60),
    ]
}

#[tokio::test]
async fn what_can_be_written_is_bounded_and_every_refusal_says_what_to_do() {
    let server = Server::in_namespace("requests-written").await;
    server.check_create(&valid(), &creations()).await;
    server.check_create(&of_statements(), &scopes()).await;
}

#[tokio::test]
async fn only_suspend_and_ttl_can_be_changed() {
    let server = Server::in_namespace("requests-changed").await;
    let stored = server.create(&valid()).await;
    server.check_update(&stored, &updates()).await;

    let mut short = valid();
    short["metadata"]["name"] = "short".into();
    for optional in ["mode", "scope", "notBeforeTime", "reason", "verification", "suspend", "ttlSecondsAfterFinished"] {
        short["spec"].as_object_mut().unwrap().remove(optional);
    }
    short["spec"]["sessions"][0].as_object_mut().unwrap().remove("expect");
    short["spec"]["connectionRef"].as_object_mut().unwrap().remove("kind");
    let stored = server.create(&short).await;
    server.check_update(&stored, &additions()).await;

    let mut dry = valid();
    dry["metadata"]["name"] = "dry".into();
    dry["spec"]["mode"] = "DryRun".into();
    let stored = server.create(&dry).await;
    let immutable = "mode is immutable: create a new SessionKill instead";
    let becomes_a_kill = [
        set("/spec/mode", "Kill").refused(immutable),
        without("/spec/mode").refused(immutable),
        set("/spec/mode", Value::Null).refused("spec.mode: Unsupported value"),
    ];
    server.check_update(&stored, &becomes_a_kill).await;

    // The receipt of a kill of sessions is another.
    let stored = server.create(&of_statements()).await;
    let immutable = "scope is immutable: create a new SessionKill instead";
    let ends_sessions = [
        set("/spec/scope", "Session").refused(immutable),
        without("/spec/scope").refused(immutable),
        set("/spec/scope", Value::Null).refused("spec.scope: Unsupported value"),
    ];
    server.check_update(&stored, &ends_sessions).await;
    // So is that of a request through the namespace's own connection of the same name.
    let immutable = "connectionRef is immutable: create a new SessionKill instead";
    let another_connection = [
        set("/spec/connectionRef/kind", "OceanBaseConnection").refused(immutable),
        without("/spec/connectionRef/kind").refused(immutable),
        set("/spec/connectionRef/kind", Value::Null).refused("spec.connectionRef.kind: Unsupported value"),
    ];
    server.check_update(&stored, &another_connection).await;

    let mut held = valid();
    held["metadata"]["name"] = "held".into();
    held["spec"]["suspend"] = true.into();
    let stored = server.create(&held).await;
    server.check_update(&stored, &releases()).await;
}

#[tokio::test]
async fn what_is_left_out_gets_the_documented_defaults() {
    let server = Server::in_namespace("requests-default").await;
    let all = json!({"policy": "BestEffort", "timeoutSeconds": 60});
    let required = json!({"policy": "Required", "timeoutSeconds": 60});
    let short = json!({"policy": "BestEffort", "timeoutSeconds": 5});
    for (name, given, expected) in [
        ("nothing", None, &all),
        ("empty", Some(json!({})), &all),
        ("policy", Some(json!({"policy": "Required"})), &required),
        ("timeout", Some(json!({"timeoutSeconds": 5})), &short),
    ] {
        let mut request = valid();
        request["metadata"]["name"] = name.into();
        for optional in ["mode", "scope", "verification", "suspend"] {
            request["spec"].as_object_mut().unwrap().remove(optional);
        }
        request["spec"]["connectionRef"].as_object_mut().unwrap().remove("kind");
        if let Some(given) = given {
            request["spec"]["verification"] = given;
        }
        let spec = &server.create(&request).await["spec"];
        assert_eq!(spec["verification"], *expected, "{name}");
        assert_eq!(spec["mode"], "Kill");
        // If it had a default, a removed field could not be recognized.
        assert_eq!(spec["suspend"], Value::Null);
        // An earlier operator would refuse every request that has the field.
        assert_eq!(spec["connectionRef"], json!({"name": "prod-ob"}));
        assert_eq!(spec["scope"], Value::Null, "requests of before it was there have the same receipt");
        assert_eq!(spec["sessions"], request["spec"]["sessions"], "nothing is expected that was not asked for");
    }
}

#[tokio::test]
async fn a_fresh_request_runs_at_once_and_was_observed_by_nobody() {
    let server = Server::in_namespace("requests-fresh").await;
    let mut short = valid();
    short["spec"].as_object_mut().unwrap().remove("suspend");
    // Users cannot write the status, even when they create the object.
    short["status"] = json!({"observedGeneration": 1, "completionTime": "2026-10-05T09:00:00Z"});
    let stored = server.create(&short).await;
    assert_eq!(stored["spec"]["suspend"], Value::Null);
    assert_eq!(stored["status"], json!({"observedGeneration": -1}));
}
