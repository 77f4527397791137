//! Turns the answer to a call into the outcome of each session and of the request. Pure.

use jiff::Timestamp;
use sessionkill_api::{
    Counts, Outcome, Session, SessionKillReceiptSpec, SessionOutcome, SessionReason, SessionStatus, SqlTextPolicy,
};

use crate::session::{MAX_ADDRESS, MAX_NAME, Meant, Row, Seen, Verdict, observed, same_address, session_status};
use crate::text::{clamp, quoted};

/// The outcome of each of `planned` after a call was answered with `rows`; `sessions` are the request's, in the same
/// order. Sessions decided before the call keep their outcome.
///
/// A row without an error message succeeded; rows are matched by server address and session ID. A session without a row
/// is `Unknown`, as it may have been killed. Unless the operation `answers_each_session`, none has a row, so that only
/// verification can tell.
#[must_use]
pub fn from_answer(
    sessions: &[Session],
    planned: &[SessionStatus],
    (answers_each_session, rows): (bool, &[Row]),
    policy: SqlTextPolicy,
    now: Timestamp,
) -> Vec<SessionStatus> {
    let missing = if answers_each_session { SessionReason::MissingInAnswer } else { SessionReason::NotVerified };
    let answered = |session: &Session, planned: &SessionStatus| {
        let row = rows.iter().find(|row| is_of(session, row));
        let Some(row) = row else { return ended(planned, SessionOutcome::Unknown, missing) };
        let (outcome, reason, message) = match &row.verdict {
            Verdict::Answered if row.error_message.trim().is_empty() => {
                (SessionOutcome::Killed, SessionReason::Accepted, "")
            }
            Verdict::Answered => (SessionOutcome::Failed, SessionReason::KillRefused, ""),
            Verdict::Skipped(how) => (SessionOutcome::Skipped, SessionReason::PreconditionMismatch, how.as_str()),
            Verdict::Gone(why) => (SessionOutcome::Gone, *why, ""),
            Verdict::Ambiguous(why) => (SessionOutcome::Unknown, SessionReason::AnswerLost, why.as_str()),
            Verdict::NotSent(why) => (SessionOutcome::Failed, SessionReason::NotSent, why.as_str()),
        };
        if row.verdict != Verdict::Answered {
            return SessionStatus { message: clamp(message, 1024), ..ended(planned, outcome, reason) };
        }
        SessionStatus {
            status: clamp(&row.seen.status, 64),
            error_message: clamp(&row.error_message, 1024),
            message: clamp(&echo_mismatch(session, planned, &row.seen).unwrap_or_default(), 1024),
            observed: planned.observed.clone().or_else(|| Some(observed(&row.seen, policy, now))),
            ..ended(planned, outcome, reason)
        }
    };
    let outcome_of = |(session, planned): (&Session, &SessionStatus)| match planned.outcome {
        SessionOutcome::Pending => answered(session, planned),
        _ => planned.clone(),
    };
    sessions.iter().zip(planned).map(outcome_of).collect()
}

/// The sessions for which the answer names another user, database or client than was expected or seen before, or
/// `None`.
#[must_use]
pub fn target_mismatch(sessions: &[Session], planned: &[SessionStatus], rows: &[Row]) -> Option<String> {
    let differing = |(session, planned): (&Session, &SessionStatus)| {
        let row = rows.iter().find(|row| is_of(session, row))?;
        let difference = echo_mismatch(session, planned, &row.seen)?;
        Some(format!("session {} of {}: {difference}", session.session_id, session.server_ip))
    };
    let named: Vec<_> = sessions.iter().zip(planned).filter_map(differing).collect();
    (!named.is_empty()).then(|| named.join("; "))
}

/// One field of a session that is compared with the answer.
struct Echo<'a> {
    name: &'static str,
    /// As the request's `expect` gives it.
    expected: Option<String>,
    /// As stored when the session was seen before the call; empty if it was not seen.
    before: String,
    /// As the answer gives it.
    echoed: &'a str,
    /// The most characters stored of this field.
    most: usize,
    same: fn(&str, &str) -> bool,
}

impl Echo<'_> {
    /// How the answer differs; `None` if it is empty or if nothing was expected or seen. A stored value was cut, so
    /// that the answer is cut before the two are compared.
    fn difference(self) -> Option<String> {
        let Self { name, expected, before, echoed, most, same } = self;
        let (is_same, meant) = match expected {
            Some(expected) => (same(&expected, echoed), expected),
            None => (before.is_empty() || same(&before, &clamp(echoed, most)), before),
        };
        let differs = !is_same && !echoed.is_empty();
        differs.then(|| format!("the answer names {name} {}, not {}", quoted(echoed, most), quoted(&meant, most)))
    }
}

