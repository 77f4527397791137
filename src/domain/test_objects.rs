//! The objects that the tests of this folder start from.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::api::{OceanBaseConnection, SessionKill};

/// A time of the one day on which all tests play.
pub(crate) fn time(clock: &str) -> Timestamp {
    format!("2026-10-05T{clock}Z").parse().unwrap()
}

/// A fresh request for two sessions, created at 09:59:00, not after 10:30:00.
pub(crate) fn request() -> SessionKill {
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

/// A connection without allow-lists.
pub(crate) fn connection() -> OceanBaseConnection {
    serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "OceanBaseConnection",
        "metadata": {"name": "prod-ob", "namespace": "dba"},
        "spec": {"regionID": "cn-hangzhou", "credentials": {"secretRef": {"name": "aliyun-ak"}}},
    }))
    .unwrap()
}
