//! The requests, process lists and answers that the benchmarks start from.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sessionkill::api::{Operation, SessionKill, SessionStatus, SqlTextPolicy};
use sessionkill::domain::kill::claim::Attempt;
use sessionkill::domain::kill::outcome::from_answer;
use sessionkill::domain::kill::precheck::{MustSee, precheck};
use sessionkill::domain::selection::Filter;
use sessionkill::domain::session::Row;
use sessionkill::domain::session::Seen;
use sessionkill::domain::snapshot::Snapshot;
use sessionkill::oceanbase::raw_answer::RawAnswer;

/// Leaks the input, as dropping it would be counted too.
pub fn kept<T>(input: T) -> &'static T {
    Box::leak(Box::new(input))
}

/// The time 2026-10-05T10:00:00Z.
pub const NOW: Timestamp = Timestamp::constant(1_791_194_400, 0);

pub fn server_ip(number: usize) -> String {
    format!("192.168.13.{}", 1 + number % 200)
}

pub fn session_id(number: usize) -> i64 {
    3_221_614_618 + i64::try_from(number).unwrap()
}

/// A new request for `sessions` sessions, each with an `expect`.
pub fn request(sessions: usize) -> SessionKill {
    let expect = json!({"user": "report_ro", "clientIP": "10.2.3.4"});
    let sessions: Vec<_> = (0..sessions)
        .map(|number| json!({"serverIP": server_ip(number), "sessionID": session_id(number), "expect": expect}))
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "SessionKill",
        "metadata": {
            "name": "incident", "namespace": "dba", "uid": "7a1f0a52-5a3e-4e0b-9d0c-0f4f3e0c9b11", "generation": 1,
            "creationTimestamp": "2026-10-05T09:59:00Z",
        },
        "spec": {
            "connectionRef": {"name": "prod-ob"},
            "instanceID": "ob1",
            "tenantID": "t1",
            "sessions": sessions,
            "notAfterTime": "2026-10-05T10:30:00Z",
        },
    }))
    .unwrap()
}

/// A row as the API writes it.
pub fn row(number: usize) -> Value {
    json!({
        "SessionId": session_id(number), "ServerIp": server_ip(number), "ClientIp": "10.2.3.4", "TenantId": "t1",
        "User": "report_ro", "Database": "reports", "Command": "Query", "Status": "ACTIVE", "ExecuteTime": "742",
        "SqlId": "45CCBDC7F1D2A0B34C5D6E7F8091A2B3", "ProxySessId": 752_113_700_739_156_671_u64,
        "SqlText": "SELECT customer, SUM(total) FROM orders WHERE created > '2026-01-01' GROUP BY customer ORDER BY 2",
    })
}

/// The same session in the type of the domain.
pub fn seen(number: usize) -> Seen {
    let row = row(number);
    let text = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
    Seen {
        server_ip: server_ip(number),
        session_id: session_id(number),
        status: text("Status"),
        client_ip: text("ClientIp"),
        tenant_id: text("TenantId"),
        user: text("User"),
        database: text("Database"),
        sql_text: text("SqlText"),
        sql_id: text("SqlId"),
        command: text("Command"),
        execute_time: text("ExecuteTime"),
        proxy_session_id: text("ProxySessId"),
        ..Seen::default()
    }
}

pub fn process_list(rows: usize) -> Vec<Seen> {
    (0..rows).map(seen).collect()
}

/// Of all that a selector can say, what people say most.
pub fn filter() -> Arc<Filter> {
    let mut object = request(1);
    object.spec.sessions.clear();
    let selector = json!({
        "match": {
            "users": ["report_ro", "app"], "clientCIDRs": ["10.0.0.0/8"], "minExecutionSeconds": 1,
            "sqlTextPattern": "(?i)sum\\(.*group by",
        },
        "maxSessions": 100, "take": "Longest",
    });
    object.spec.selector = Some(serde_json::from_value(selector).unwrap());
    Arc::new(Filter::of(&object.spec).unwrap().unwrap())
}

pub fn snapshot(rows: usize) -> Snapshot {
    Snapshot::new(process_list(rows), true, NOW)
}

/// The sessions of the request, as they are before the call.
pub fn planned(object: &SessionKill) -> Vec<SessionStatus> {
    let sessions = &object.spec.sessions;
    precheck(sessions, Some(&snapshot(sessions.len())), MustSee::Expected, SqlTextPolicy::Truncated).unwrap()
}

pub fn attempt(object: &SessionKill) -> Attempt {
    Attempt {
        attempt_id: "5f2d8c1e-4b7a-4f63-8a55-1f0f8a8f5b3c".to_owned(),
        holder_identity: "sessionkill-operator-6d5f7c9b8-x2x4z".to_owned(),
        claim_time: NOW,
        dispatch_window: SignedDuration::from_secs(15),
        request_timeout: SignedDuration::from_secs(10),
        operation: Operation::KillProcessList,
        planned: planned(object),
        matched: None,
    }
}

pub fn raw(data: &Value) -> RawAnswer<&'static [u8]> {
    let body = json!({"RequestId": "EE205C00-30E4-4B1D-9C1F-87E3A8A2AA0C", "Data": data}).to_string().into_bytes();
    RawAnswer { status: 200, retry_after: None, gateway_time: None, body: kept(body) }
}

/// The sessions of a request after its call has ended all of them.
pub fn killed(object: &SessionKill) -> Vec<SessionStatus> {
    let rows = rows(object.spec.sessions.len());
    let answer = (true, rows.as_slice());
    from_answer(&object.spec.sessions, &planned(object), answer, SqlTextPolicy::Truncated, NOW)
}

/// In reverse order, so that no session finds its row at once.
pub fn rows(count: usize) -> Vec<Row> {
    (0..count).rev().map(|number| Row { seen: seen(number), ..Row::default() }).collect()
}
