//! The connection: bounds, choices and defaults.

use serde_json::{Value, json};

use crate::{
    cases::{Case, Server, longest, set, without},
    session_kill_status::condition_bounds,
};

/// A connection with every field set.
pub fn valid() -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "OceanBaseConnection",
        "metadata": {"name": "prod-ob"},
        "spec": {
            "regionID": "cn-hangzhou",
            "network": "VPC",
            "endpoint": "oceanbasepro.cn-hangzhou.aliyuncs.com",
            "instanceIDs": ["ob317v4uif0000"],
            "tenantIDs": ["t4louaeei0000"],
            "killOperation": "BatchKillProcessList",
            "sqlText": "Digest",
            "signatureMethod": "HMAC-SHA1",
            "requestTimeoutSeconds": 20,
            "credentials": {"secretRef": {"name": "aliyun-ak"}},
        },
    })
}

fn where_to_call() -> Vec<Case> {
    const REGION: &str = "/spec/regionID";
    const ENDPOINT: &str = "/spec/endpoint";
    let bad_region = "regionID must be the ID of a region, such as cn-hangzhou, ap-southeast-1 or cn-north-2-gov-1";
    let by_v3 = || set("/spec/signatureMethod", "ACS3-HMAC-SHA256");
    let bad_endpoint =
        "endpoint must be a lower-case host name with an optional port and no path, such as oceanbasepro.cn-h";
    let mut cases = vec![
        without("/spec").refused("spec: Required value"),
        without(REGION).refused("spec.regionID: Required value"),
        set(REGION, "").refused("spec.regionID in body should be at least 1 chars long"),
        set("/spec/network", "Public"),
        set("/spec/network", "public")
            .refused(r#"spec.network: Unsupported value: "public": supported values: "Public", "VPC""#),
        without(ENDPOINT).and(by_v3()),
        without(ENDPOINT)
            .refused("signatureMethod HMAC-SHA1 is for private-cloud gateways: name the gateway by endpoint"),
        set(ENDPOINT, "").refused("spec.endpoint in body should be at least 1 chars long"),
        set("/spec/region", "cn-hangzhou").refused(r#"unknown field "spec.region""#),
    ];
    for good in [
        "cn-qingdao",
        "cn-hongkong",
        "ap-southeast-1",
        "eu-central-1",
        "us-west-1",
        "me-east-1",
        "na-south-1",
        "cn-hangzhou-finance",
        "cn-shanghai-finance-1",
        "cn-north-2-gov-1",
        "cn-heyuan-acdr-1",
        "cn-wuhan-lr",
        "cn-zhengzhou-jva",
    ] {
        cases.push(set(REGION, good));
    }
    // A host in the region would make the endpoint somebody else's, and so would another product's label.
    for bad in [
        "cn-hangzhou.evil.com/",
        "cn-hangzhou.",
        "CN-Hangzhou",
        "cn_hangzhou",
        "-cn",
        "cn",
        "cn--x",
        "cn-hangzhou@x",
        "cn-hangzhou\n",
        "oss-cn-hangzhou",
        "oss-accelerate",
        "img-cn-hangzhou",
        "cn-hangzhou-internal",
        "cn-hangzhou-1-2",
        "rds",
    ] {
        cases.push(set(REGION, bad).refused("spec.regionID: Invalid value").refused(bad_region));
    }
    for good in ["gateway.internal:8443", "http://127.0.0.1:8080", "https://10.0.0.1", "[fd00::1]:8443", "a"] {
        cases.push(set(ENDPOINT, good));
    }
    for bad in [
        "ftp://host",
        "host/path",
        "host?x",
        "user@host",
        "Host",
        "host:",
        "host:123456",
        "fd00::1",
        "http://",
        ".host",
        "host name",
        "host\n",
    ] {
        cases.push(set(ENDPOINT, bad).refused("spec.endpoint: Invalid value").refused(bad_endpoint));
    }
    cases.extend([
        set(REGION, format!("cn-{}", "a".repeat(61))),
        set(REGION, format!("cn-{}", "a".repeat(62))).refused("spec.regionID: Too long: may not be more than 64 bytes"),
    ]);
    cases.extend(longest(ENDPOINT, "spec.endpoint", 253));
    cases
}

fn what_may_be_named() -> Vec<Case> {
    let many = |count: usize| (0..count).map(|n| json!(format!("ob{n}"))).collect::<Value>();
    let mut cases = vec![];
    for (list, first, more, name) in [
        ("/spec/instanceIDs", "/spec/instanceIDs/0", "/spec/instanceIDs/-", "spec.instanceIDs"),
        ("/spec/tenantIDs", "/spec/tenantIDs/0", "/spec/tenantIDs/-", "spec.tenantIDs"),
    ] {
        let present = valid().pointer(first).unwrap().clone();
        cases.extend([
            without(list),
            set(list, json!([])),
            set(list, many(256)),
            set(list, many(257)).refused(format!("{name}: Too many: 257: must have at most 256 items")),
            set(more, "another"),
            set(more, present),
            set(first, "").refused(format!("{name}[0] in body should be at least 1 chars long")),
        ]);
        // None would ever be the ID of a request.
        let bad_ids = format!("{} must be lower-case letters, digits, - and _ only", name.trim_start_matches("spec."));
        for bad in ["ob1 ", " ob1", "ob 1", "OB1", "ob1\n", "-ob", "ob*", "租户"] {
            cases.push(set(first, bad).refused(name).refused(&bad_ids));
            cases.push(set(more, bad).refused(name).refused(&bad_ids));
        }
        cases.extend(longest(first, &format!("{name}[0]"), 64));
    }
    cases
}

fn how_to_call() -> Vec<Case> {
    const TIMEOUT: &str = "/spec/requestTimeoutSeconds";
    const SECRET: &str = "/spec/credentials/secretRef/name";
    let bad_secret = "secretRef.name must be the name of a Secret: lower-case letters, digits, - and .";
    let mut cases = vec![
        set("/spec/killOperation", "Auto"),
        set("/spec/killOperation", "KillProcessList"),
        set("/spec/killOperation", "KillSession").refused(
            r#"spec.killOperation: Unsupported value: "KillSession": supported values: "Auto", "KillProcessList", "BatchKillProcessList""#,
        ),
        set("/spec/sqlText", "Truncated"),
        set("/spec/sqlText", "None"),
        set("/spec/sqlText", "Full").refused(
            r#"spec.sqlText: Unsupported value: "Full": supported values: "Digest", "Truncated", "None""#,
        ),
        set("/spec/signatureMethod", "ACS3-HMAC-SHA256"),
        set("/spec/signatureMethod", "HMAC-MD5").refused(
            r#"spec.signatureMethod: Unsupported value: "HMAC-MD5": supported values: "ACS3-HMAC-SHA256", "HMAC-SHA1""#,
        ),
        set(TIMEOUT, 1),
        set(TIMEOUT, 60),
        set(TIMEOUT, 0).refused("spec.requestTimeoutSeconds in body should be greater than or equal to 1"),
        set(TIMEOUT, 61).refused("spec.requestTimeoutSeconds in body should be less than or equal to 60"),
        set(TIMEOUT, "10s").refused("spec.requestTimeoutSeconds in body must be of type integer"),
        without("/spec/credentials").refused("spec.credentials: Required value"),
        without("/spec/credentials/secretRef").refused("spec.credentials.secretRef: Required value"),
        without(SECRET).refused("spec.credentials.secretRef.name: Required value"),
        set(SECRET, "").refused("spec.credentials.secretRef.name in body should be at least 1 chars long"),
        set(SECRET, "../other").refused(bad_secret),
        set(SECRET, "Aliyun").refused(bad_secret),
        set("/spec/credentials/secretRef/namespace", "other")
            .refused(r#"unknown field "spec.credentials.secretRef.namespace""#),
        set("/spec/credentials/accessKeySecret", "x").refused(r#"unknown field "spec.credentials.accessKeySecret""#),
    ];
    cases.extend(longest(SECRET, "spec.credentials.secretRef.name", 253));
    // What is the ID and what the secret, the Secret says itself.
    for key in ["accessKeyIDKey", "accessKeySecretKey", "securityTokenKey"] {
        let unknown = format!(r#"unknown field "spec.credentials.secretRef.{key}""#);
        cases.push(set(format!("/spec/credentials/secretRef/{key}"), "accessKeySecret").refused(unknown));
    }
    cases
}

/// What can be written.
pub fn creations() -> Vec<Case> {
    [where_to_call(), what_may_be_named(), how_to_call()].into_iter().flatten().collect()
}

/// What can be changed.
pub fn updates() -> Vec<Case> {
    let another = json!({
        "regionID": "cn-beijing", "instanceIDs": [], "tenantIDs": [], "credentials": {"secretRef": {"name": "other"}},
    });
    let removed = |list: &str| {
        [format!("spec.{list}: Invalid value"), format!("{list} must not be removed: set it to [] to let")]
    };
    let mut cases = vec![set("/spec", another)];
    for list in ["instanceIDs", "tenantIDs"] {
        let field = format!("/spec/{list}");
        cases.push(set(&field, json!(["another"])));
        cases.push(set(&field, json!([])));
        for removal in [without(&field), set(&field, Value::Null)] {
            cases.push(removed(list).into_iter().fold(removal, Case::refused));
        }
    }
    cases
}

/// What the status can say.
pub fn status_changes() -> Vec<Case> {
    let mut cases = vec![
        set("/status/operation", "BatchKillProcessList"),
        // Auto is what is asked for, never what is in use.
        set("/status/operation", "Auto").refused(
            r#"status.operation: Unsupported value: "Auto": supported values: "KillProcessList", "BatchKillProcessList""#,
        ),
        set("/status/lastProbeTime", "2026-10-05T09:10:00Z"),
        set("/status/lastProbeTime", "now").refused("lastProbeTime in body must be of type date-time"),
        without("/status/operation").and(without("/status/lastProbeTime")),
        set("/status/phase", "Ready").refused(r#"unknown field "status.phase""#),
        without("/status"),
    ];
    cases.extend(condition_bounds());
    cases
}

/// A connection's status with every field set.
pub fn probed() -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "CallAnswered", "message": "m",
            "lastTransitionTime": "2026-10-05T09:10:02Z", "observedGeneration": 1,
        })
    };
    json!({
        "observedGeneration": 1,
        "operation": "KillProcessList",
        "lastProbeTime": "2026-10-05T09:09:59Z",
        "conditions": [condition("CredentialsValid"), condition("Ready")],
    })
}

#[tokio::test]
async fn what_can_be_written_is_bounded_and_every_refusal_says_what_to_do() {
    let server = Server::in_namespace("connections-written").await;
    server.check_create(&valid(), &creations()).await;
}

#[tokio::test]
async fn the_shortest_connection_gets_the_documented_defaults() {
    let server = Server::in_namespace("connections-default").await;
    let mut short = valid();
    short["spec"] = json!({"regionID": "cn-hangzhou", "credentials": {"secretRef": {"name": "aliyun-ak"}}});
    let expected = json!({
        "regionID": "cn-hangzhou",
        "network": "Public",
        "killOperation": "Auto",
        "sqlText": "Digest",
        "signatureMethod": "ACS3-HMAC-SHA256",
        "requestTimeoutSeconds": 10,
        "credentials": {"secretRef": {"name": "aliyun-ak"}},
    });
    assert_eq!(server.create(&short).await["spec"], expected);
}

#[tokio::test]
async fn the_whole_spec_can_be_changed_and_the_status_is_bounded() {
    let server = Server::in_namespace("connections-changed").await;
    let mut stored = server.create(&valid()).await;
    server.check_update(&stored, &updates()).await;
    // A list that is emptied by who applied it is there, and says that any may be named.
    let mut applied = valid();
    applied["metadata"]["name"] = "applied".into();
    server.apply_for_good(&applied).await;
    applied["spec"]["tenantIDs"] = json!([]);
    assert_eq!(server.apply_for_good(&applied).await["spec"]["tenantIDs"], json!([]));
    stored["status"] = probed();
    let stored = server.store_status(&stored).await;
    assert_eq!(stored["status"], probed());
    server.check_status(&stored, &status_changes()).await;
}
