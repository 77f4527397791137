//! Whether a session is the one that the request means. Pure.

use sessionkill_api::{Expect, SessionState, TransactionState};

use crate::session::{Seen, same_address};
use crate::text::quoted;

/// The most characters of a value in a message: as many as `expect` may have.
const MAX_SHOWN: usize = 128;

/// Each field of `seen` that differs from `expect`, and how; `None` if all given fields match.
#[must_use]
pub fn mismatch(expect: &Expect, seen: &Seen) -> Option<String> {
    let state = expect.state.map(SessionState::as_listed);
    let transaction = expect.transaction.map(|transaction| match transaction {
        TransactionState::Open => "open",
        TransactionState::None => "none",
    });
    let found_transaction = if seen.transaction_id.is_empty() { "none" } else { "open" }.to_owned();
    let client_port = expect.client_port.map(|port| port.to_string());
    let same: fn(&str, &str) -> bool = |expected, found| expected == found;
    let same_word: fn(&str, &str) -> bool = |expected, found| expected.eq_ignore_ascii_case(found);
    let fields = [
        ("user", expect.user.as_deref(), &seen.user, same),
        ("database", expect.database.as_deref(), &seen.database, same),
        ("clientIP", expect.client_ip.as_deref(), &seen.client_ip, same_address),
        ("clientPort", client_port.as_deref(), &seen.client_port, same),
        ("command", expect.command.as_deref(), &seen.command, same_word),
        ("state", state, &seen.status, same_word),
        ("sqlID", expect.sql_id.as_deref(), &seen.sql_id, same_word),
        ("traceID", expect.trace_id.as_deref(), &seen.trace_id, same),
        ("transactionID", expect.transaction_id.as_deref(), &seen.transaction_id, same),
        ("transaction", transaction, &found_transaction, same),
        ("proxySessionID", expect.proxy_session_id.as_deref(), &seen.proxy_session_id, same),
    ];
    let mut differences: Vec<String> = fields
        .into_iter()
        .filter_map(|(name, expected, found, holds)| {
            let expected = expected?;
            (!holds(expected, found)).then(|| format!("{name} is {}, expected {}", shown(found), shown(expected)))
        })
        .collect();
    if let Some(least) = expect.min_execution_seconds {
        // A text that is no number does not match.
        if seen.seconds().is_none_or(|seconds| seconds < i64::from(least)) {
            let found = shown(&seen.execute_time);
            differences.push(format!("ExecuteTime is {found}, expected minExecutionSeconds {least} at least"));
        }
    }
    (!differences.is_empty()).then(|| differences.join("; "))
}

