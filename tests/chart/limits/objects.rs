//! The objects of these tests: small, at a limit, and over it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::user_roles::request;

/// A request for the next hour.
pub fn kill(name: &str, metadata: Value) -> Value {
    let not_after = in_future(SignedDuration::from_hours(1));
    with(request(name, "prod-ob", json!({"notAfterTime": not_after})), metadata)
}

/// A connection.
pub fn connection(name: &str, metadata: Value) -> Value {
    let object = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": name},
        "spec": {"alibabaCloud": {"regionID": "cn-hangzhou", "credentials": {"secretRef": {"name": "aliyun-ak"}}}},
    });
    with(object, metadata)
}

/// A connection of no namespace.
pub fn cluster_connection(name: &str, metadata: Value) -> Value {
    let mut object = connection(name, metadata);
    object["kind"] = "ClusterOceanBaseConnection".into();
    object
}

/// A request whose `notAfterTime` is `life` from now.
pub fn long_lived(life: SignedDuration) -> Value {
    request("long", "prod-ob", json!({"notAfterTime": in_future(life)}))
}

fn with(mut object: Value, metadata: Value) -> Value {
    if let Value::Object(metadata) = metadata {
        object["metadata"].as_object_mut().unwrap().extend(metadata);
    }
    object
}

/// The time `duration` from now, in the format of a request.
pub fn in_future(duration: SignedDuration) -> String {
    (Timestamp::now() + duration).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `count` labels or annotations.
pub fn numbered(count: usize) -> Map<String, Value> {
    (0..count).map(|number| (format!("n{number}"), json!(""))).collect()
}

/// `count` finalizers.
pub fn finalizers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("example.com/f{number}")).collect()
}

/// An owner reference with this name.
pub fn owner(number: usize, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": number.to_string()})
}

/// `count` owner references.
pub fn owners(count: usize) -> Vec<Value> {
    (0..count).map(|number| owner(number, "a")).collect()
}

/// A field manager's entry with `count` fields. They need not exist.
pub fn fields(count: usize) -> Value {
    let claimed: Map<_, _> = (0..count).map(|number| (format!("f:n{number}"), json!({}))).collect();
    json!({
        "manager": "m", "operation": "Apply", "apiVersion": "sessionkill.dev/v1alpha1",
        "time": "2026-10-05T09:30:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": claimed},
    })
}

/// The same for the status subresource.
pub fn fields_of_status(count: usize) -> Value {
    let mut fields = fields(count);
    fields["subresource"] = "status".into();
    fields
}

/// The most sessions that a request may have, each with all fields of `expect` at their usual length.
pub fn usual_sessions() -> Vec<Value> {
    let session = |number: u64| {
        json!({
            "serverIP": format!("192.168.13.{number}"), "serverPort": 2881, "sessionID": 3_221_487_617 + number,
            "expect": {
                "user": "reporting_read_only_user", "database": "orders_and_deliveries_2026", "clientIP": "10.200.113.221",
                "command": "Query", "state": "Active", "sqlID": "45CCBDC7F1D2A0B34C5D6E7F8091A2B3",
                "proxySessionID": "752113700739156671", "minExecutionSeconds": 3600, "clientPort": 52_110,
                "traceID": "YB42AC11000A-000651C2B1A1B2C3-0-0", "transactionID": "271300", "transaction": "Open",
            },
        })
    };
    (1..=100).map(session).collect()
}

/// The same with the longest values that are allowed.
pub fn longest_sessions() -> Vec<Value> {
    let address = |number: u64| format!("2001:db8:1111:2222:3333:4444:5555:{:x}", 0x1000 + number);
    let session = |number: u64| {
        json!({
            "serverIP": address(number), "serverPort": 65_535, "sessionID": 9_007_199_254_740_000 + number,
            "expect": {
                "user": "u".repeat(128), "database": "d".repeat(128), "clientIP": address(0), "command": "c".repeat(64),
                "state": "Active", "sqlID": "A".repeat(64), "proxySessionID": "9".repeat(20),
                "minExecutionSeconds": 2_147_483_647, "clientPort": 65_535, "traceID": "Y".repeat(64),
                "transactionID": "9".repeat(20), "transaction": "Open",
            },
        })
    };
    (1..=100).map(session).collect()
}

/// The path of the only field in `metadata`.
pub fn field(metadata: &Value) -> String {
    format!("metadata.{}", metadata.as_object().unwrap().keys().next().unwrap())
}
