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
mod tests {
    use super::*;
    use crate::test_objects::{ended, request};

    #[test]
    fn an_outcome_is_read_once_it_is_there() {
        assert_eq!(ended_with(&ended("NothingMatched", vec![])), Some(Outcome::NothingMatched));
        assert_eq!(ended_with(&request("SessionsKilled", "Unknown", None, vec![])), None);
        assert_eq!(ended_with(&ended("OfALaterVersion", vec![])), None);
    }
}