/// How the session in the answer differs from the one that was meant.
fn echo_mismatch(session: &Session, planned: &SessionStatus, echoed: &Seen) -> Option<String> {
    let expected = session.expect.clone().unwrap_or_default();
    let before = planned.observed.clone().unwrap_or_default();
    let same_text: fn(&str, &str) -> bool = |meant, echoed| meant == echoed;
    let fields = [
        ("user", expected.user, before.user, &echoed.user, MAX_NAME, same_text),
        ("database", expected.database, before.database, &echoed.database, MAX_NAME, same_text),
        ("client", expected.client_ip, before.client_ip, &echoed.client_ip, MAX_ADDRESS, same_address),
    ];
    let named: Vec<_> = fields
        .into_iter()
        .filter_map(|(name, expected, before, echoed, most, same)| {
            Echo { name, expected, before, echoed, most, same }.difference()
        })
        .collect();
    (!named.is_empty()).then(|| named.join("; "))
}

/// Gives every session that was to be killed the same outcome, for a call that is judged as a whole.
#[must_use]
pub fn for_sent(planned: &[SessionStatus], outcome: SessionOutcome, reason: SessionReason) -> Vec<SessionStatus> {
    let sent = |session: &SessionStatus| match session.outcome {
        SessionOutcome::Pending => ended(session, outcome, reason),
        _ => session.clone(),
    };
    planned.iter().map(sent).collect()
}

/// The most characters kept of the API's reason for a refusal.
const MAX_WHY: usize = 512;

/// Fails every session that was to be killed, as the API refused the call before execution and would refuse it again.
#[must_use]
pub fn rejected(planned: &[SessionStatus], why: &str) -> Vec<SessionStatus> {
    let mut sessions = for_sent(planned, SessionOutcome::Failed, SessionReason::RequestRejected);
    for session in sessions.iter_mut().filter(|session| session.reason == SessionReason::RequestRejected) {
        session.message = clamp(why, MAX_WHY);
    }
    sessions
}

/// Gives every session the same outcome, for a request that is judged as a whole.
#[must_use]
pub fn for_all(sessions: &[Session], outcome: SessionOutcome, reason: SessionReason) -> Vec<SessionStatus> {
    sessions.iter().map(|session| session_status(session, outcome, reason)).collect()
}

/// How many sessions have which outcome.
#[must_use]
pub fn counts(sessions: &[SessionStatus]) -> Counts {
    let mut counts = Counts::default();
    for session in sessions {
        counts.total += 1;
        match session.outcome {
            SessionOutcome::Pending => {}
            SessionOutcome::Killed => counts.killed += 1,
            SessionOutcome::Gone => counts.gone += 1,
            SessionOutcome::Skipped => counts.skipped += 1,
            SessionOutcome::Failed => counts.failed += 1,
            SessionOutcome::Unknown => counts.unknown += 1,
        }
    }
    counts
}

/// Whether nothing is sent under the claim of `receipt`, as its selector matched nothing, or too much.
#[must_use]
pub fn sends_nothing(receipt: &SessionKillReceiptSpec) -> bool {
    receipt.matched.is_some() && receipt.sessions.iter().all(|session| session.outcome != SessionOutcome::Pending)
}

/// The reason with which a request with these `sessions` ends.
#[must_use]
pub fn summary(sessions: &[SessionStatus]) -> Outcome {
    let counts = counts(sessions);
    let ended = counts.killed + counts.gone;
    if counts.unknown > 0 {
        Outcome::OutcomeUnknown
    } else if ended == counts.total {
        if counts.killed > 0 { Outcome::SessionsKilled } else { Outcome::SessionsGone }
    } else if counts.killed == 0 && counts.failed == 0 {
        // Nothing was sent, or all that was sent has ended: only the skipped sessions are left.
        Outcome::PreconditionFailed
    } else if ended > 0 {
        Outcome::PartiallyKilled
    } else if sessions.iter().any(|session| session.reason == SessionReason::StillPresent) {
        Outcome::StillPresent
    } else {
        Outcome::KillFailed
    }
}

/// `session` with another outcome.
#[must_use]
pub fn ended(session: &SessionStatus, outcome: SessionOutcome, reason: SessionReason) -> SessionStatus {
    SessionStatus { outcome, reason, ..session.clone() }
}

