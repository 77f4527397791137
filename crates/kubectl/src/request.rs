//! What the status of a `SessionKill` says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};
use sessionkill_api::{Outcome, SessionKill};

/// The summary of a request, or nothing before an operator has seen it.
pub fn succeeded(request: &SessionKill) -> Option<&Condition> {
    request.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == "Succeeded")
}

/// Whether the request has ended, with any outcome.
pub fn is_ended(request: &SessionKill) -> bool {
    request.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

/// How the request ended: nothing while it has not, or if this client does not know the outcome.
pub fn ended_with(request: &SessionKill) -> Option<Outcome> {
    if !is_ended(request) {
        return None;
    }
    let reason: StrDeserializer<'_, Error> = succeeded(request)?.reason.as_str().into_deserializer();
    Outcome::deserialize(reason).ok()
}

/// The reason and the message of the summary; empty before an operator has seen the request.
pub fn reason_and_message(request: &SessionKill) -> (&str, &str) {
    succeeded(request).map_or(("", ""), |condition| (&condition.reason, &condition.message))
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;

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

    #[test]
    fn an_outcome_is_read_once_it_is_there() {
        assert_eq!(ended_with(&ended("NothingMatched", vec![])), Some(Outcome::NothingMatched));
        assert_eq!(ended_with(&request("SessionsKilled", "Unknown", None, vec![])), None);
        assert_eq!(ended_with(&ended("OfALaterVersion", vec![])), None);
    }
}
