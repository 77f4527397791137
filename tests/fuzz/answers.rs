//! The answer to a kill, and everything up to the status that is written because of it.

use std::net::IpAddr;
use std::sync::LazyLock;

use bolero::check;
use jiff::Timestamp;
use serde_json::{Value, json};
use sessionkill::api::{Operation, Session, SessionKill, SessionOutcome, SessionReason, SqlTextPolicy};
use sessionkill::domain::kill::conclusion::Conclusion;
use sessionkill::domain::kill::outcome::{from_answer, summary, target_mismatch};
use sessionkill::domain::kill::precheck::{MustSee, precheck};
use sessionkill::domain::kill::status::finished;
use sessionkill::domain::session::Row;
use sessionkill::oceanbase::answer::read_answer;
use sessionkill::oceanbase::raw_answer::RawAnswer;
use sessionkill::oceanbase::{KillAnswer, Sieve};

use crate::material::{Plan, assert_secret, body, key};
use crate::tally::{ITERATIONS, Tally};

/// The most sessions in a request.
const MAX_SESSIONS: usize = 100;

/// The most bytes in a status.
const MAX_STATUS: usize = 256 * 1024;

#[test]
fn kill_answers() {
    let tally = Tally::of("kill answers");
    check!().with_iterations(ITERATIONS).with_type::<(Plan, u16, u8)>().for_each(|(plan, status, choice)| {
        let body = body(plan);
        let status = if status % 8 == 0 { 100 + status / 8 % 500 } else { 200 };
        let read = |operation| {
            let raw = RawAnswer { status, retry_after: None, gateway_time: None, body: body.as_slice() };
            read_answer(raw, operation, Sieve::new(&key(), &|_| true))
        };
        let (batch, answer) = (read(Operation::BatchKillProcessList), read(Operation::KillProcessList));
        match (&batch, &answer) {
            (Ok(batch), Ok(answer)) => assert!(batch.rows.is_empty() && batch.request_id == answer.request_id),
            (batch, answer) => assert_eq!(batch.as_ref().unwrap_err(), answer.as_ref().unwrap_err()),
        }
        tally.count(answer.as_ref().is_ok_and(|answer| !answer.rows.is_empty()));
        match answer {
            Ok(answer) => check_answer((status, &body), &answer, others(*choice)),
            Err(error) => assert_secret(&format!("{error} {error:?}")),
        }
    });
    tally.assert_both();
}

fn check_answer((status, body): (u16, &[u8]), answer: &KillAnswer, others: usize) {
    assert_secret(&format!("{answer:?}"));
    check_status(answer, &request(answer, others));
    // Skip answers that a strict parser refuses: parts that our parser ignores may have invalid UTF-8 or half of a
    // surrogate pair.
    let Ok(sent) = serde_json::from_slice::<Value>(body) else { return };
    assert!((200..300).contains(&status) && sent.get("Code").is_none_or(is_empty), "{sent}");
    let data = sent.get("Data").or_else(|| sent.get("data")).and_then(Value::as_array).cloned().unwrap_or_default();
    assert!(answer.rows.len() <= data.len());
    let sent_errors = data.iter().filter(|row| row.get("ErrorMessage").is_some_and(|it| !is_empty(it))).count();
    let read_errors = answer.rows.iter().filter(|row| !row.error_message.is_empty()).count();
    // A row may be ignored, and its session then counts as not answered. But no read row loses its error.
    assert!(read_errors + (data.len() - answer.rows.len()) >= sent_errors, "{sent}");
    assert!(answer.rows.iter().all(|row| row.seen.session_id > 0));
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Array(_) | Value::Object(_)) || value == ""
}

/// How many sessions a request names that the answer does not: usually up to 3, and sometimes 100.
fn others(choice: u8) -> usize {
    if choice < 8 { MAX_SESSIONS } else { usize::from(choice) % 4 }
}

/// A request for the sessions in the answer and for `others` more, at least one in all.
fn request(answer: &KillAnswer, others: usize) -> SessionKill {
    // The API server accepts only IP addresses in a request.
    let is_address = |row: &&Row| row.seen.server_ip.parse::<IpAddr>().is_ok();
    let named = answer.rows.iter().filter(is_address);
    let named: Vec<_> = named.map(|row| (row.seen.server_ip.clone(), row.seen.session_id)).collect();
    let others = others.max(usize::from(named.is_empty()));
    let others = (1..).map(|id| ("10.0.0.1".to_owned(), id)).take(others);
    let sessions = named.into_iter().chain(others).take(MAX_SESSIONS);
    let mut request = EMPTY.clone();
    request.spec.sessions = sessions
        .map(|(server_ip, session_id)| Session { server_ip, server_port: None, session_id, expect: None })
        .collect();
    request
}

/// A request without sessions.
static EMPTY: LazyLock<SessionKill> = LazyLock::new(|| {
    let request = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill", "metadata": {"name": "fuzz", "generation": 1},
        "spec": {
            "connectionRef": {"name": "c"}, "instanceID": "o", "tenantID": "t", "sessions": [],
            "notAfterTime": "2026-10-05T10:30:00Z",
        },
    });
    serde_json::from_value(request).unwrap()
});

/// Checks that no session with an error counts as ended, and that the stored status is bounded and printable.
fn check_status(answer: &KillAnswer, request: &SessionKill) {
    let sessions: &[Session] = &request.spec.sessions;
    let rows = &answer.rows;
    let planned = precheck(sessions, None, MustSee::Expected, SqlTextPolicy::Truncated).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let outcome = from_answer(sessions, &planned, (true, rows.as_slice()), SqlTextPolicy::Truncated, now);
    for session in &outcome {
        let named = |row: &&Row| row.seen.session_id == session.session_id;
        let killed = session.outcome == SessionOutcome::Killed;
        assert_eq!(killed, session.reason == SessionReason::Accepted);
        assert!(!killed || rows.iter().filter(named).any(|row| row.error_message.trim().is_empty()), "{session:?}");
    }
    let conclusion = Conclusion {
        target_mismatch: target_mismatch(sessions, &planned, rows),
        ..Conclusion::uncalled(summary(&outcome), "m".repeat(5000), outcome)
    };
    let status = json!(finished(request, &conclusion, now));
    let bytes = status.to_string().len();
    assert!(bytes <= MAX_STATUS, "{bytes} bytes");
    assert_printable(&status);
}

fn assert_printable(value: &Value) {
    match value {
        Value::String(text) => assert!(!text.contains(char::is_control), "{text:?}"),
        Value::Array(values) => values.iter().for_each(assert_printable),
        Value::Object(members) => members.values().for_each(assert_printable),
        _ => {}
    }
}
