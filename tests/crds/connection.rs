//! The connection: bounds, enums and defaults.

use serde_json::{Value, json};

use crate::{
    cases::{Case, Server, longest, set, without},
    credentials,
    session_kill_status::condition_bounds,
};

/// A connection with every field set.
pub fn valid() -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "OceanBaseConnection",
        "metadata": {"name": "prod-ob"},
        "spec": {
            "alibabaCloud": {
                "regionID": "cn-hangzhou",
                "network": "VPC",
                "endpoint": "oceanbasepro.cn-hangzhou.aliyuncs.com",
                "instanceIDs": ["ob317v4uif0000"],
                "killOperation": "BatchKillProcessList",
                "signatureMethod": "HMAC-SHA1",
                "credentials": credentials::of("secretRef", "serviceAccountRef"),
            },
            "tenantIDs": ["t4louaeei0000"],
            "sqlText": "Digest",
            "requestTimeoutSeconds": 20,
        },
    })
}

/// The error for a spec without a backend.
const NO_BACKEND: &str = "spec.alibabaCloud or spec.sql is required: move regionID, network, endpoint, killOperation, \
                          signatureMethod, instanceIDs and credentials below alibabaCloud";

/// The spec of the valid connection in its earlier form, without a choice of backends.
fn before_backends() -> Value {
    let mut spec = valid()["spec"].take();
    let mut alibaba_cloud = spec["alibabaCloud"].take();
    spec.as_object_mut().unwrap().remove("alibabaCloud");
    spec.as_object_mut().unwrap().append(alibaba_cloud.as_object_mut().unwrap());
    spec
}

