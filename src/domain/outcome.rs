//! From what the API answered to what became of each session, and of the request. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::text::clamp;
use crate::api::{Counts, ObservedSession, Outcome, Session, SessionOutcome, SessionReason, SessionStatus};

/// One row of the API's answer, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// ServerIp.
    pub server_ip: String,
    /// SessionId.
    pub session_id: i64,
    /// Status.
    pub status: String,
    /// ErrorMessage.
    pub error_message: String,
    /// ClientIp.
    pub client_ip: String,
    /// TenantId.
    pub tenant_id: String,
    /// User.
    pub user: String,
    /// Database.
    pub database: String,
    /// SqlText.
    pub sql_text: String,
    /// Command.
    pub command: String,
    /// ExecuteTime, as text.
    pub execute_time: String,
}

/// The outcome of each of `sessions`, from the rows of the answer. A row succeeded if its ErrorMessage is empty; rows are
/// matched by (ServerIp, SessionId). A session without a row may or may not have been killed: `Unknown`.
#[must_use]
pub fn from_answer(sessions: &[Session], rows: &[Row], now: Timestamp) -> Vec<SessionStatus> {
    let outcome_of = |session: &Session| {
        let row = rows.iter().find(|row| row.session_id == session.session_id && same_server(session, &row.server_ip));
        let Some(row) = row else {
            return session_status(session, SessionOutcome::Unknown, SessionReason::MissingInAnswer);
        };
        let (outcome, reason) = if row.error_message.trim().is_empty() {
            (SessionOutcome::Killed, SessionReason::Accepted)
        } else {
            (SessionOutcome::Failed, SessionReason::KillRefused)
        };
        SessionStatus {
            status: clamp(&row.status, 64),
            error_message: clamp(&row.error_message, 1024),
            observed: Some(observed(row, now)),
            ..session_status(session, outcome, reason)
        }
    };
    sessions.iter().map(outcome_of).collect()
}

/// The same outcome for every session: for what concerns the call as a whole.
#[must_use]
pub fn for_all(sessions: &[Session], outcome: SessionOutcome, reason: SessionReason) -> Vec<SessionStatus> {
    sessions.iter().map(|session| session_status(session, outcome, reason)).collect()
}

/// How many sessions stand where.
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

/// The reason with which a request ends whose sessions ended like `counts`.
#[must_use]
pub fn summary(counts: &Counts) -> Outcome {
    let ended = counts.killed + counts.gone;
    if counts.unknown > 0 {
        Outcome::OutcomeUnknown
    } else if ended == counts.total {
        if counts.killed > 0 { Outcome::SessionsKilled } else { Outcome::SessionsGone }
    } else if ended > 0 {
        Outcome::PartiallyKilled
    } else if counts.failed > 0 {
        Outcome::KillFailed
    } else {
        Outcome::PreconditionFailed
    }
}

fn session_status(session: &Session, outcome: SessionOutcome, reason: SessionReason) -> SessionStatus {
    SessionStatus {
        server_ip: session.server_ip.clone(),
        session_id: session.session_id,
        outcome,
        reason,
        status: String::new(),
        error_message: String::new(),
        observed: None,
    }
}

fn observed(row: &Row, now: Timestamp) -> ObservedSession {
    ObservedSession {
        client_ip: clamp(&row.client_ip, 64),
        user: clamp(&row.user, 128),
        database: clamp(&row.database, 128),
        command: clamp(&row.command, 64),
        execute_time: clamp(&row.execute_time, 32),
        sql_text: clamp(&row.sql_text, 256),
        tenant_id: clamp(&row.tenant_id, 64),
        observation_time: Some(Time(now)),
    }
}

/// Compares addresses, not spellings: the API may write an IPv6 address in another form than the request.
fn same_server(session: &Session, echoed: &str) -> bool {
    match (session.server_ip.parse::<std::net::IpAddr>(), echoed.trim().parse::<std::net::IpAddr>()) {
        (Ok(asked), Ok(echoed)) => asked == echoed,
        _ => session.server_ip == echoed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::test_objects::{request, time};

    fn row(session: &Session, error_message: &str) -> Row {
        Row {
            server_ip: session.server_ip.clone(),
            session_id: session.session_id,
            status: "SLEEP".to_owned(),
            error_message: error_message.to_owned(),
            ..Row::default()
        }
    }

    fn reason_for(errors: [Option<&str>; 2]) -> (Outcome, Vec<SessionStatus>) {
        let sessions = request().spec.sessions;
        let rows: Vec<Row> =
            sessions.iter().zip(errors).filter_map(|(session, error)| Some(row(session, error?))).collect();
        let sessions = from_answer(&sessions, &rows, time("10:00:00"));
        (summary(&counts(&sessions)), sessions)
    }

    #[test]
    fn an_empty_error_message_means_killed() {
        let (reason, sessions) = reason_for([Some(""), Some(" ")]);
        assert_eq!(reason, Outcome::SessionsKilled);
        assert_eq!(sessions[0].status, "SLEEP");
        assert_eq!(sessions[0].reason, SessionReason::Accepted);
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
            (vec![Killed, Failed, Unknown], Outcome::OutcomeUnknown),
            (vec![Killed, Pending], Outcome::PartiallyKilled),
        ] {
            let status = |outcome: &SessionOutcome| session_status(session, *outcome, SessionReason::Waiting);
            let sessions: Vec<_> = outcomes.iter().map(status).collect();
            let counts = counts(&sessions);
            assert_eq!(summary(&counts), expected, "{outcomes:?}");
            let Counts { total, killed, gone, skipped, failed, unknown } = counts;
            let pending = outcomes.iter().filter(|outcome| **outcome == Pending).count();
            assert_eq!(total, killed + gone + skipped + failed + unknown + i32::try_from(pending).unwrap());
        }
    }

    #[test]
    fn a_missing_row_is_unknown_and_outweighs_the_rest() {
        let (reason, sessions) = reason_for([Some(""), None]);
        assert_eq!(reason, Outcome::OutcomeUnknown);
        assert_eq!(sessions[1].reason, SessionReason::MissingInAnswer);
    }

    #[test]
    fn a_row_of_another_server_is_not_an_answer() {
        let sessions = request().spec.sessions;
        let stray = Row { server_ip: "10.9.9.9".to_owned(), ..row(&sessions[0], "") };
        let outcome = from_answer(&sessions[..1], &[stray], time("10:00:00"));
        assert_eq!(outcome[0].outcome, SessionOutcome::Unknown);
    }

    #[test]
    fn servers_are_matched_by_address_not_by_spelling() {
        let session = Session { server_ip: "fd00::1".to_owned(), session_id: 7 };
        let spelled = Row { server_ip: "FD00:0:0::1".to_owned(), ..row(&session, "") };
        let outcome = from_answer(&[session], &[spelled], time("10:00:00"));
        assert_eq!(outcome[0].outcome, SessionOutcome::Killed);
    }

    #[test]
    fn text_from_outside_is_bounded() {
        let sessions = request().spec.sessions;
        let long = Row { sql_text: "数".repeat(5000), ..row(&sessions[0], &"e\u{1b}".repeat(5000)) };
        let outcome = from_answer(&sessions[..1], &[long], time("10:00:00")).remove(0);
        assert_eq!(outcome.error_message.chars().count(), 1024);
        assert!(!outcome.error_message.contains('\u{1b}'));
        assert_eq!(outcome.observed.unwrap().sql_text.chars().count(), 256);
    }
}
