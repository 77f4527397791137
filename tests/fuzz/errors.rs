//! Error answers: whether the call may be repeated, and what may be logged or stored.

use bolero::check;
use serde_json::json;
use sessionkill::domain::clock::date;
use sessionkill::oceanbase::answer::read_answer;
use sessionkill::oceanbase::error_codes::from_body;
use sessionkill::oceanbase::raw_answer::{RawAnswer, retry_after};
use sessionkill::oceanbase::{CallError, Operation, Sieve};

use crate::material::{Plan, assert_secret, key, text};
use crate::tally::{ITERATIONS, Tally};

const FAMILIES: [&str; 12] = [
    "Throttling.User",
    "Rejected.Throttling",
    "SignatureNonceUsed",
    "InvalidTimeStamp.Expired",
    "InvalidAction.NotFound",
    "MissingInstanceId",
    "InternalError",
    "Forbidden.RAM",
    "IllegalOperation.Resource",
    "InvalidSecurityToken",
    "NoPermission",
    "",
];

/// Only error codes with these prefixes say that nothing was executed.
const REFUSALS: [&str; 12] = [
    "Throttling",
    "Rejected.Throttling",
    "Signature",
    "Incomplete",
    "Invalid",
    "Missing",
    "Forbidden",
    "NoPermission",
    "NoSuchVersion",
    "UnsupportedHTTPMethod",
    "IllegalOperation.Resource",
    "SignatureDoesNotMatch",
];

#[test]
fn error_bodies() {
    let tally = Tally::of("error bodies");
    check!().with_iterations(ITERATIONS).with_type::<(u8, Plan, Plan, Plan)>().for_each(
        |(family, code, message, id)| {
            let family = FAMILIES[usize::from(*family) % FAMILIES.len()];
            let code = if code.base % 2 == 0 { family.to_owned() } else { format!("{family}{}", text(code)) };
            let (message, id) = (text(message), text(id));
            let error = from_body(&code, &message, &id, retry_after(&id), date(&message));
            tally.count(error.kind.is_not_executed());
            check_bounds(&error);
            let known =
                REFUSALS.iter().any(|refusal| code.starts_with(refusal)) && !code.starts_with("SignatureNonceUsed");
            assert!(known || !error.kind.is_not_executed(), "{code} proves nothing");

            let body = json!({"Code": code, "Message": message, "RequestId": id}).to_string().into_bytes();
            let raw = RawAnswer { status: 400, retry_after: None, gateway_time: None, body: body.as_slice() };
            let key = key();
            let read = read_answer(raw, Operation::KillProcessList, Sieve::new(&key, &|_| true)).unwrap_err();
            check_bounds(&read);
            assert_secret(&format!("{read} {read:?}"));
            assert!(
                code.is_empty() || read.kind == error.kind || retry_after(&id).is_some() || date(&message).is_some()
            );
        },
    );
    tally.assert_both();
}

fn check_bounds(error: &CallError) {
    assert!(error.code.len() <= 64 && error.request_id.len() <= 64 && error.message.chars().count() <= 256);
    assert!(!error.to_string().contains(char::is_control), "{error:?}");
}