fn is_of(session: &Session, row: &Row) -> bool {
    let is_meant = |meant: &Meant| (&meant.expect, meant.server_port) == (&session.expect, session.server_port);
    row.seen.session_id == session.session_id
        && same_address(&session.server_ip, &row.seen.server_ip)
        && row.meant.as_ref().is_none_or(is_meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::precheck::{MustSee, precheck};
    use crate::test_objects::{attempt, request, seen, snapshot, time};
    use sessionkill_api::Expect;

    fn row(number: usize, error_message: &str) -> Row {
        Row { seen: seen(number), error_message: error_message.to_owned(), ..Row::default() }
    }

    /// The outcomes of the two sessions of the request, both seen before.
    fn answered(sessions: &[Session], rows: &[Row]) -> Vec<SessionStatus> {
        let list = snapshot(vec![seen(0), seen(1)]);
        let planned = precheck(sessions, Some(&list), MustSee::Expected, SqlTextPolicy::Truncated).unwrap();
        let answer = (true, rows);
        from_answer(sessions, &planned, answer, SqlTextPolicy::Truncated, time("10:00:01"))
    }

    fn reason_for(errors: [Option<&str>; 2]) -> (Outcome, Vec<SessionStatus>) {
        let rows: Vec<Row> =
            errors.iter().enumerate().filter_map(|(number, error)| Some(row(number, (*error)?))).collect();
        let sessions = answered(&request().spec.sessions, &rows);
        (summary(&sessions), sessions)
    }

    #[test]
    fn an_empty_error_message_means_killed() {
        let (reason, sessions) = reason_for([Some(""), Some(" ")]);
        assert_eq!(reason, Outcome::SessionsKilled);
        assert_eq!(sessions[0].status, "ACTIVE");
        assert_eq!(sessions[0].reason, SessionReason::Accepted);
        assert_eq!(sessions[0].message, "");
    }

    #[test]
    fn some_errors_make_it_partial_and_all_errors_make_it_failed() {
        assert_eq!(reason_for([Some(""), Some("Unknown thread id: 7")]).0, Outcome::PartiallyKilled);
        let (reason, sessions) = reason_for([Some("Instance not found."), Some("Unknown thread id: 7")]);
        assert_eq!(reason, Outcome::KillFailed);
        assert_eq!(sessions[1].error_message, "Unknown thread id: 7");
    }

    #[test]
    fn the_counts_add_up_and_the_summary_follows_from_them() {
        use SessionOutcome::{Failed, Gone, Killed, Pending, Skipped, Unknown};
        let session = &request().spec.sessions[0];
        for (outcomes, expected) in [
            (vec![Killed, Killed], Outcome::SessionsKilled),
            (vec![Killed, Gone], Outcome::SessionsKilled),
            (vec![Gone, Gone], Outcome::SessionsGone),
            (vec![Killed, Failed], Outcome::PartiallyKilled),
            (vec![Killed, Skipped], Outcome::PartiallyKilled),
            (vec![Gone, Failed], Outcome::PartiallyKilled),
            (vec![Failed, Skipped], Outcome::KillFailed),
            (vec![Skipped, Skipped], Outcome::PreconditionFailed),
            (vec![Gone, Skipped], Outcome::PreconditionFailed),
            (vec![Killed, Failed, Unknown], Outcome::OutcomeUnknown),
            (vec![Killed, Pending], Outcome::PartiallyKilled),
        ] {
            let status = |outcome: &SessionOutcome| session_status(session, *outcome, SessionReason::Waiting);
            let sessions: Vec<_> = outcomes.iter().map(status).collect();
            let Counts { total, killed, gone, skipped, failed, unknown, matched: _ } = counts(&sessions);
            assert_eq!(summary(&sessions), expected, "{outcomes:?}");
            let pending = outcomes.iter().filter(|outcome| **outcome == Pending).count();
            assert_eq!(total, killed + gone + skipped + failed + unknown + i32::try_from(pending).unwrap());
        }
    }

    #[test]
    fn sessions_that_are_still_there_have_their_own_reason() {
        let session = &request().spec.sessions[0];
        let still = session_status(session, SessionOutcome::Failed, SessionReason::StillPresent);
        let skipped = session_status(session, SessionOutcome::Skipped, SessionReason::PreconditionMismatch);
        assert_eq!(summary(&[still, skipped]), Outcome::StillPresent);
    }

    #[test]
    fn a_missing_row_is_unknown_and_outweighs_the_rest() {
        let (reason, sessions) = reason_for([Some(""), None]);
        assert_eq!(reason, Outcome::OutcomeUnknown);
        assert_eq!(sessions[1].reason, SessionReason::MissingInAnswer);
    }

    #[test]
    fn an_answer_without_rows_by_design_says_nothing() {
        let sessions = request().spec.sessions;
        let planned = precheck(&sessions, None, MustSee::Expected, SqlTextPolicy::None).unwrap();
        let answer = (false, &[][..]);
        let outcome = from_answer(&sessions, &planned, answer, SqlTextPolicy::None, time("10:00:01"));
        assert!(outcome.iter().all(|session| session.outcome == SessionOutcome::Unknown));
        assert_eq!(outcome[0].reason, SessionReason::NotVerified);
    }

    #[test]
    fn a_row_of_another_server_is_not_an_answer() {
        let mut stray = row(0, "");
        stray.seen.server_ip = "10.9.9.9".to_owned();
        let outcome = answered(&request().spec.sessions, &[stray]);
        assert_eq!(outcome[0].outcome, SessionOutcome::Unknown);
    }

    #[test]
    fn servers_are_matched_by_address_not_by_spelling() {
        let mut sessions = request().spec.sessions;
        sessions.truncate(1);
        sessions[0].server_ip = "fd00::1".to_owned();
        let planned = precheck(&sessions, None, MustSee::Expected, SqlTextPolicy::None).unwrap();
        let mut spelled = row(0, "");
        spelled.seen.server_ip = "FD00:0:0::1".to_owned();
        let answer = (true, &[spelled][..]);
        let outcome = from_answer(&sessions, &planned, answer, SqlTextPolicy::None, time("10:00:00"));
        assert_eq!(outcome[0].outcome, SessionOutcome::Killed);
    }

    #[test]
    fn what_was_decided_before_the_call_stays() {
        let mut sessions = request().spec.sessions;
        sessions[0].expect = Some(Expect { user: Some("app".to_owned()), ..Expect::default() });
        let outcome = answered(&sessions, &[row(0, ""), row(1, "")]);
        assert_eq!(
            (outcome[0].outcome, outcome[0].reason),
            (SessionOutcome::Skipped, SessionReason::PreconditionMismatch)
        );
        assert_eq!(outcome[1].outcome, SessionOutcome::Killed);
        let lost = for_sent(&outcome, SessionOutcome::Unknown, SessionReason::AnswerLost);
        assert_eq!(lost, outcome);
    }

    #[test]
    fn an_answer_that_names_another_session_is_noticed() {
        let sessions = request().spec.sessions;
        let list = snapshot(vec![seen(0), seen(1)]);
        let planned = precheck(&sessions, Some(&list), MustSee::Expected, SqlTextPolicy::None).unwrap();
        let mut echo = row(0, "");
        assert_eq!(target_mismatch(&sessions, &planned, &[echo.clone()]), None);
        echo.seen.client_ip = "::ffff:10.2.3.4".to_owned();
        echo.seen.database.clear();
        assert_eq!(target_mismatch(&sessions, &planned, &[echo.clone()]), None, "spelling, and nothing said");
        echo.seen.user = "app".to_owned();
        let found = target_mismatch(&sessions, &planned, &[echo.clone()]).unwrap();
        assert_eq!(found, r#"session 3221614618 of 192.168.13.119: the answer names user "app", not "report_ro""#);
        let outcome = answered(&sessions, &[echo, row(1, "")]);
        assert_eq!(outcome[0].message, r#"the answer names user "app", not "report_ro""#);
        assert_eq!(outcome[0].observed.as_ref().unwrap().user, "report_ro");
    }

    #[test]
    fn without_an_earlier_observation_the_answer_is_held_against_expect() {
        let mut sessions = request().spec.sessions;
        let planned = precheck(&sessions, None, MustSee::Expected, SqlTextPolicy::None).unwrap();
        sessions[0].expect = Some(Expect { database: Some("hr".to_owned()), ..Expect::default() });
        let found = target_mismatch(&sessions, &planned, &[row(0, "")]).unwrap();
        assert!(found.ends_with(r#"the answer names database "reports", not "hr""#), "{found}");
    }

    #[test]
    fn what_the_answer_names_is_compared_as_it_came() {
        let named = |user: &str| Seen { user: user.to_owned(), ..seen(0) };
        let answer = |user: &str| [Row { seen: named(user), ..Row::default() }];
        for (name, alike) in [("batch ", "batch"), (" a", "a"), ("a\n", "a "), ("a\u{200b}b", "ab"), ("a\u{202e}", "a")]
        {
            let mut sessions = request().spec.sessions;
            sessions.truncate(1);
            for expect in [None, Some(Expect { user: Some(name.to_owned()), ..Expect::default() })] {
                sessions[0].expect = expect;
                let list = snapshot(vec![named(name)]);
                let planned = precheck(&sessions, Some(&list), MustSee::Expected, SqlTextPolicy::None).unwrap();
                assert_eq!(planned[0].outcome, SessionOutcome::Pending, "{name:?}");
                assert_eq!(target_mismatch(&sessions, &planned, &answer(name)), None, "{name:?}");
                assert!(target_mismatch(&sessions, &planned, &answer(alike)).is_some(), "{name:?}");
            }
        }
    }

    #[test]
    fn text_from_outside_is_bounded() {
        let mut long = row(0, &"e\u{1b}".repeat(5000));
        long.seen.sql_text = "数".repeat(5000);
        let sessions = &request().spec.sessions[..1];
        let planned = precheck(sessions, None, MustSee::Expected, SqlTextPolicy::Truncated).unwrap();
        let answer = (true, &[long][..]);
        let outcome = from_answer(sessions, &planned, answer, SqlTextPolicy::Truncated, time("10:00:00")).remove(0);
        assert_eq!(outcome.error_message.chars().count(), 1024);
        assert!(!outcome.error_message.contains('\u{1b}'));
        assert_eq!(outcome.observed.unwrap().sql_text.chars().count(), 256);
    }

    #[test]
    fn a_refused_call_fails_what_it_named_and_says_why() {
        let mut planned = attempt().planned;
        planned[1] = ended(&planned[1], SessionOutcome::Gone, SessionReason::NotFound);
        let refused = rejected(&planned, &"why".repeat(1000));
        assert_eq!((refused[0].outcome, refused[0].reason), (SessionOutcome::Failed, SessionReason::RequestRejected));
        assert!(refused[0].message.starts_with("whywhy"), "{}", refused[0].message);
        assert_eq!(refused[0].message.chars().count(), 512);
        assert_eq!(refused[1], planned[1]);
    }

    #[test]
    fn each_session_ends_by_what_is_known_of_it_alone() {
        let verdicts = [
            (
                Verdict::Skipped("user is x".to_owned()),
                SessionOutcome::Skipped,
                SessionReason::PreconditionMismatch,
                "user is x",
            ),
            (Verdict::Gone(SessionReason::IdReused), SessionOutcome::Gone, SessionReason::IdReused, ""),
            (Verdict::Ambiguous("lost".to_owned()), SessionOutcome::Unknown, SessionReason::AnswerLost, "lost"),
            (Verdict::NotSent("ended".to_owned()), SessionOutcome::Failed, SessionReason::NotSent, "ended"),
        ];
        let request = request();
        for (verdict, outcome, reason, message) in verdicts {
            let row = Row { seen: seen(0), verdict, ..Row::default() };
            let policy = SqlTextPolicy::Truncated;
            let judged = from_answer(
                &request.spec.sessions,
                &attempt().planned,
                (true, &[row, Row { seen: seen(1), ..Row::default() }]),
                policy,
                time("10:00:02"),
            );
            assert_eq!((judged[0].outcome, judged[0].reason, judged[0].message.as_str()), (outcome, reason, message));
            assert_eq!((judged[1].outcome, judged[1].reason), (SessionOutcome::Killed, SessionReason::Accepted));
        }
    }

    #[test]
    fn a_row_counts_for_those_only_who_mean_the_same_by_the_session() {
        let request = request();
        let meant = |user: &str| {
            let expect = sessionkill_api::Expect { user: Some(user.to_owned()), ..sessionkill_api::Expect::default() };
            Some(Meant { expect: Some(expect), ..Meant::default() })
        };
        let of = |meant| {
            let row = Row { seen: seen(0), meant, ..Row::default() };
            let rows = [row];
            from_answer(
                &request.spec.sessions,
                &attempt().planned,
                (true, &rows),
                SqlTextPolicy::None,
                time("10:00:02"),
            )[0]
            .reason
        };
        assert_eq!(of(Some(Meant::default())), SessionReason::Accepted);
        assert_eq!(of(None), SessionReason::Accepted);
        assert_eq!(of(meant("app")), SessionReason::MissingInAnswer);
    }
}