fn shown(value: &str) -> String {
    quoted(value, MAX_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            client_ip: "10.2.3.4".to_owned(),
            user: "report_ro".to_owned(),
            database: "reports".to_owned(),
            command: "Query".to_owned(),
            status: "ACTIVE".to_owned(),
            sql_id: "45CCBDC7F1D2A0B34C5D6E7F8091A2B3".to_owned(),
            proxy_session_id: "752113700739156671".to_owned(),
            execute_time: "300".to_owned(),
            client_port: "54321".to_owned(),
            trace_id: "YB42-1".to_owned(),
            transaction_id: "7".to_owned(),
            ..Seen::default()
        }
    }

    fn all() -> Expect {
        Expect {
            user: Some("report_ro".to_owned()),
            database: Some("reports".to_owned()),
            client_ip: Some("::ffff:10.2.3.4".to_owned()),
            command: Some("query".to_owned()),
            state: Some(SessionState::Active),
            sql_id: Some("45ccbdc7f1d2a0b34c5d6e7f8091a2b3".to_owned()),
            proxy_session_id: Some("752113700739156671".to_owned()),
            min_execution_seconds: Some(300),
            client_port: Some(54_321),
            trace_id: Some("YB42-1".to_owned()),
            transaction_id: Some("7".to_owned()),
            transaction: Some(TransactionState::Open),
        }
    }

    #[test]
    fn a_session_that_is_as_expected_has_no_mismatch() {
        assert_eq!(mismatch(&all(), &seen()), None);
        assert_eq!(mismatch(&Expect::default(), &Seen::default()), None);
    }

    type Change = fn(&mut Seen);

    #[test]
    fn each_field_counts_and_is_named_with_both_values() {
        let changes: [(Change, &str); 10] = [
            (|s| s.user = "Report_ro".to_owned(), r#"user is "Report_ro", expected "report_ro""#),
            (|s| s.database.clear(), r#"database is "", expected "reports""#),
            (|s| s.client_ip = "10.2.3.5".to_owned(), r#"clientIP is "10.2.3.5", expected "::ffff:10.2.3.4""#),
            (|s| s.command = "Sleep".to_owned(), r#"command is "Sleep", expected "query""#),
            (|s| s.status = "SLEEP".to_owned(), r#"state is "SLEEP", expected "ACTIVE""#),
            (|s| s.sql_id = "0".to_owned(), r#"sqlID is "0", expected "45ccbdc7f1d2a0b34c5d6e7f8091a2b3""#),
            (|s| s.client_port = "5".to_owned(), r#"clientPort is "5", expected "54321""#),
            (|s| s.trace_id = "yb42-1".to_owned(), r#"traceID is "yb42-1", expected "YB42-1""#),
            (|s| s.proxy_session_id.clear(), r#"proxySessionID is "", expected "752113700739156671""#),
            (
                |s| s.execute_time = "299.9".to_owned(),
                r#"ExecuteTime is "299.9", expected minExecutionSeconds 300 at least"#,
            ),
        ];
        for (change, message) in changes {
            let mut seen = seen();
            change(&mut seen);
            assert_eq!(mismatch(&all(), &seen).as_deref(), Some(message));
        }
    }

    #[test]
    fn what_looks_the_same_and_is_not_is_told_apart() {
        let named = |user: &str, expected: &str| {
            let expect = Expect { user: Some(expected.to_owned()), ..Expect::default() };
            mismatch(&expect, &Seen { user: user.to_owned(), ..Seen::default() })
        };
        assert_eq!(named("batch ", "batch "), None);
        assert_eq!(named("a\u{200b}", "a\u{200b}"), None);
        assert_eq!(named("batch ", "batch").as_deref(), Some(r#"user is "batch ", expected "batch""#));
        assert_eq!(named("a\u{200b}", "a").as_deref(), Some(r#"user is "a\u{200b}", expected "a""#));
        assert_eq!(named("a", "a\u{202e}").as_deref(), Some(r#"user is "a", expected "a\u{202e}""#));
    }

    #[test]
    fn all_differences_are_named() {
        let found = mismatch(&all(), &Seen::default()).unwrap();
        assert_eq!(found.matches("expected").count(), 12, "{found}");
    }

    #[test]
    fn an_open_transaction_is_told_from_none_and_from_another() {
        let of = |transaction, id: &str| {
            let expect = Expect { transaction: Some(transaction), ..Expect::default() };
            mismatch(&expect, &Seen { transaction_id: id.to_owned(), ..Seen::default() })
        };
        assert_eq!(of(TransactionState::Open, "7"), None);
        assert_eq!(of(TransactionState::None, ""), None);
        assert_eq!(of(TransactionState::Open, "").as_deref(), Some(r#"transaction is "none", expected "open""#));
        assert_eq!(of(TransactionState::None, "7").as_deref(), Some(r#"transaction is "open", expected "none""#));
        let other = Seen { transaction_id: "8".to_owned(), ..seen() };
        assert_eq!(mismatch(&all(), &other).as_deref(), Some(r#"transactionID is "8", expected "7""#));
    }

    #[test]
    fn a_time_that_is_no_number_proves_nothing() {
        for time in ["", "long", "-1"] {
            let seen = Seen { execute_time: time.to_owned(), ..seen() };
            assert!(mismatch(&all(), &seen).is_some(), "{time}");
        }
    }
}
