//! The answers: bytes in, a typed error or what the call came to out. Pure, and total: no input makes it panic.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::client::KillOperation;
use super::error::{CallError, ErrorKind};
use super::session_row::{SessionRow, text_of};

/// The most bytes of the answer to a kill that are read: 500 rows, as many as one call names, with statements of 8 KiB.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A successful answer to a kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillAnswer {
    /// Alibaba Cloud's RequestId.
    pub request_id: String,
    /// The rows of `Data`; those that are no objects or lack a session ID are left out, so that their sessions count as
    /// not answered. Always empty for BatchKillProcessList, whose rows name no session.
    pub rows: Vec<KilledSession>,
}

/// A row of `Data`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KilledSession {
    /// The session as it was at the kill, in the fields that the process list has too; a row has no `SqlId` and no
    /// `ProxySessId`. Its state is not proof of its end.
    pub session: SessionRow,
    /// Empty on success.
    pub error_message: String,
}

/// The parts of an HTTP answer that matter. No `Debug`: the body may carry statements, or what was signed.
pub struct RawAnswer {
    /// The HTTP status; only says whether a body without a Code can be a success.
    pub status: u16,
    /// `x-acs-retry-after`.
    pub retry_after: Option<SignedDuration>,
    /// The `Date` header.
    pub gateway_time: Option<Timestamp>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// The RequestId of a success. A body with a `Code` is an error whatever the HTTP status says; a body that is no JSON
    /// object, and an error status without a Code, are ambiguous.
    pub fn request_id_of_success(&self) -> Result<String, CallError> {
        let Ok(mut head) = serde_json::from_slice::<Head>(&self.body) else {
            return Err(self.unreadable("a body that is no JSON object"));
        };
        let code = head.take("Code");
        let request_id = head.take("RequestId");
        if !code.is_empty() {
            let message = head.take("Message");
            return Err(CallError::from_body(&code, &message, &request_id, self.retry_after, self.gateway_time));
        }
        if !(200..300).contains(&self.status) {
            return Err(CallError::local(
                ErrorKind::Ambiguous,
                UNREADABLE,
                format!("HTTP {} without an error code", self.status),
            ));
        }
        Ok(request_id)
    }

    /// `Data` as a `D`; none if it is missing or null, ambiguous if it is no `D`.
    pub fn data<'a, D: Deserialize<'a>>(&'a self) -> Result<Option<D>, CallError> {
        let body = serde_json::from_slice::<WithData<D>>(&self.body);
        body.map(|body| body.data).map_err(|_| self.unreadable("Data that cannot be read"))
    }

    /// The error of an answer that has something other than what the API documents.
    #[must_use]
    pub fn unreadable(&self, with: &str) -> CallError {
        CallError::local(ErrorKind::Ambiguous, UNREADABLE, format!("HTTP {} with {with}", self.status))
    }
}

/// The pause that the header `x-acs-retry-after` asks for, in milliseconds; none if it asks for none.
#[must_use]
pub fn retry_after(text: &str) -> Option<SignedDuration> {
    let milliseconds = text.parse::<u32>().ok().filter(|milliseconds| *milliseconds > 0);
    milliseconds.map(|milliseconds| SignedDuration::from_millis(milliseconds.into()))
}

/// The time that the header `Date` names; none if it names none.
#[must_use]
pub fn gateway_time(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp())
}

/// The error code of what is no answer of the API.
const UNREADABLE: &str = "UnreadableAnswer";

#[derive(Deserialize)]
struct WithData<D> {
    #[serde(rename = "Data", alias = "data", default = "none")]
    data: Option<D>,
}

/// `Default` would ask the same of `D`.
fn none<D>() -> Option<D> {
    None
}

/// The texts of a body that say what became of the call, by their names as sent. `Data` is passed over: it may be large,
/// and it means nothing where there is a `Code`.
struct Head(BTreeMap<String, String>);

