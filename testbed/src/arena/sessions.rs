//! Sessions of an arena, and requests to kill them.

use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use sessionkill::api::{ConnectionRef, Expect, Mode, Scope, SessionKillSpec, Verification, VerificationPolicy};

use crate::gateway::Session;

/// The connection that requests name.
pub const CONNECTION: &str = "prod-ob";
/// The server that sessions are on.
pub const SERVER_IP: &str = "192.168.13.119";
/// Their instance.
pub const INSTANCE: &str = "ob317v4uif0001";
/// Their tenant.
pub const TENANT: &str = "t4louaeei0001";

/// The only tenant of an engine.
pub(super) const SQL_TENANT: &str = "sys";
/// The operators' user of an engine.
pub(super) const SQL_USER: &str = "sessionkill";
/// Its password.
pub(super) const SQL_PASSWORD: &str = "CanarySqlPassword7d1f";

/// The session number `number`, in the middle of a long query.
#[must_use]
pub fn session(number: i64) -> Session {
    Session {
        server_ip: SERVER_IP.into(),
        session_id: session_id(number),
        client_ip: "10.2.3.4".into(),
        user: "report_ro".into(),
        database: "reports".into(),
        command: "Query".into(),
        status: "ACTIVE".into(),
        sql_text: "SELECT SUM(amount) FROM orders".into(),
        execute_time: 742,
        ..Session::default()
    }
}

/// The ID of the session number `number`, with bit 31 set as for sessions of a server.
#[must_use]
pub const fn session_id(number: i64) -> i64 {
    3_221_600_000 + number
}

/// A request to kill these sessions of the report user. Its `notAfterTime` is `seconds` from now.
pub fn kill_of(numbers: &[i64], seconds: i64) -> anyhow::Result<SessionKillSpec> {
    let sessions: Vec<_> = numbers.iter().map(|number| session(*number)).collect();
    kill_sessions(&sessions, seconds)
}

/// A request to kill these sessions of these users. Its `notAfterTime` is `seconds` from now.
pub fn kill_sessions(sessions: &[Session], seconds: i64) -> anyhow::Result<SessionKillSpec> {
    let sessions: Vec<_> = sessions
        .iter()
        .map(|it| json!({"serverIP": it.server_ip, "sessionID": it.session_id, "expect": {"user": it.user}}))
        .collect();
    let not_after = (Timestamp::now() + SignedDuration::from_secs(seconds)).round(Unit::Second)?;
    Ok(SessionKillSpec {
        scope: Scope::Session,
        connection_ref: ConnectionRef { name: CONNECTION.into(), ..ConnectionRef::default() },
        instance_id: INSTANCE.into(),
        tenant_id: TENANT.into(),
        mode: Mode::Kill,
        sessions: serde_json::from_value(sessions.into())?,
        not_before_time: None,
        not_after_time: Time(not_after),
        reason: None,
        verification: Verification { policy: VerificationPolicy::BestEffort, timeout_seconds: 11 },
        selector: None,
        suspend: false,
        ttl_seconds_after_finished: None,
    })
}

/// A request to interrupt the statements of these sessions of the engine, which are running now.
pub fn interrupt_by_sql(sessions: &[Session], seconds: i64) -> anyhow::Result<SessionKillSpec> {
    let mut spec = SessionKillSpec { scope: Scope::Query, ..kill_by_sql(sessions, seconds)? };
    for (named, session) in spec.sessions.iter_mut().zip(sessions) {
        named.expect = Some(Expect { sql_id: Some(session.sql_id.clone()), ..Expect::default() });
    }
    Ok(spec)
}

/// A request to kill sessions of the engine, in an arena that is set [by SQL](super::Arena::set_by_sql).
pub fn kill_by_sql(sessions: &[Session], seconds: i64) -> anyhow::Result<SessionKillSpec> {
    Ok(SessionKillSpec { tenant_id: SQL_TENANT.into(), ..kill_sessions(sessions, seconds)? })
}
