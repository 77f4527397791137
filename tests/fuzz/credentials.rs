//! Answers with an access key: what is taken for one is whole, and no error repeats a part of it.

use bolero::check;
use secrecy::ExposeSecret as _;
use sessionkill::backends::credentials::answer::{Read, of_metadata, of_sts};
use sessionkill::oceanbase::raw_answer::RawAnswer;

use crate::material::{Plan, assert_secret, body, key};
use crate::tally::{ITERATIONS, Tally};

/// Values of a key's parts: good ones, and others.
const VALUES: [&str; 12] = [
    "\"STS.NUt1aQeZ\"",
    "\"canary-part-of-a-new-key\"",
    "\"2030-01-02T03:04:05Z\"",
    "\"2030-01-02T11:04:05.123+08:00\"",
    "\"Success\"",
    "1893553445",
    "null",
    "\"\"",
    "\"a b\"",
    "\"\\u0000\"",
    "[]",
    "{\"canary-part-of-a-new-key\": 1}",
];

/// An answer whose key has these parts; in an odd place, or with a code, if `odd` says so.
fn composed(parts: [u8; 5], odd: u8) -> Vec<u8> {
    let [id, secret, token, end, code] = parts.map(|part| VALUES[usize::from(part) % VALUES.len()]);
    // A code is told, and is no part of a key.
    let code = if code.contains("canary") { "\"NoPermission\"" } else { code };
    let key = format!(r#""AccessKeyId":{id},"AccessKeySecret":{secret},"SecurityToken":{token},"Expiration":{end}"#);
    let body = match odd % 4 {
        0 => format!(r#"{{"RequestId":"R","Credentials":{{{key}}}}}"#),
        1 => format!(r#"{{"Code":{code},{key}}}"#),
        2 => format!(r#"{{"Code":"Success",{key}}}"#),
        _ => format!(r#"{{"Credentials":{{{key},{key}}},"Message":{code}}}"#),
    };
    body.into_bytes()
}

fn check_key(read: &Read) {
    let token = read.key.security_token.as_ref().unwrap().expose_secret();
    for (part, longest) in [(read.key.id.as_str(), 128), (read.key.secret.expose_secret(), 256), (token, 8192)] {
        assert!((1..=longest).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    // A shorter one may be a piece of any text.
    assert!(token.len() < 8 || !format!("{read:?}").contains(token));
}

#[test]
fn answers_with_a_key() {
    let tally = Tally::of("answers with a key");
    check!().with_iterations(ITERATIONS).with_type::<(Plan, [u8; 5], u8, u8)>().for_each(|(plan, parts, odd, kind)| {
        // The good parts are the first ones: half of the bodies have no others.
        let parts = if kind % 2 == 0 { [0, 1, 1, 2 + parts[3] % 2, 4] } else { *parts };
        let body = if kind % 5 == 4 { body(plan) } else { composed(parts, *odd) };
        let status = if kind % 7 == 6 { 500 } else { 200 };
        let raw = RawAnswer { status, retry_after: None, gateway_time: None, body: body.as_slice() };
        let (sts, node) = (of_sts(raw, &key()), of_metadata(&body));
        tally.count(sts.is_ok() || node.is_ok());
        sts.iter().chain(&node).for_each(check_key);
        let told = [sts.err().map(|error| format!("{error} {error:?}")), node.err()];
        for told in told.into_iter().flatten() {
            assert_secret(&told);
            assert!(!told.contains("canary-part-of-a-new-key"), "{told}");
        }
    });
    tally.assert_both();
}
