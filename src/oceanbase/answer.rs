//! The answers: bytes in, a typed error or what the call came to out. Pure, and total: no input makes it panic.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess};

use super::client::KillOperation;
use super::credentials::AccessKey;
use super::error::{CallError, ErrorKind};
use super::json::{By, Reader, Text};
use super::session_row::{Member, SessionRow};
use super::sieve::{Sieve, Sifted, told};
use super::withheld::without;

/// The most bytes of the answer to a kill that are read: 500 rows, as many as one call names, with statements of 8 KiB.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The most bytes of a RequestId that are kept: several times those of a UUID.
const MAX_REQUEST_ID: usize = 128;

/// A successful answer to a kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillAnswer {
    /// Alibaba Cloud's RequestId.
    pub request_id: String,
    /// The rows of `Data` that were asked for; those that are no objects or lack a session ID are left out, so that their
    /// sessions count as not answered. Always empty for BatchKillProcessList, whose rows name no session.
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
#[derive(Clone, Copy)]
pub struct RawAnswer<B> {
    /// The HTTP status; only says whether a body without a Code can be a success.
    pub status: u16,
    /// `x-acs-retry-after`.
    pub retry_after: Option<SignedDuration>,
    /// The `Date` header.
    pub gateway_time: Option<Timestamp>,
    /// The whole body, or the way to it.
    pub body: B,
}

/// A body that can be read once.
pub trait Body {
    /// The one JSON value that it consists of, as `seed` reads it.
    fn json<S, V>(self, seed: S) -> serde_json::Result<V>
    where
        S: for<'de> DeserializeSeed<'de, Value = V>;
}

impl Body for &[u8] {
    fn json<S, V>(self, seed: S) -> serde_json::Result<V>
    where
        S: for<'de> DeserializeSeed<'de, Value = V>,
    {
        let mut json = serde_json::Deserializer::from_slice(self);
        let value = seed.deserialize(&mut json)?;
        json.end().map(|()| value)
    }
}

impl<B> RawAnswer<B> {
    /// The answer without its body, and the body.
    pub(super) fn split(self) -> (RawAnswer<()>, B) {
        let Self { status, retry_after, gateway_time, body } = self;
        (RawAnswer { status, retry_after, gateway_time, body: () }, body)
    }

    /// The same answer with this body.
    pub(super) fn with<C>(self, body: C) -> RawAnswer<C> {
        let Self { status, retry_after, gateway_time, body: _ } = self;
        RawAnswer { status, retry_after, gateway_time, body }
    }
}

impl<B: Body> RawAnswer<B> {
    /// The RequestId of a success, and its `Data` as `data` reads it; none if there is none. The call was made with `key`,
    /// of which no part is repeated.
    ///
    /// A body with a `Code` is an error whatever the HTTP status says; a body that is no JSON object, an error status
    /// without a Code, and `Data` that is there twice are ambiguous.
    pub(super) fn read<R, V>(self, key: &AccessKey, data: R) -> Result<(String, Option<V>), CallError>
    where
        R: for<'de> Reader<'de, Value = V>,
    {
        let unreadable = |with| Err(unreadable(self.status, with));
        let Ok(Some(mut members)) = self.body.json(By(Object(data))) else {
            return unreadable("a body that is no JSON object");
        };
        let [code, message, mut request_id] = ["Code", "Message", "RequestId"].map(|name| members.take(name));
        if !code.is_empty() {
            let error = CallError::from_body(&code, &message, &request_id, self.retry_after, self.gateway_time);
            return Err(without(key, error, [&code, &message, &request_id]));
        }
        if !(200..300).contains(&self.status) {
            let message = format!("HTTP {} without an error code", self.status);
            return Err(CallError::local(ErrorKind::Ambiguous, UNREADABLE, message));
        }
        if members.has_data_twice {
            return unreadable("Data twice");
        }
        told(key, &mut request_id, MAX_REQUEST_ID);
        Ok((request_id, members.data))
    }
}

/// The error of an answer that has something other than what the API documents.
#[must_use]
pub(super) fn unreadable(status: u16, with: &str) -> CallError {
    CallError::local(ErrorKind::Ambiguous, UNREADABLE, format!("HTTP {status} with {with}"))
}

/// The pause that the header `x-acs-retry-after` asks for, in milliseconds; none if it asks for none.
#[must_use]
pub fn retry_after(text: &str) -> Option<SignedDuration> {
    let milliseconds = text.parse::<u32>().ok().filter(|milliseconds| *milliseconds > 0);
    milliseconds.map(|milliseconds| SignedDuration::from_millis(milliseconds.into()))
}

/// The error code of what is no answer of the API.
const UNREADABLE: &str = "UnreadableAnswer";

