//! One session as a list shows it.

use std::net::{IpAddr, SocketAddr};

use sessionkill_api::{Session, SessionStatus};

use crate::output::{cut, plain};

/// How many characters of a statement a table shows.
const STATEMENT_WIDTH: usize = 60;

/// A session's name on the command line: `SERVER_IP/ID`, with the port of the server if its address has several.
pub fn label(session: &SessionStatus) -> String {
    match session.server_port {
        None => format!("{}/{}", session.server_ip, session.session_id),
        Some(port) if session.server_ip.contains(':') => {
            format!("[{}]:{port}/{}", session.server_ip, session.session_id)
        }
        Some(port) => format!("{}:{port}/{}", session.server_ip, session.session_id),
    }
}

/// What the user means by an argument `SESSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The server and the ID.
    Exactly(Box<Session>),
    /// The ID alone, which must be unique in the list.
    ById(i64),
}

/// Reads `SERVER_IP/ID`, `SERVER_IP:PORT/ID`, `[SERVER_IP]:PORT/ID` or `ID`.
pub fn parse(text: &str) -> Result<Named, String> {
    let refusal =
        || format!("{text:?} is no session: write SERVER_IP/ID as kubectl sessionkill sessions shows it, or ID");
    let id = |text: &str| text.parse::<i64>().ok().filter(|id| *id > 0);
    let Some((server, session)) = text.rsplit_once('/') else {
        return id(text).map(Named::ById).ok_or_else(refusal);
    };
    let session_id = id(session).ok_or_else(refusal)?;
    let (address, port) = if let Ok(address) = server.parse::<IpAddr>() {
        (address, None)
    } else {
        let both = server.parse::<SocketAddr>().map_err(|_| refusal())?;
        (both.ip(), Some(i32::from(both.port())))
    };
    Ok(Named::Exactly(Box::new(Session {
        server_ip: address.to_string(),
        server_port: port,
        session_id,
        expect: None,
    })))
}

/// Whether it runs a statement, as far as the list shows.
pub fn runs_statement(session: &SessionStatus) -> bool {
    let observed = session.observed.as_ref();
    observed.is_some_and(|seen| {
        let has_statement = !seen.sql_id.is_empty() || !seen.trace_id.is_empty();
        has_statement && !seen.command.eq_ignore_ascii_case("Sleep")
    })
}

/// The columns of a table of sessions.
pub const COLUMNS: [&str; 7] = ["SESSION", "USER", "CLIENT", "DATABASE", "COMMAND", "TIME", "STATEMENT"];
/// The columns that a wide table has beside them.
pub const WIDE_COLUMNS: [&str; 5] = ["HOST", "SQL ID", "TRACE ID", "TRANSACTION", "PROXY SESSION"];

/// The cells below [`COLUMNS`].
pub fn cells(session: &SessionStatus) -> Vec<String> {
    let seen = session.observed.clone().unwrap_or_default();
    let statement = if seen.sql_text.is_empty() { &seen.sql_id } else { &seen.sql_text };
    let cells = [&seen.user, &seen.client_ip, &seen.database, &seen.command];
    let cells = cells.into_iter().map(|text| plain(text));
    let last = [duration(&seen.execute_time), cut(&plain(statement), STATEMENT_WIDTH)];
    std::iter::once(label(session)).chain(cells).chain(last).collect()
}

/// The cells below [`WIDE_COLUMNS`].
pub fn wide_cells(session: &SessionStatus) -> Vec<String> {
    let seen = session.observed.clone().unwrap_or_default();
    let cells = [&seen.host, &seen.sql_id, &seen.trace_id, &seen.transaction_id, &seen.proxy_session_id];
    cells.into_iter().map(|text| plain(text)).collect()
}

/// How long it has been in its present state, in seconds.
pub fn seconds(session: &SessionStatus) -> i64 {
    let time = session.observed.as_ref().map(|seen| seen.execute_time.as_str()).unwrap_or_default();
    time.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// So many sessions, in words.
pub fn count(sessions: usize) -> String {
    if sessions == 1 { "1 session".to_owned() } else { format!("{sessions} sessions") }
}

/// Seconds as people read them: 42s, 5m12s, 3h07m, 2d04h. What is no number stays as it is.
pub fn duration(seconds: &str) -> String {
    match seconds.split('.').next().unwrap_or_default().parse::<u64>() {
        Ok(s) if s < 60 => format!("{s}s"),
        Ok(s) if s < 3600 => format!("{}m{:02}s", s / 60, s % 60),
        Ok(s) if s < 86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        Ok(s) => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
        Err(_) => plain(seconds),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_is_named_as_it_is_shown() {
        for (text, port) in [
            ("10.0.0.1/7", None),
            ("10.0.0.1:2882/7", Some(2882)),
            ("fd00::1/7", None),
            ("[fd00::1]:2882/7", Some(2882)),
        ] {
            let Ok(Named::Exactly(named)) = parse(text) else { panic!("{text}") };
            assert_eq!((named.session_id, named.server_port), (7, port), "{text}");
            let shown: SessionStatus = serde_json::from_value(json!({
                "serverIP": named.server_ip, "serverPort": port, "sessionID": 7, "outcome": "Skipped", "reason": "DryRun",
            }))
            .unwrap();
            assert_eq!(label(&shown), text);
        }
        assert_eq!(parse("3221614618"), Ok(Named::ById(3_221_614_618)));
        for text in ["", "0", "-1", "a/b", "10.0.0/7", "10.0.0.1/", "10.0.0.1:x/7"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_short() {
        let shown = ["42", "312.7", "11220", "187200", "-"].map(duration);
        assert_eq!(shown, ["42s", "5m12s", "3h07m", "2d04h", "-"]);
    }
}
