//! Parses what STS and the metadata service answer into an access key. Pure, and total: no input makes it panic.
//!
//! Stricter than the official clients: a key that lacks a part, or whose end cannot be read, is no key. No error repeats a
//! part of an answer.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use sessionkill_core::backend::CallError;

use crate::access_key::AccessKey;
use crate::alibaba::raw_answer::{RawAnswer, unreadable};

/// The most bytes read of an answer: a token may have 8 KiB.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// The most characters of the parts of a key, as for the key of a Secret.
const LONGEST_ID: usize = 128;
const LONGEST_SECRET: usize = 256;
const LONGEST_TOKEN: usize = 8 * 1024;

/// A key, and when it expires.
#[derive(Debug)]
pub struct Read {
    /// The key.
    pub key: AccessKey,
    /// When it expires.
    pub expiration: Timestamp,
}

/// A key as it is written. Names in another case are not read: an answer of the documented API has these.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fields {
    access_key_id: Option<String>,
    access_key_secret: Option<String>,
    security_token: Option<String>,
    expiration: Option<String>,
}

/// The key in STS's answer. `secret` is what the answer must not repeat. A body with a `Code` is an error, whatever the
/// HTTP status.
pub fn of_sts(raw: RawAnswer<&[u8]>, secret: &AccessKey) -> Result<Read, CallError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        credentials: Option<Fields>,
    }
    raw.succeeded(secret)?;
    let unreadable = |what: &str| unreadable(raw.status, what);
    let answer: Answer = serde_json::from_slice(raw.body).map_err(|_| unreadable("Credentials that cannot be read"))?;
    let fields = answer.credentials.ok_or_else(|| unreadable("no Credentials"))?;
    fields.read().map_err(|what| unreadable(&format!("Credentials {what}")))
}

/// The key in the answer of the metadata service, which must call itself a success; the error says what is wrong.
pub fn of_metadata(body: &[u8]) -> Result<Read, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        code: Option<String>,
    }
    let unreadable = |_| "an answer that cannot be read".to_owned();
    let answer: Answer = serde_json::from_slice(body).map_err(unreadable)?;
    if answer.code.as_deref() != Some("Success") {
        return Err("an answer whose Code is not Success".to_owned());
    }
    let fields: Fields = serde_json::from_slice(body).map_err(unreadable)?;
    fields.read().map_err(|what| format!("an answer {what}"))
}

impl Fields {
    fn read(self) -> Result<Read, &'static str> {
        let part = |text: Option<String>, longest| {
            text.filter(|text| (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()))
        };
        let id = part(self.access_key_id, LONGEST_ID).ok_or("without an AccessKeyId")?;
        let secret = part(self.access_key_secret, LONGEST_SECRET).ok_or("without an AccessKeySecret")?;
        let token = part(self.security_token, LONGEST_TOKEN).ok_or("without a SecurityToken")?;
        let expiration = self.expiration.as_deref().and_then(time).ok_or("without an Expiration that is a time")?;
        let security_token = Some(SecretString::from(token));
        Ok(Read { key: AccessKey { id, secret: secret.into(), security_token }, expiration })
    }
}

/// A time to the second at least, in UTC or with its offset from it. A time without either would be read differently by
/// others.
fn time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let is_whole = bytes.get(10) == Some(&b'T')
        && bytes.get(16) == Some(&b':')
        && bytes.get(19).is_some_and(|after| matches!(after, b'.' | b'Z' | b'+' | b'-'));
    text.parse().ok().filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const GOOD: &str = r#"{"AccessKeyId":"STS.id","AccessKeySecret":"s3cret","SecurityToken":"to+/k==","Expiration":"2030-01-02T03:04:05Z"}"#;

    fn sts(status: u16, body: &str) -> Result<Read, CallError> {
        let secret = AccessKey { id: "LTAIcanary0000001".into(), secret: "canary".into(), security_token: None };
        let body = body.as_bytes();
        of_sts(RawAnswer { status, retry_after: None, gateway_time: None, body }, &secret)
    }

    #[test]
    fn a_whole_key_is_read() {
        let read = sts(200, &format!(r#"{{"RequestId":"R","Credentials":{GOOD},"More":[{{}}]}}"#)).unwrap();
        assert_eq!((read.key.id.as_str(), read.key.secret.expose_secret()), ("STS.id", "s3cret"));
        assert_eq!(read.key.security_token.unwrap().expose_secret(), "to+/k==");
        assert_eq!(read.expiration.to_string(), "2030-01-02T03:04:05Z");
        let of_node = of_metadata(GOOD.replacen('{', r#"{"Code":"Success","#, 1).as_bytes()).unwrap();
        assert_eq!(of_node.key.id, "STS.id");
    }

    #[test]
    fn an_end_is_a_whole_time_with_its_place() {
        let of = |text: &str| time(text).map(|time| time.to_string());
        let same = Some("2030-01-02T03:04:05Z".to_owned());
        for good in ["2030-01-02T03:04:05Z", "2030-01-02T03:04:05+00:00", "2030-01-02T11:04:05+08:00"] {
            assert_eq!(of(good), same, "{good}");
        }
        assert_eq!(of("2030-01-02T03:04:05.123Z").unwrap(), "2030-01-02T03:04:05.123Z");
        for bad in
            ["", "1893553445", "2030-01-02T03:04Z", "2030-01-02T03:04:05", "2030-01-02 03:04:05Z", "2030-01-02", "soon"]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_part_that_is_missing_empty_or_cannot_be_sent_makes_it_no_key() {
        for part in ["STS.id", "s3cret", "to+/k=="] {
            for odd in ["", " ", "a b", "größe", "a\\nb", &"x".repeat(9000)] {
                let body = format!(r#"{{"Credentials":{}}}"#, GOOD.replace(part, odd));
                let error = sts(200, &body).unwrap_err().to_string();
                assert!(error.starts_with("UnreadableAnswer: HTTP 200 with Credentials without a"), "{error}");
            }
        }
        for body in
            ["", "[]", "null", "<html>", r#"{"Credentials":null}"#, r#"{"Credentials":[]}"#, r#"{"Credentials":7}"#]
        {
            assert_eq!(sts(200, body).unwrap_err().code, "UnreadableAnswer", "{body}");
        }
    }

    #[test]
    fn an_error_is_one_by_its_code_whatever_the_status_says() {
        let body = r#"{"Code":"NoPermission","Message":"LTAIcanary0000001 may not","RequestId":"R"}"#;
        for status in [200, 403, 500] {
            assert_eq!(sts(status, body).unwrap_err().to_string(), "NoPermission (request R)", "{status}");
        }
        let redirect = sts(307, &format!(r#"{{"Credentials":{GOOD}}}"#)).unwrap_err();
        assert_eq!(redirect.to_string(), "UnreadableAnswer: HTTP 307 without an error code");
    }

    #[test]
    fn the_metadata_service_must_say_that_it_succeeded() {
        for code in ["", r#""Code":null,"#, r#""Code":"Failed","#, r#""Code":"success","#, r#""Code":200,"#] {
            assert!(of_metadata(GOOD.replacen('{', &format!("{{{code}"), 1).as_bytes()).is_err(), "{code}");
        }
    }
}