/// Reads the body: an object. Its `Data` is left to another reader.
struct Object<R>(R);

/// What of a body says what became of the call.
struct Members<V> {
    /// `Code`, `Message` and `RequestId`, by their names as sent.
    texts: BTreeMap<String, String>,
    data: Option<V>,
    has_data_twice: bool,
}

impl<V> Members<V> {
    /// Clients accept either spelling of the names.
    fn take(&mut self, name: &str) -> String {
        let text = self.texts.remove(name).filter(|text| !text.is_empty());
        text.or_else(|| self.texts.remove(&lower_first(name))).unwrap_or_default()
    }
}

impl<'de, R: Reader<'de>> Reader<'de> for Object<R> {
    type Value = Option<Members<R::Value>>;

    fn scalar(self, _: Option<Cow<'_, str>>) -> Self::Value {
        None
    }

    fn passed_over(self) -> Self::Value {
        None
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut data_reader = Some(self.0);
        let mut read = Members { texts: BTreeMap::new(), data: None, has_data_twice: false };
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "Code" | "code" | "Message" | "message" | "RequestId" | "requestId" => {
                    read.texts.insert(name, members.next_value_seed(By(Text))?);
                }
                "Data" | "data" => {
                    if let Some(reader) = data_reader.take() {
                        read.data = Some(members.next_value_seed(By(reader))?);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                        read.has_data_twice = true;
                    }
                }
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(read))
    }
}

impl KillAnswer {
    /// Reads the answer of `operation`. Missing or null `Data` is an answer without rows.
    pub fn read<B: Body>(raw: RawAnswer<B>, operation: KillOperation, mut sieve: Sieve<'_>) -> Result<Self, CallError> {
        let key = sieve.key().clone();
        let (request_id, rows) = raw.read(&key, KilledRows(&mut sieve))?;
        let rows = match operation {
            KillOperation::KillProcessList => rows.unwrap_or_default(),
            // Rows of BatchKillProcessList name no session.
            KillOperation::BatchKillProcessList => vec![],
        };
        Ok(Self { request_id, rows })
    }
}

/// Reads the rows of an answer.
struct KilledRows<'s, 'a>(&'s mut Sieve<'a>);

impl<'de> Reader<'de> for KilledRows<'_, '_> {
    type Value = Vec<KilledSession>;

    fn scalar(self, _: Option<Cow<'_, str>>) -> Self::Value {
        vec![]
    }

    fn passed_over(self) -> Self::Value {
        vec![]
    }

    fn array<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut rows = vec![];
        while let Some(row) = elements.next_element_seed(By(KilledRow(self.0)))? {
            rows.extend(row);
        }
        Ok(rows)
    }
}

/// Reads a row; none if it is not kept.
struct KilledRow<'s, 'a>(&'s mut Sieve<'a>);

impl<'de> Reader<'de> for KilledRow<'_, '_> {
    type Value = Option<KilledSession>;

    fn scalar(self, _: Option<Cow<'_, str>>) -> Self::Value {
        None
    }

    fn passed_over(self) -> Self::Value {
        None
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut row = KilledSession::default();
        while let Some(member) = members.next_key()? {
            match member {
                Member::ErrorMessage => row.error_message = members.next_value_seed(By(Text))?,
                member => row.session.read(member, &mut members)?,
            }
        }
        let is_kept =
            row.session.session_id > 0 && self.0.sift(&mut row.session, &mut row.error_message) == Sifted::Kept;
        Ok(is_kept.then_some(row))
    }
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str, operation: KillOperation) -> Result<KillAnswer, CallError> {
        let key = AccessKey { id: "id".to_owned(), secret: "canary".into(), security_token: None };
        let raw = RawAnswer { status, retry_after: None, gateway_time: None, body: body.as_bytes() };
        KillAnswer::read(raw, operation, Sieve::new(&key, &|_| true))
    }

    fn answer(status: u16, body: &str) -> Result<KillAnswer, CallError> {
        read(status, body, KillOperation::KillProcessList)
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
            let body = format!(r#"{{"RequestId":"R","Data":{data}}}"#);
            let answer = read(200, &body, KillOperation::BatchKillProcessList).unwrap();
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

    #[test]
    fn texts_are_cut_where_they_are_read() {
        let long = "数".repeat(1_000_000);
        let row = format!(r#"{{"SessionId":7,"User":"{long}","ErrorMessage":"{long}"}}"#);
        let answer = answer(200, &format!(r#"{{"RequestId":"{long}","Data":[{row}]}}"#)).unwrap();
        let row = &answer.rows[0];
        assert_eq!(answer.request_id.chars().count(), MAX_REQUEST_ID / 3);
        assert_eq!([row.session.user.len(), row.error_message.len()], [1023, 8190]);
    }
}
