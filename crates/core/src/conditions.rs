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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::time;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn of(type_: &str, status: &str, clock: &str) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: String::new(),
            message: String::new(),
            last_transition_time: Time(time(clock)),
            observed_generation: None,
        }
    }

    #[test]
    fn only_the_same_condition_with_the_same_status_keeps_its_time() {
        let old = [of("Ready", "False", "10:00:00"), of("Stalled", "True", "10:00:01")];
        let kept = |type_, status| condition(&old, of(type_, status, "11:00:00")).last_transition_time.0;
        assert_eq!([kept("Ready", "False"), kept("Stalled", "True")], ["10:00:00", "10:00:01"].map(time));
        for (type_, status) in [("Ready", "True"), ("Stalled", "False"), ("ClockSkew", "True")] {
            assert_eq!(kept(type_, status), time("11:00:00"), "{type_}={status}");
        }
    }

    #[test]
    fn of_a_message_only_the_request_is_left_out() {
        assert_eq!(without_request("E: m (request A); wait"), "E: m; wait");
        for message in ["E: m", "E: m (request A", "(requested)"] {
            assert_eq!(without_request(message), message);
        }
    }
}
