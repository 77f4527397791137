//! Helpers for status conditions. Pure.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// `message` without the gateway's request ID, which differs with every call. Errors of calls end with it.
#[must_use]
pub fn without_request(message: &str) -> Cow<'_, str> {
    const BEGIN: &str = " (request ";
    let Some(begin) = message.find(BEGIN) else { return Cow::Borrowed(message) };
    let Some(length) = message[begin..].find(')') else { return Cow::Borrowed(message) };
    Cow::Owned(format!("{}{}", &message[..begin], &message[begin + length + 1..]))
}

/// Returns `new`, keeping the transition time of the same type in `old` if the status did not change.
#[must_use]
pub fn condition(old: &[Condition], mut new: Condition) -> Condition {
    if let Some(unchanged) = old.iter().find(|c| c.type_ == new.type_ && c.status == new.status) {
        new.last_transition_time = unchanged.last_transition_time.clone();
    }
    new
}
