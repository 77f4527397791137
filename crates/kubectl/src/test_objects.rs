//! Requests for tests.

use serde_json::{Value, json};
use sessionkill_api::SessionKill;

/// A request that ended so.
pub fn ended(outcome: &str, sessions: Vec<Value>) -> SessionKill {
    request(outcome, "False", Some("2026-10-05T09:10:00Z"), sessions)
}

/// A request with this summary.
#[allow(clippy::needless_pass_by_value, reason = "shorter where it is called")]
pub fn request(reason: &str, succeeded: &str, completed: Option<&str>, sessions: Vec<Value>) -> SessionKill {
    serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill",
        "metadata": {"name": "inc-4711", "namespace": "shop", "creationTimestamp": "2026-10-05T09:00:00Z"},
        "spec": {
            "connectionRef": {"name": "prod-ob"}, "instanceID": "ob317v4uif0000", "tenantID": "t4louaeei0000",
            "sessions": [{"serverIP": "192.168.13.119", "sessionID": 3_221_614_618_i64}],
            "notAfterTime": "2026-10-05T09:30:00Z", "reason": "INC-4711",
        },
        "status": {
            "observedGeneration": 1, "completionTime": completed, "startTime": "2026-10-05T09:00:01Z",
            "sessions": sessions,
            "conditions": [{
                "type": "Succeeded", "status": succeeded, "reason": reason, "message": format!("says {reason}"),
                "lastTransitionTime": "2026-10-05T09:10:00Z",
            }],
        },
    }))
    .unwrap()
}

/// A session's outcome.
pub fn session(outcome: &str, reason: &str) -> Value {
    json!({"serverIP": "192.168.13.119", "sessionID": 3_221_614_618_i64, "outcome": outcome, "reason": reason})
}