impl Head {
    /// Clients accept either spelling of the names.
    fn take(&mut self, name: &str) -> String {
        let text = self.0.remove(name).filter(|text| !text.is_empty());
        text.or_else(|| self.0.remove(&lower_first(name))).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Head;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Head, A::Error> {
                let mut texts = BTreeMap::new();
                while let Some(name) = members.next_key::<String>()? {
                    if matches!(name.to_ascii_lowercase().as_str(), "code" | "message" | "requestid") {
                        texts.insert(name, text_of(&members.next_value()?));
                    } else {
                        members.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Head(texts))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl KillAnswer {
    /// Reads the answer of `operation`. Missing or null `Data` is an answer without rows.
    pub fn read(raw: &RawAnswer, operation: KillOperation) -> Result<Self, CallError> {
        let request_id = raw.request_id_of_success()?;
        let rows = match (operation, raw.data()?) {
            (KillOperation::KillProcessList, Some(Value::Array(rows))) => rows.iter().filter_map(row).collect(),
            // Rows of BatchKillProcessList name no session.
            _ => Vec::new(),
        };
        Ok(Self { request_id, rows })
    }
}

fn row(value: &Value) -> Option<KilledSession> {
    // An array would be taken for an object without names.
    let session = SessionRow::deserialize(value.is_object().then_some(value)?).ok()?;
    let error_message = value.get("ErrorMessage").map(text_of).unwrap_or_default();
    (session.session_id > 0).then_some(KilledSession { session, error_message })
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<KillAnswer, CallError> {
        let raw = RawAnswer { status, retry_after: None, gateway_time: None, body: body.as_bytes().to_vec() };
        KillAnswer::read(&raw, KillOperation::KillProcessList)
    }

    fn kind(status: u16, body: &str) -> ErrorKind {
        answer(status, body).unwrap_err().kind
    }

    /// The sample of the API's own page.
    const SAMPLE: &str = r#"{"RequestId": "EE205C00-30E4-XXXX-XXXX-87E3A8A2AA0C", "Data": [{"SessionId": 1123,
        "ServerIp": "127.0.0.1", "Status": "SLEEP", "ErrorMessage": "Instance not found.", "ClientIp": "127.0.0.1",
        "TenantId": "t3ogqv07a56n4", "User": "oas", "Database": "test", "SqlText": ":", "Command": "select 1",
        "ExecuteTime": "142"}]}"#;

    #[test]
    fn the_documented_sample_is_read() {
        let answer = answer(200, SAMPLE).unwrap();
        assert_eq!(answer.request_id, "EE205C00-30E4-XXXX-XXXX-87E3A8A2AA0C");
        let row = &answer.rows[0];
        let session = &row.session;
        assert_eq!(
            (session.session_id, session.server_ip.as_str(), session.status.as_str()),
            (1123, "127.0.0.1", "SLEEP")
        );
        assert_eq!((row.error_message.as_str(), session.execute_time.as_str()), ("Instance not found.", "142"));
    }

    #[test]
    fn numbers_for_strings_and_the_reverse_are_read() {
        let body = r#"{"RequestId": 7, "Data": [{"SessionId": "1123", "ServerIp": "::1", "ExecuteTime": 142, "User": null,
            "Status": 3, "New": {"a": []}}]}"#;
        let answer = answer(200, body).unwrap();
        assert_eq!(answer.request_id, "7");
        assert_eq!(answer.rows[0].session.session_id, 1123);
        assert_eq!(answer.rows[0].session.execute_time, "142");
        assert_eq!(answer.rows[0].session.user, "");
    }

    #[test]
    fn missing_null_and_odd_data_are_answers_without_rows() {
        let bodies = [
            r#"{"RequestId":"R"}"#,
            r#"{"Data":null}"#,
            r#"{"Data":{}}"#,
            r#"{"Data":"x"}"#,
            r#"{"Data":[1,null,{}]}"#,
            r#"{"Data":[[1123,"127.0.0.1"]]}"#,
        ];
        for body in bodies {
            assert_eq!(answer(200, body).unwrap().rows, [], "{body}");
        }
    }

    #[test]
    fn ids_that_do_not_fit_are_no_rows() {
        for id in ["-1", "0", "1.5", "1e300", "99999999999999999999", "\"x\"", "[]"] {
            let body = format!(r#"{{"Data":[{{"SessionId":{id},"ServerIp":"1.2.3.4"}}]}}"#);
            assert_eq!(answer(200, &body).unwrap().rows, [], "{id}");
        }
    }

    #[test]
    fn an_error_body_is_an_error_whatever_the_status_says() {
        for status in [200, 400, 403, 404, 429, 500, 503] {
            let body = r#"{"Code":"Throttling.User","Message":"slow down","RequestId":"R"}"#;
            assert!(matches!(kind(status, body), ErrorKind::Throttled { .. }), "{status}");
            assert_eq!(kind(status, r#"{"code":"InternalError","message":"x"}"#), ErrorKind::Ambiguous, "{status}");
        }
    }

    #[test]
    fn what_is_no_answer_of_the_api_is_ambiguous() {
        let half = &SAMPLE[..SAMPLE.len() / 2];
        for (status, body) in [
            (200, ""),
            (200, half),
            (200, "<html>"),
            (502, "<html>"),
            (200, "[]"),
            (200, "null"),
            (403, "no"),
            (500, "{}"),
            (302, "{}"),
        ] {
            assert_eq!(kind(status, body), ErrorKind::Ambiguous, "{status} {body}");
        }
    }

    #[test]
    fn no_part_of_an_answer_is_taken_for_the_whole() {
        for end in 0..SAMPLE.len() {
            assert_eq!(kind(200, &SAMPLE[..end]), ErrorKind::Ambiguous, "{end}");
        }
        assert_eq!(kind(200, &format!("{SAMPLE}}}")), ErrorKind::Ambiguous);
    }

    #[test]
    fn the_answer_of_the_batch_operation_has_no_rows() {
        for data in [r#"[{"Success":true},{"Success":false}]"#, "[]", "null", r#"[{"SessionId":7,"ServerIp":"::1"}]"#] {
            let body = format!(r#"{{"RequestId":"R","Data":{data}}}"#).into_bytes();
            let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body };
            let answer = KillAnswer::read(&raw, KillOperation::BatchKillProcessList).unwrap();
            assert_eq!(answer, KillAnswer { request_id: "R".to_owned(), rows: vec![] }, "{data}");
        }
    }

    #[test]
    fn a_body_that_says_its_code_twice_is_an_error() {
        for body in [
            r#"{"code":"Throttling","Code":null}"#,
            r#"{"Code":"","code":"Throttling"}"#,
            r#"{"Code":"Throttling","code":"InternalError"}"#,
        ] {
            assert!(matches!(kind(200, body), ErrorKind::Throttled { .. }), "{body}");
        }
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for body in ["[".repeat(100_000), format!(r#"{{"Data":{deep}}}"#), format!(r#"{{"Data":[{{"User":{deep}}}]}}"#)]
        {
            assert_eq!(kind(200, &body), ErrorKind::Ambiguous);
        }
    }
}
