//! Removes parts of the access key from texts of the gateway, which end up in statuses, Events and logs. Pure.

use sessionkill_core::backend::CallError;

use crate::access_key::AccessKey;

/// Replaces a text that contains a part of the key. It is not empty, as an empty ErrorMessage would mean success.
pub const WITHHELD: &str = "(withheld: it repeats a part of the access key)";

/// `error` without any text that contains a part of `key`; `said` are the texts it was made from. As its own texts were
/// cut and stripped of characters, they are checked for pieces of the key, too.
pub(super) fn without(key: &AccessKey, error: CallError, said: [&str; 3]) -> CallError {
    let CallError { kind, mut code, mut message, mut request_id, is_of_whole_call } = error;
    if said.iter().any(|text| key.is_named_in(text)) || key.is_quoted_in(&message) {
        message.clear();
    }
    if key.is_quoted_in(&request_id) {
        request_id.clear();
    }
    if key.is_quoted_in(&code) {
        "Withheld".clone_into(&mut code);
    }
    CallError { kind, code, message, request_id, is_of_whole_call }
}

/// Redacts `text`, and cuts it to `max` bytes. The whole text is checked, as the cut could remove the end of the key.
pub(super) fn told(key: &AccessKey, text: &mut String, max: usize) {
    if key.is_named_in(text) {
        WITHHELD.clone_into(text);
    } else if text.len() > max {
        // A copy, as a truncated `String` would keep its memory.
        *text = text[..text.floor_char_boundary(max)].to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alibaba::answer::read_answer;
    use crate::alibaba::raw_answer::RawAnswer;
    use crate::alibaba::sieve::Sieve;
    use crate::alibaba::{KillAnswer, Operation};

    fn key() -> AccessKey {
        let token = "CAIS+canary/token".repeat(8);
        AccessKey { id: "LTAI5tCanaryKeyID0000001".into(), secret: "s3cret".into(), security_token: Some(token.into()) }
    }

    fn killed(body: &str) -> Result<KillAnswer, CallError> {
        let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: body.as_bytes() };
        read_answer(raw, Operation::KillProcessList, Sieve::new(&key(), &|_| true))
    }

    #[test]
    fn a_success_that_repeats_the_key_is_told_without_it_and_stays_what_it_is() {
        let escaped = "\\u004cTAI5tCanaryKeyID0000001";
        for repeated in ["LTAI5tCanaryKeyID0000001", escaped, "s3cret"] {
            let row = format!(
                r#"{{"SessionId":7,"ServerIp":"::1","User":"{repeated}","ErrorMessage":"{repeated}","Status":"SLEEP"}}"#
            );
            let answer = killed(&format!(r#"{{"RequestId":"{repeated}","Data":[{row}]}}"#)).unwrap();
            let row = &answer.rows[0];
            for text in [&answer.request_id, &row.seen.user, &row.error_message] {
                assert_eq!(text, WITHHELD, "{repeated}");
            }
            assert_eq!((row.seen.session_id, row.seen.status.as_str()), (7, "SLEEP"));
        }
    }

    #[test]
    fn a_slash_may_be_escaped() {
        let token = "CAIS+canary\\/token".repeat(8);
        let answer = killed(&format!(r#"{{"RequestId":"R","Data":[{{"SessionId":7,"SqlText":"{token}"}}]}}"#)).unwrap();
        assert_eq!((answer.request_id.as_str(), answer.rows[0].seen.sql_text.as_str()), ("R", WITHHELD));
    }

    #[test]
    fn an_error_that_repeats_the_key_is_told_without_it() {
        let token = "CAIS+canary/token".repeat(8);
        let error = killed(&format!(r#"{{"Code":"{token}","RequestId":"{token}","Message":"m"}}"#)).unwrap_err();
        assert_eq!(error.to_string(), "Withheld");
        // The blanks are dropped, and the end is cut off.
        let spaced = token.replace('+', " + ");
        let error = killed(&format!(r#"{{"Code":"{spaced}","RequestId":"{spaced}","Message":"m"}}"#)).unwrap_err();
        assert_eq!(error.to_string(), "Withheld: m");
        let named = r#"{"Code":"Forbidden.RAM","RequestId":"R-1","Message":"LTAI5tCanaryKeyID0000001 may not"}"#;
        assert_eq!(killed(named).unwrap_err().to_string(), "Forbidden.RAM (request R-1)");
        let plain = r#"{"Code":"Forbidden.RAM","RequestId":"R-1","Message":"you may not"}"#;
        assert_eq!(killed(plain).unwrap_err().to_string(), "Forbidden.RAM: you may not (request R-1)");
    }
}
