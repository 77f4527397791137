//! Which rows of an answer are those of a request: its call may name the sessions of others too. Pure.

use sessionkill_api::{Scope, Session, SessionKill};

use crate::session::{Meant, Row, Verdict, same_address};

/// Whether a kill was sent, or may have been, for a session of `object`, by the rows of a call that was executed in part.
#[must_use]
pub fn is_sent(object: &SessionKill, rows: &[Row]) -> bool {
    let is_sent = |row: &&Row| matches!(row.verdict, Verdict::Answered | Verdict::Ambiguous(_));
    rows.iter()
        .filter(is_sent)
        .any(|row| object.spec.sessions.iter().any(|session| is_of(session, object.spec.scope, row)))
}

/// The rows for `object`: another request of the call may name the same session, and mean something else.
#[must_use]
pub fn rows_of(object: &SessionKill, rows: &[Row]) -> Vec<Row> {
    let is_meant = |row: &&Row| row.meant.as_ref().is_none_or(|meant| meant.scope == object.spec.scope);
    rows.iter().filter(is_meant).cloned().collect()
}

fn is_of(session: &Session, scope: Scope, row: &Row) -> bool {
    let is_meant = |meant: &Meant| {
        (meant.scope, meant.server_port, &meant.expect) == (scope, session.server_port, &session.expect)
    };
    row.seen.session_id == session.session_id
        && same_address(&row.seen.server_ip, &session.server_ip)
        && row.meant.as_ref().is_none_or(is_meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Seen;
    use crate::test_objects::{request, seen};
    use sessionkill_api::{Expect, SessionReason};

    fn row(number: usize, verdict: Verdict) -> Row {
        Row { seen: seen(number), verdict, ..Row::default() }
    }

    #[test]
    fn only_what_was_written_may_have_been_executed() {
        let text = || "why".to_owned();
        for (verdict, expected) in [
            (Verdict::Answered, true),
            (Verdict::Ambiguous(text()), true),
            (Verdict::Skipped(text()), false),
            (Verdict::Gone(SessionReason::NotFound), false),
            (Verdict::NotSent(text()), false),
        ] {
            let rows = [row(0, Verdict::NotSent(text())), row(1, verdict.clone())];
            assert_eq!(is_sent(&request(), &rows), expected, "{verdict:?}");
        }
    }

    #[test]
    fn a_kill_for_another_request_is_not_its_own() {
        let other = Seen { session_id: 8, ..seen(1) };
        assert!(!is_sent(&request(), &[Row { seen: other, ..Row::default() }]), "another session");
        let meaning = |meant: Meant| Row { meant: Some(meant), ..row(1, Verdict::Answered) };
        let same = Meant::default();
        let others = [
            Meant { scope: Scope::Query, ..same.clone() },
            Meant { server_port: Some(2881), ..same.clone() },
            Meant { expect: Some(Expect::default()), ..same.clone() },
        ];
        assert!(is_sent(&request(), &[meaning(same)]));
        for meant in others {
            assert!(!is_sent(&request(), &[meaning(meant.clone())]), "{meant:?}");
        }
    }

    #[test]
    fn the_same_session_may_be_in_the_call_for_its_statement_only() {
        let of = |scope| Row { meant: Some(Meant { scope, ..Meant::default() }), ..row(0, Verdict::Answered) };
        let rows = [of(Scope::Query), of(Scope::Session), row(1, Verdict::Answered)];
        assert_eq!(rows_of(&request(), &rows), rows[1..]);
    }
}
