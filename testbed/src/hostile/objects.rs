//! The attackers' objects, as JSON. The attack adds what is unusual about them.

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::victim::Victim;
use crate::gateway::GatewayOptions;

/// The connection of an attacker that needs only one.
pub(super) const CONNECTION: &str = "own";
/// The Secret that connections name.
pub(super) const SECRET: &str = "aliyun-ak";
const SERVER: &str = "192.168.13.119";
/// Far above the session IDs of the victim.
const FIRST_SESSION: u32 = 2_000_000_000;

/// A Secret with the access key of all gateways.
pub(super) fn secret() -> Value {
    let key = &GatewayOptions::default().access_keys[0];
    secret_of(SECRET, key.secret.expose_secret())
}

/// A Secret with this access key.
pub(super) fn secret_of(name: &str, access_key_secret: &str) -> Value {
    let id = &GatewayOptions::default().access_keys[0].id;
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {"sessionkill.dev/credentials": "true"}},
        "stringData": {"accessKeyID": id, "accessKeySecret": access_key_secret},
    })
}

/// A connection to `endpoint`, with the longest permitted time-out.
pub(super) fn connection(name: &str, endpoint: &str) -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "OceanBaseConnection",
        "metadata": {"name": name},
        "spec": {
            "alibabaCloud": {
                "regionID": "cn-hangzhou",
                "endpoint": endpoint,
                "credentials": {"secretRef": {"name": SECRET}},
            },
            "requestTimeoutSeconds": 60,
        },
    })
}

/// A kill of one session, within an hour. Each `number` has its own session.
pub(super) fn kill(victim: &Victim, name: &str, connection: &str, tenant: &str, number: u32) -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "SessionKill",
        "metadata": {"name": name},
        "spec": {
            "connectionRef": {"name": connection},
            "instanceID": victim.instance,
            "tenantID": tenant,
            "sessions": [{"serverIP": SERVER, "sessionID": FIRST_SESSION + number}],
            "notAfterTime": Timestamp::now() + SignedDuration::from_hours(1),
        },
    })
}

/// The same as a dry run.
pub(super) fn dry_run(victim: &Victim, name: &str, connection: &str, tenant: &str, number: u32) -> Value {
    let mut object = kill(victim, name, connection, tenant, number);
    object["spec"]["mode"] = "DryRun".into();
    object
}

/// This number of sessions, for `spec.sessions`.
pub(super) fn sessions(first: u32, count: u32) -> Value {
    (first..first + count).map(|id| json!({"serverIP": SERVER, "sessionID": FIRST_SESSION + id})).collect()
}
