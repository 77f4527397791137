//! The request: the sessions as they were shown, pinned by what was seen of them.

use std::net::{IpAddr, SocketAddr};

use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sessionkill_api::{Expect, Scope, Session, SessionCriteria, SessionKill, SessionKillSpec, SessionStatus};

use crate::dry_run::{metadata, random};
use crate::session::runs_statement;
use crate::target::Target;

use super::flags::{Flags, Take};

/// The request to end `sessions`, or with `--selector` what matches.
pub fn request(
    namespace: &str,
    target: &Target,
    sessions: &[SessionStatus],
    flags: &Flags,
    reason: Option<String>,
) -> SessionKill {
    let flags_of = &flags.request;
    let mut metadata = metadata(flags_of.name.clone().unwrap_or_else(|| format!("kill-{}", random())));
    metadata.namespace = Some(namespace.to_owned());
    let now = Timestamp::now().round(Unit::Second).unwrap_or_else(|_| Timestamp::now());
    let mut spec = SessionKillSpec {
        scope: if flags_of.query { Scope::Query } else { Scope::Session },
        not_after_time: Time(now + SignedDuration::from_secs(flags_of.lifetime.into())),
        reason,
        ttl_seconds_after_finished: Some(flags_of.ttl),
        ..target.spec()
    };
    if flags_of.selector {
        let mut selector = flags.filters.selector();
        selector.max_sessions = Some(flags_of.max);
        selector.take = match flags_of.take {
            Some(Take::Longest) => sessionkill_api::Take::Longest,
            Some(Take::Newest) => sessionkill_api::Take::Newest,
            None => sessionkill_api::Take::None,
        };
        spec.selector = Some(selector);
    } else {
        let criteria = flags.filters.criteria();
        spec.sessions =
            sessions.iter().map(|session| pinned(session, &criteria, target.is_sql == Some(true))).collect();
    }
    SessionKill { metadata, spec, status: None }
}

/// The session as it was shown: if it is another by then, or runs another statement, it is skipped.
fn pinned(session: &SessionStatus, asked: &SessionCriteria, is_sql: bool) -> Session {
    let seen = session.observed.clone().unwrap_or_default();
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let runs = runs_statement(session);
    let trace_id = some(&seen.trace_id).filter(|_| runs);
    let expect = Expect {
        user: some(&seen.user),
        client_ip: some(&seen.client_ip).filter(|address| address.parse::<IpAddr>().is_ok()),
        client_port: is_sql.then(|| client_port(&seen.host, &seen.client_ip)).flatten(),
        proxy_session_id: some(&seen.proxy_session_id).filter(|id| is_digits(id) && id != "0"),
        // The trace ID says more: it is of this one run of the statement.
        sql_id: some(&seen.sql_id).filter(|_| runs && trace_id.is_none()),
        trace_id,
        // What was asked for and may have changed since.
        min_execution_seconds: asked.min_execution_seconds,
        state: asked.states.first().copied(),
        transaction: asked.transaction,
        ..Expect::default()
    };
    let expect = (expect != Expect::default()).then_some(expect);
    Session {
        server_ip: session.server_ip.clone(),
        server_port: session.server_port,
        session_id: session.session_id,
        expect,
    }
}

/// The port of a client that is connected to the server itself. Through a proxy it would be the proxy's.
fn client_port(host: &str, client_ip: &str) -> Option<i32> {
    let (host, client) = (host.parse::<SocketAddr>().ok()?, client_ip.parse::<IpAddr>().ok()?);
    (host.ip() == client && host.port() > 0).then(|| host.port().into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn expect(observed: &Value, asked: &SessionCriteria, is_sql: bool) -> Value {
        let session = serde_json::from_value(json!({
            "serverIP": "10.0.0.1", "sessionID": 7, "outcome": "Skipped", "reason": "DryRun", "observed": observed,
        }))
        .unwrap();
        serde_json::to_value(pinned(&session, asked, is_sql).expect).unwrap()
    }

    #[test]
    fn what_was_shown_is_expected() {
        let by_api = json!({
            "user": "report", "clientIP": "10.2.3.4", "command": "Query", "sqlID": "AB", "proxySessionID": "752113700739156671",
        });
        let expected =
            json!({"user": "report", "clientIP": "10.2.3.4", "sqlID": "AB", "proxySessionID": "752113700739156671"});
        assert_eq!(expect(&by_api, &SessionCriteria::default(), false), expected);

        let by_sql = json!({
            "user": "report", "clientIP": "10.2.3.4", "host": "10.2.3.4:54321", "command": "Query", "sqlID": "AB", "traceID": "Y-1",
        });
        let expected = json!({"user": "report", "clientIP": "10.2.3.4", "clientPort": 54321, "traceID": "Y-1"});
        assert_eq!(expect(&by_sql, &SessionCriteria::default(), true), expected);
    }

    #[test]
    fn an_idle_session_is_not_pinned_to_the_statement_that_it_ran_last() {
        let idle = json!({"user": "app", "clientIP": "x", "host": "10.9.9.9:1", "command": "Sleep", "sqlID": "AB", "proxySessionID": "0"});
        let asked = SessionCriteria { min_execution_seconds: Some(300), ..SessionCriteria::default() };
        assert_eq!(expect(&idle, &asked, true), json!({"user": "app", "minExecutionSeconds": 300}));
    }

    #[test]
    fn what_says_nothing_expects_nothing() {
        assert_eq!(expect(&Value::Null, &SessionCriteria::default(), false), Value::Null);
    }
}
