//! Parses the answer to a kill from bytes into a typed answer or error. Pure, and total: no input makes it panic.

use std::borrow::Cow;

use serde::de::{MapAccess, SeqAccess};
use sessionkill_api::Operation;
use sessionkill_core::backend::{CallError, KillAnswer};
use sessionkill_core::session::Row;

use super::json::{By, Reader, Text};
use super::raw_answer::{Body, RawAnswer};
use super::session_row::{self, Member};
use super::sieve::{Sieve, Sifted};

/// The most bytes read of the answer to a kill: 500 rows, the most of one call, with statements of 8 KiB.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Parses the answer to `operation`. Missing or null `Data` means no rows. A row that is no object or has no session ID
/// is dropped, so that its session counts as unanswered. A row has no `SqlId` and no `ProxySessId`.
pub fn read_answer<B: Body>(
    raw: RawAnswer<B>,
    operation: Operation,
    mut sieve: Sieve<'_>,
) -> Result<KillAnswer, CallError> {
    let key = sieve.key().clone();
    let (request_id, rows) = raw.read(&key, KilledRows(&mut sieve))?;
    let rows = match operation {
        Operation::KillProcessList => rows.unwrap_or_default(),
        // The rows of BatchKillProcessList name no session.
        Operation::BatchKillProcessList | Operation::Kill => vec![],
    };
    Ok(KillAnswer { request_id, rows })
}

/// Parses the rows of an answer.
struct KilledRows<'s, 'a>(&'s mut Sieve<'a>);

impl<'de> Reader<'de> for KilledRows<'_, '_> {
    type Value = Vec<Row>;

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

/// Parses a row; `None` if it is dropped.
struct KilledRow<'s, 'a>(&'s mut Sieve<'a>);

impl<'de> Reader<'de> for KilledRow<'_, '_> {
    type Value = Option<Row>;

    fn scalar(self, _: Option<Cow<'_, str>>) -> Self::Value {
        None
    }

    fn passed_over(self) -> Self::Value {
        None
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut row = Row::default();
        while let Some(member) = members.next_key()? {
            match member {
                Member::ErrorMessage => row.error_message = members.next_value_seed(By(Text))?,
                member => session_row::read(&mut row.seen, member, &mut members)?,
            }
        }
        let is_kept = row.seen.session_id > 0 && self.0.sift(&mut row.seen, &mut row.error_message) == Sifted::Kept;
        Ok(is_kept.then_some(row))
    }
}

#[cfg(test)]
mod tests {
    use sessionkill_core::backend::ErrorKind;

    use super::*;
    use crate::alibaba::AccessKey;
    use crate::alibaba::raw_answer::MAX_REQUEST_ID;

    fn read(status: u16, body: &str, operation: Operation) -> Result<KillAnswer, CallError> {
        let key = AccessKey { id: "id".to_owned(), secret: "canary".into(), security_token: None };
        let raw = RawAnswer { status, retry_after: None, gateway_time: None, body: body.as_bytes() };
        read_answer(raw, operation, Sieve::new(&key, &|_| true))
    }

    fn answer(status: u16, body: &str) -> Result<KillAnswer, CallError> {
        read(status, body, Operation::KillProcessList)
    }

    fn kind(status: u16, body: &str) -> ErrorKind {
        answer(status, body).unwrap_err().kind
    }

    /// The example of the API's own page.
    const SAMPLE: &str = r#"{"RequestId": "EE205C00-30E4-XXXX-XXXX-87E3A8A2AA0C", "Data": [{"SessionId": 1123,
        "ServerIp": "127.0.0.1", "Status": "SLEEP", "ErrorMessage": "Instance not found.", "ClientIp": "127.0.0.1",
        "TenantId": "t3ogqv07a56n4", "User": "oas", "Database": "test", "SqlText": ":", "Command": "select 1",
        "ExecuteTime": "142"}]}"#;

    #[test]
    fn the_documented_sample_is_read() {
        let answer = answer(200, SAMPLE).unwrap();
        assert_eq!(answer.request_id, "EE205C00-30E4-XXXX-XXXX-87E3A8A2AA0C");
        let row = &answer.rows[0];
        let session = &row.seen;
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
        assert_eq!(answer.rows[0].seen.session_id, 1123);
        assert_eq!(answer.rows[0].seen.execute_time, "142");
        assert_eq!(answer.rows[0].seen.user, "");
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
            let answer = read(200, &body, Operation::BatchKillProcessList).unwrap();
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
        assert_eq!([row.seen.user.len(), row.error_message.len()], [1023, 8190]);
    }
}