fn which_backend() -> Vec<Case> {
    let beside = |field: &str, value: Value| {
        let unknown = format!(r#"unknown field "spec.{field}": there may be alibabaCloud"#);
        set(format!("/spec/{field}"), value).refused(unknown)
    };
    vec![
        without("/spec").refused("spec: Required value"),
        without("/spec/alibabaCloud").refused("spec.alibabaCloud: Invalid value").refused(NO_BACKEND),
        set("/spec", json!({})).refused(NO_BACKEND),
        set("/spec", before_backends()).refused(NO_BACKEND),
        set("/spec/alibabaCloud", json!({})).refused("spec.alibabaCloud.regionID: Required value"),
        set("/spec/oceanBase", json!({})).refused(r#"unknown field "spec.oceanBase""#),
        // Only some of the fields are moved.
        beside("regionID", json!("cn-hangzhou")),
        beside("instanceIDs", json!(["ob317v4uif0000"])),
        beside("credentials", json!({"secretRef": {"name": "aliyun-ak"}})),
    ]
}

fn where_to_call() -> Vec<Case> {
    const REGION: &str = "/spec/alibabaCloud/regionID";
    const ENDPOINT: &str = "/spec/alibabaCloud/endpoint";
    let bad_region = "regionID must be the ID of a region, such as cn-hangzhou, ap-southeast-1 or cn-north-2-gov-1";
    let by_v3 = || set("/spec/alibabaCloud/signatureMethod", "ACS3-HMAC-SHA256");
    let bad_endpoint =
        "endpoint must be a lower-case host name with an optional port and no path, such as oceanbasepro.cn-h";
    let mut cases = vec![
        without(REGION).refused("spec.alibabaCloud.regionID: Required value"),
        set(REGION, "").refused("spec.alibabaCloud.regionID in body should be at least 1 chars long"),
        set("/spec/alibabaCloud/network", "Public"),
        set("/spec/alibabaCloud/network", "public")
            .refused(r#"spec.alibabaCloud.network: Unsupported value: "public": supported values: "Public", "VPC""#),
        without(ENDPOINT).and(by_v3()),
        without(ENDPOINT)
            .refused("signatureMethod HMAC-SHA1 is for private-cloud gateways: name the gateway by endpoint"),
        set(ENDPOINT, "").refused("spec.alibabaCloud.endpoint in body should be at least 1 chars long"),
        set("/spec/alibabaCloud/region", "cn-hangzhou")
            .refused(r#"unknown field "spec.alibabaCloud.region": did you mean "regionID"?"#),
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
    // A path or another domain would make the endpoint a host of somebody else, and so would the host name of another
    // product.
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
        cases.push(set(REGION, bad).refused("spec.alibabaCloud.regionID: Invalid value").refused(bad_region));
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
        cases.push(set(ENDPOINT, bad).refused("spec.alibabaCloud.endpoint: Invalid value").refused(bad_endpoint));
    }
    cases.extend([
        set(REGION, format!("cn-{}", "a".repeat(61))),
        set(REGION, format!("cn-{}", "a".repeat(62)))
            .refused("spec.alibabaCloud.regionID: Too long: may not be more than 64 bytes"),
    ]);
    cases.extend(longest(ENDPOINT, "spec.alibabaCloud.endpoint", 253));
    cases
}

fn what_may_be_named() -> Vec<Case> {
    let many = |count: usize| (0..count).map(|n| json!(format!("ob{n}"))).collect::<Value>();
    let mut cases = vec![];
    for (list, name) in
        [("/spec/alibabaCloud/instanceIDs", "spec.alibabaCloud.instanceIDs"), ("/spec/tenantIDs", "spec.tenantIDs")]
    {
        let (first, more) = (&format!("{list}/0"), &format!("{list}/-"));
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
        // None of these can be the ID in a request.
        let field = name.rsplit('.').next().unwrap();
        let bad_ids = format!("{field} must be lower-case letters, digits, - and _ only");
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
    const SECRET: &str = "/spec/alibabaCloud/credentials/secretRef/name";
    let bad_secret = "secretRef.name must be the name of a Secret: lower-case letters, digits, - and .";
    let mut cases = vec![
        set("/spec/alibabaCloud/killOperation", "Auto"),
        set("/spec/alibabaCloud/killOperation", "KillProcessList"),
        set("/spec/alibabaCloud/killOperation", "KillSession").refused(
            r#"spec.alibabaCloud.killOperation: Unsupported value: "KillSession": supported values: "Auto", "KillProcessList", "BatchKillProcessList""#,
        ),
        set("/spec/sqlText", "Truncated"),
        set("/spec/sqlText", "None"),
        set("/spec/sqlText", "Full").refused(
            r#"spec.sqlText: Unsupported value: "Full": supported values: "Digest", "Truncated", "None""#,
        ),
        set("/spec/alibabaCloud/signatureMethod", "ACS3-HMAC-SHA256"),
        set("/spec/alibabaCloud/signatureMethod", "HMAC-MD5").refused(
            r#"spec.alibabaCloud.signatureMethod: Unsupported value: "HMAC-MD5": supported values: "ACS3-HMAC-SHA256", "HMAC-SHA1""#,
        ),
        set(TIMEOUT, 1),
        set(TIMEOUT, 60),
        set(TIMEOUT, 0).refused("spec.requestTimeoutSeconds in body should be greater than or equal to 1"),
        set(TIMEOUT, 61).refused("spec.requestTimeoutSeconds in body should be less than or equal to 60"),
        set(TIMEOUT, "10s").refused("spec.requestTimeoutSeconds in body must be of type integer"),
        without("/spec/alibabaCloud/credentials").refused("spec.alibabaCloud.credentials: Required value"),
        without("/spec/alibabaCloud/credentials/secretRef").refused("spec.alibabaCloud.credentials: Invalid value"),
        without(SECRET).refused("spec.alibabaCloud.credentials.secretRef.name: Required value"),
        set(SECRET, "").refused("spec.alibabaCloud.credentials.secretRef.name in body should be at least 1 chars long"),
        set(SECRET, "../other").refused(bad_secret),
        set(SECRET, "Aliyun").refused(bad_secret),
        set("/spec/alibabaCloud/credentials/secretRef/namespace", "other")
            .refused(r#"unknown field "spec.alibabaCloud.credentials.secretRef.namespace""#),
        set("/spec/alibabaCloud/credentials/accessKeySecret", "x").refused(r#"unknown field "spec.alibabaCloud.credentials.accessKeySecret""#),
    ];
    cases.extend(longest(SECRET, "spec.alibabaCloud.credentials.secretRef.name", 253));
    // The Secret itself says which of its keys is the ID and which is the secret.
    for key in ["accessKeyIDKey", "accessKeySecretKey", "securityTokenKey"] {
        let unknown = format!(r#"unknown field "spec.alibabaCloud.credentials.secretRef.{key}""#);
        cases.push(set(format!("/spec/alibabaCloud/credentials/secretRef/{key}"), "accessKeySecret").refused(unknown));
    }
    cases
}

/// Changes of a new connection.
pub fn creations() -> Vec<Case> {
    [which_backend(), where_to_call(), what_may_be_named(), how_to_call(), credentials::creations()]
        .into_iter()
        .flatten()
        .collect()
}

/// Changes of a stored connection.
pub fn updates() -> Vec<Case> {
    let credentials = json!({"secretRef": {"name": "other"}});
    let another = json!({
        "alibabaCloud": {"regionID": "cn-beijing", "instanceIDs": [], "credentials": credentials}, "tenantIDs": [],
    });
    let without_lists = json!({"alibabaCloud": {"regionID": "cn-beijing", "credentials": credentials}});
    let removed = |list: &str| {
        let field = list.rsplit('.').next().unwrap();
        [format!("spec.{list}: Invalid value"), format!("{field} must not be removed: set it to [] to let")]
    };
    let mut cases = vec![
        set("/spec", another),
        set("/spec", before_backends()).refused(NO_BACKEND),
        without("/spec/alibabaCloud").refused(NO_BACKEND),
    ];
    cases.extend(credentials::updates());
    let both = ["alibabaCloud.instanceIDs", "tenantIDs"].into_iter().flat_map(removed);
    cases.push(both.fold(set("/spec", without_lists), Case::refused));
    for list in ["alibabaCloud.instanceIDs", "tenantIDs"] {
        let field = format!("/spec/{}", list.replace('.', "/"));
        cases.push(set(&field, json!(["another"])));
        cases.push(set(&field, json!([])));
        for removal in [without(&field), set(&field, Value::Null)] {
            cases.push(removed(list).into_iter().fold(removal, Case::refused));
        }
    }
    cases
}

/// Changes of the status.
pub fn status_changes() -> Vec<Case> {
    let mut cases = vec![
        set("/status/backend", "OceanBase")
            .refused(r#"status.backend: Unsupported value: "OceanBase": supported values: "AlibabaCloud", "SQL""#),
        set("/status/backend", "SQL").and(set("/status/operation", "Kill")),
        without("/status/backend"),
        set("/status/operation", "BatchKillProcessList"),
        // `Auto` is a setting and never the operation in use.
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

/// The status of a connection, with every field set.
pub fn probed() -> Value {
    let condition = |kind: &str| {
        json!({
            "type": kind, "status": "True", "reason": "CallAnswered", "message": "m",
            "lastTransitionTime": "2026-10-05T09:10:02Z", "observedGeneration": 1,
        })
    };
    json!({
        "observedGeneration": 1,
        "backend": "AlibabaCloud",
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
    let credentials = json!({"secretRef": {"name": "aliyun-ak"}});
    short["spec"] = json!({"alibabaCloud": {"regionID": "cn-hangzhou", "credentials": credentials}});
    let expected = json!({
        "alibabaCloud": {
            "regionID": "cn-hangzhou",
            "network": "Public",
            "killOperation": "Auto",
            "signatureMethod": "ACS3-HMAC-SHA256",
            "credentials": credentials,
        },
        "sqlText": "Digest",
        "requestTimeoutSeconds": 10,
    });
    assert_eq!(server.create(&short).await["spec"], expected);
}

#[tokio::test]
async fn the_whole_spec_can_be_changed_and_the_status_is_bounded() {
    let server = Server::in_namespace("connections-changed").await;
    let mut stored = server.create(&valid()).await;
    server.check_update(&stored, &updates()).await;
    // If the owner of the list empties it, the list stays and allows any tenant.
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

/// With every field validation and every way of writing.
#[tokio::test]
async fn a_connection_of_the_form_before_backends_is_refused_and_told_where_its_fields_go() {
    let server = Server::in_namespace("connections-before").await;
    let mut old = valid();
    old["spec"] = before_backends();
    for validation in ["Ignore", "Warn", "Strict"] {
        let server = server.validating(validation);
        server.check_create(&valid(), &[set("/spec", before_backends()).refused(NO_BACKEND)]).await;
        let refusal = server.apply(&old).await.unwrap_err();
        assert!(refusal.contains(NO_BACKEND), "{validation}: {refusal}");
    }
    // Over a stored connection, as `kubectl edit` or a tool writes it.
    let stored = server.create(&valid()).await;
    let refusal = server.merge(&stored, &json!({"spec": {"regionID": "cn-beijing"}})).await.unwrap_err();
    assert!(refusal.contains(r#"unknown field "spec.regionID": there may be alibabaCloud"#), "{refusal}");
}
