//! The list of sessions in the form of the real API, and its query conditions.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    backend::{Session, tenant_of},
    errors::ApiError,
    request::Call,
};

/// The conditions of a process list. An absent condition matches all.
pub struct Filter<'a> {
    client_ip: Option<&'a str>,
    server_ip: Option<&'a str>,
    sql_text: Option<String>,
    status: Option<&'a str>,
    users: Option<Vec<String>>,
}

impl<'a> Filter<'a> {
    /// The conditions in `call`.
    pub fn of(call: &'a Call) -> Result<Self, ApiError> {
        let users = call.optional("Users").map(serde_json::from_str).transpose();
        Ok(Self {
            client_ip: call.optional("ClientIp"),
            // Clients send the server with or without its port.
            server_ip: call.optional("ServerIp").map(without_port),
            sql_text: call.optional("SqlText").map(str::to_lowercase),
            status: call.optional("Status"),
            users: users.map_err(|_| ApiError::invalid("Users", "it is not a JSON array of names"))?,
        })
    }

    /// Whether `session` matches.
    #[must_use]
    pub fn fits(&self, session: &Session) -> bool {
        self.client_ip.is_none_or(|ip| session.client_ip == ip)
            && self.server_ip.is_none_or(|ip| session.server_ip == ip)
            && self.sql_text.as_ref().is_none_or(|part| session.sql_text.to_lowercase().contains(part))
            && self.status.is_none_or(|status| session.status.eq_ignore_ascii_case(status))
            && self.users.as_ref().is_none_or(|users| users.contains(&session.user))
    }
}

/// The `Data` of a process list.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Composition<'a> {
    total_session_count: usize,
    active_session_count: usize,
    idle_session_count: usize,
    ob_version: &'a str,
    all_process_list: Vec<ProcessRow<'a>>,
    session_statistics: Value,
}

impl<'a> Composition<'a> {
    /// Makes the list of these sessions. A session without a tenant belongs to the first tenant.
    #[must_use]
    pub fn of(sessions: &'a [Arc<Session>], first_tenant: &'a str, version: &'a str) -> Self {
        let idle = sessions.iter().filter(|session| !is_active(session)).count();
        Self {
            total_session_count: sessions.len(),
            active_session_count: sessions.len() - idle,
            idle_session_count: idle,
            ob_version: version,
            all_process_list: sessions.iter().map(|session| ProcessRow::of(session, first_tenant)).collect(),
            session_statistics: json!({
                "UserStatistics": statistics(sessions, "user", |session| &session.user),
                "SourceStatistics": statistics(sessions, "client", |session| &session.client_ip),
                "DataBaseStatistics": statistics(sessions, "database", |session| &session.database),
            }),
        }
    }

    /// Writes text directly: a tree of values would take many times as long.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A session in a process list.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessRow<'a> {
    session_id: i64,
    server_ip: &'a str,
    server_sn: &'a str,
    client_ip: &'a str,
    tenant_id: &'a str,
    user: &'a str,
    database: &'a str,
    command: &'a str,
    status: &'a str,
    sql_text: &'a str,
    sql_id: &'a str,
    trace_id: &'a str,
    plan_id: i64,
    execute_time: i64,
    cpu_time: i64,
    proxy_sess_id: &'a str,
    dynamic_sql: bool,
    process_sql_lists: [(); 0],
}

impl<'a> ProcessRow<'a> {
    fn of(session: &'a Session, first_tenant: &'a str) -> Self {
        Self {
            session_id: session.session_id,
            server_ip: &session.server_ip,
            server_sn: "",
            client_ip: &session.client_ip,
            tenant_id: tenant_of(session, first_tenant),
            user: &session.user,
            database: &session.database,
            command: &session.command,
            status: &session.status,
            sql_text: &session.sql_text,
            sql_id: &session.sql_id,
            trace_id: &session.trace_id,
            plan_id: 0,
            execute_time: session.execute_time,
            cpu_time: session.cpu_time,
            proxy_sess_id: session.proxy_sess_id.as_deref().unwrap_or_default(),
            dynamic_sql: false,
            process_sql_lists: [],
        }
    }
}

fn without_port(server: &str) -> &str {
    server.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(server, |(ip, _)| ip)
}

fn is_active(session: &Session) -> bool {
    !session.status.eq_ignore_ascii_case("SLEEP")
}

fn statistics<'a>(sessions: &'a [Arc<Session>], dimension: &str, value: impl Fn(&'a Session) -> &'a str) -> Vec<Value> {
    let mut counts = BTreeMap::<_, (usize, usize)>::new();
    for session in sessions {
        let (active, total) = counts.entry(value(session)).or_default();
        *active += usize::from(is_active(session));
        *total += 1;
    }
    let row = |(value, (active, total)): (&str, (usize, usize))| json!({"MetricValue": value, "ActiveCount": active, "TotalCount": total, "Type": dimension});
    counts.into_iter().map(row).collect()
}
