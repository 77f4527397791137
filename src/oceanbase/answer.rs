//! The answer of KillProcessList: bytes in, rows or a typed error out. Pure, and total: no input makes it panic.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::error::{CallError, ErrorKind};

/// The most bytes of an answer that are read. 100 rows with long statements stay far below.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillAnswer {
    /// Alibaba Cloud's RequestId.
    pub request_id: String,
    /// The rows of `Data`; those that are no objects or lack a session ID are left out, so that their sessions count as
    /// not answered.
    pub rows: Vec<KilledSession>,
}

/// A row of `Data`, fields as documented. Missing and null fields are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KilledSession {
    /// Numbers and strings are both seen.
    #[serde(deserialize_with = "integer")]
    pub session_id: i64,
    /// The server's address.
    #[serde(deserialize_with = "text")]
    pub server_ip: String,
    /// The session's state, such as SLEEP: not proof of its end.
    #[serde(deserialize_with = "text")]
    pub status: String,
    /// Empty on success.
    #[serde(deserialize_with = "text")]
    pub error_message: String,
    /// The client's address.
    #[serde(deserialize_with = "text")]
    pub client_ip: String,
    /// The tenant.
    #[serde(deserialize_with = "text")]
    pub tenant_id: String,
    /// The database user.
    #[serde(deserialize_with = "text")]
    pub user: String,
    /// The database.
    #[serde(deserialize_with = "text")]
    pub database: String,
    /// The statement.
    #[serde(deserialize_with = "text")]
    pub sql_text: String,
    /// The type of command.
    #[serde(deserialize_with = "text")]
    pub command: String,
    /// Declared a string, sampled as a number.
    #[serde(deserialize_with = "text")]
    pub execute_time: String,
}

/// The parts of an HTTP answer that matter.
#[derive(Debug, Clone, Copy)]
pub struct RawAnswer<'a> {
    /// The HTTP status; only says whether a body without a Code can be a success.
    pub status: u16,
    /// `x-acs-retry-after`.
    pub retry_after: Option<SignedDuration>,
    /// The `Date` header.
    pub gateway_time: Option<Timestamp>,
    /// The whole body.
    pub body: &'a [u8],
}

/// Reads an answer. A body with a `Code` is an error whatever the HTTP status says; a body that is no JSON object, and
/// an error status without a Code, are ambiguous. Missing or null `Data` is an answer without rows.
pub fn parse(raw: RawAnswer<'_>) -> Result<KillAnswer, CallError> {
    let ambiguous = |code, message: String| Err(CallError::local(ErrorKind::Ambiguous, code, message));
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(raw.body) else {
        return ambiguous("UnreadableAnswer", format!("HTTP {} with a body that is no JSON object", raw.status));
    };
    let field = |name: &str| body.get(name).or_else(|| body.get(&lower_first(name)));
    let string = |name: &str| field(name).map(text_of).unwrap_or_default();
    let request_id = string("RequestId");
    let code = string("Code");
    if !code.is_empty() {
        return Err(CallError::from_body(&code, &string("Message"), &request_id, raw.retry_after, raw.gateway_time));
    }
    if !(200..300).contains(&raw.status) {
        return ambiguous("UnreadableAnswer", format!("HTTP {} without an error code", raw.status));
    }
    let rows = match field("Data") {
        Some(Value::Array(rows)) => rows.iter().filter_map(row).collect(),
        _ => Vec::new(),
    };
    Ok(KillAnswer { request_id, rows })
}

fn row(value: &Value) -> Option<KilledSession> {
    let row = KilledSession::deserialize(value).ok()?;
    (row.session_id > 0).then_some(row)
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// Strings as they are, numbers and booleans as written, everything else as nothing.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text_of(&Value::deserialize(deserializer)?))
}

/// An integer, as a number or in a string; 0, which is no session ID, for everything else.
fn integer<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(text_of(&Value::deserialize(deserializer)?).trim().parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<KillAnswer, CallError> {
        parse(RawAnswer { status, retry_after: None, gateway_time: None, body: body.as_bytes() })
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
        assert_eq!((row.session_id, row.server_ip.as_str(), row.status.as_str()), (1123, "127.0.0.1", "SLEEP"));
        assert_eq!((row.error_message.as_str(), row.execute_time.as_str()), ("Instance not found.", "142"));
    }

    #[test]
    fn numbers_for_strings_and_the_reverse_are_read() {
        let body = r#"{"RequestId": 7, "Data": [{"SessionId": "1123", "ServerIp": "::1", "ExecuteTime": 142, "User": null,
            "Status": 3, "New": {"a": []}}]}"#;
        let answer = answer(200, body).unwrap();
        assert_eq!(answer.request_id, "7");
        assert_eq!(answer.rows[0].session_id, 1123);
        assert_eq!(answer.rows[0].execute_time, "142");
        assert_eq!(answer.rows[0].user, "");
    }

    #[test]
    fn missing_null_and_odd_data_are_answers_without_rows() {
        let bodies = [
            r#"{"RequestId":"R"}"#,
            r#"{"Data":null}"#,
            r#"{"Data":{}}"#,
            r#"{"Data":"x"}"#,
            r#"{"Data":[1,null,{}]}"#,
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
    fn deep_nesting_does_not_overflow_the_stack() {
        assert_eq!(kind(200, &"[".repeat(100_000)), ErrorKind::Ambiguous);
    }
}
