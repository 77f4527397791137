//! The three operations, in the shapes of the real API.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    backend::{Session, SessionStore, Verdict, Wanted},
    errors::ApiError,
    ledger::Ledger,
    request::Call,
};

/// The version of the product's API.
const API_VERSION: &str = "2019-09-01";

/// Executes admitted calls on the tenants of the one instance there is.
pub struct Actions {
    /// The sessions.
    pub store: Arc<dyn SessionStore>,
    /// The only instance.
    pub instance: String,
    /// Its first tenant.
    pub tenant: String,
    /// Its further tenants.
    pub more_tenants: Vec<String>,
}

/// A session as a list of sessions names it.
pub struct Named {
    /// The server the session is on.
    pub server_ip: String,
    /// Its id there; clients send a string or a number.
    pub session_id: i64,
}

impl Named {
    fn is(&self, session: &Session) -> bool {
        self.session_id == session.session_id && self.server_ip == session.server_ip
    }
}

impl Actions {
    /// Executes the call and returns the `Data` of its answer. Every kill is entered in the ledger at once.
    pub async fn execute(&self, call: &Call, ledger: &Ledger, sequence: u64) -> Result<Value, ApiError> {
        if call.api_version.as_deref().unwrap_or_default().is_empty() {
            return Err(ApiError::missing("Version"));
        }
        if call.api_version.as_deref() != Some(API_VERSION) {
            return Err(ApiError::unknown_version());
        }
        let executed = |session: &Session| ledger.executed(sequence, &session.server_ip, session.session_id);
        match call.action.as_deref() {
            None | Some("") => Err(ApiError::missing("Action")),
            Some("KillProcessList") => self.kill(call, executed).await,
            Some("BatchKillProcessList") => self.batch_kill(call, executed).await,
            Some("DescribeProcessStatsComposition") => self.describe(call).await,
            Some(_) => Err(ApiError::unknown_action()),
        }
    }

    async fn kill(&self, call: &Call, executed: impl Fn(&Session)) -> Result<Value, ApiError> {
        let (instance, tenant) = (call.required("InstanceId")?, call.required("TenantId")?);
        let named = parse_sessions(call.required("SessionList")?)?;
        self.check_resources(instance, Some(tenant))?;

        let is_named = |session: &Session| named.iter().any(|named| named.is(session));
        let before = self.list(&is_named).await?;
        let mut rows = Vec::new();
        for name in &named {
            let Named { server_ip, session_id } = name;
            let found = before.iter().find(|session| name.is(session));
            let session = found.filter(|session| self.tenant_of(session) == tenant);
            let unknown = Session { server_ip: server_ip.clone(), session_id: *session_id, ..Session::default() };
            let verdict = match (found, session) {
                (Some(_), None) => Verdict::unknown(*session_id),
                _ => self.kill_one(session.unwrap_or(&unknown), &executed).await?,
            };
            let error = match verdict {
                Verdict::Killed => String::new(),
                Verdict::Refused(why) => why,
            };
            rows.push(match session {
                Some(session) => self.killed_row(session, &error),
                None => json!({"SessionId": session_id, "ServerIp": server_ip, "ErrorMessage": error}),
            });
        }
        Ok(rows.into())
    }

    /// With `ByObSessionId` the named sessions, else every session behind the same proxy session as a named one.
    async fn batch_kill(&self, call: &Call, executed: impl Fn(&Session)) -> Result<Value, ApiError> {
        let (instance, tenant) = (call.required("InstanceId")?, call.required("TenantId")?);
        let named = parse_sessions(call.required("SessionList")?)?;
        let by_session_id = call.flag("ByObSessionId")?;
        self.check_resources(instance, Some(tenant))?;

        let before = self.list(&self.are_of(Some(tenant))).await?;
        let mut rows = Vec::new();
        for named in &named {
            let session = before.iter().find(|session| named.is(session));
            let targets: Vec<_> = match session {
                Some(session) if by_session_id => vec![session],
                None | Some(Session { proxy_sess_id: None, .. }) => vec![],
                Some(session) => before.iter().filter(|it| it.proxy_sess_id == session.proxy_sess_id).collect(),
            };
            let mut success = !targets.is_empty();
            for target in targets {
                success &= self.kill_one(target, &executed).await? == Verdict::Killed;
            }
            rows.push(json!({"Success": success}));
        }
        Ok(rows.into())
    }

    async fn describe(&self, call: &Call) -> Result<Value, ApiError> {
        let instance = call.required("InstanceId")?;
        let filter = Filter::of(call)?;
        call.flag("MergeDynamicSql")?;
        self.check_resources(instance, call.optional("TenantId"))?;

        let is_of_tenant = self.are_of(call.optional("TenantId"));
        let sessions = self.list(&|session| is_of_tenant(session) && filter.fits(session)).await?;
        let idle = sessions.iter().filter(|session| !is_active(session)).count();
        let version = self.store.version().await.map_err(|error| ApiError::unavailable(&error))?;
        Ok(json!({
            "TotalSessionCount": sessions.len(),
            "ActiveSessionCount": sessions.len() - idle,
            "IdleSessionCount": idle,
            "ObVersion": version,
            "AllProcessList": sessions.iter().map(|session| self.process_row(session)).collect::<Vec<_>>(),
            "SessionStatistics": {
                "UserStatistics": statistics(&sessions, "user", |session| &session.user),
                "SourceStatistics": statistics(&sessions, "client", |session| &session.client_ip),
                "DataBaseStatistics": statistics(&sessions, "database", |session| &session.database),
            },
        }))
    }

    async fn list(&self, is_wanted: &Wanted<'_>) -> Result<Vec<Session>, ApiError> {
        self.store.list(is_wanted).await.map_err(|error| ApiError::unavailable(&error))
    }

    /// Whether a session is of this tenant; without one, all are.
    fn are_of(&self, tenant: Option<&str>) -> impl Fn(&Session) -> bool + Sync {
        move |session| tenant.is_none_or(|tenant| self.tenant_of(session) == tenant)
    }

    fn tenant_of<'a>(&'a self, session: &'a Session) -> &'a str {
        if session.tenant_id.is_empty() { &self.tenant } else { &session.tenant_id }
    }

    async fn kill_one(&self, session: &Session, executed: &impl Fn(&Session)) -> Result<Verdict, ApiError> {
        let verdict = self.store.kill(&session.server_ip, session.session_id).await;
        let verdict = verdict.map_err(|error| ApiError::unavailable(&error))?;
        if verdict == Verdict::Killed {
            executed(session);
        }
        Ok(verdict)
    }

    fn check_resources(&self, instance: &str, tenant: Option<&str>) -> Result<(), ApiError> {
        if instance != self.instance {
            return Err(ApiError::unknown_resource("instance", instance));
        }
        let exists = |tenant: &str| tenant == self.tenant || self.more_tenants.iter().any(|more| more == tenant);
        match tenant.filter(|tenant| !exists(tenant)) {
            Some(tenant) => Err(ApiError::unknown_resource("tenant", tenant)),
            None => Ok(()),
        }
    }

    /// `Status` is the session's state before the kill, not the outcome; `ExecuteTime` is a string here and a number
    /// in the process list, as documented.
    fn killed_row(&self, session: &Session, error: &str) -> Value {
        json!({
            "SessionId": session.session_id,
            "ServerIp": session.server_ip,
            "Status": session.status,
            "ErrorMessage": error,
            "ClientIp": session.client_ip,
            "TenantId": self.tenant_of(session),
            "User": session.user,
            "Database": session.database,
            "SqlText": session.sql_text,
            "Command": session.command,
            "ExecuteTime": session.execute_time.to_string(),
        })
    }

    fn process_row(&self, session: &Session) -> Value {
        json!({
            "SessionId": session.session_id,
            "ServerIp": session.server_ip,
            "ServerSn": "",
            "ClientIp": session.client_ip,
            "TenantId": self.tenant_of(session),
            "User": session.user,
            "Database": session.database,
            "Command": session.command,
            "Status": session.status,
            "SqlText": session.sql_text,
            "SqlId": session.sql_id,
            "TraceId": session.trace_id,
            "PlanId": 0,
            "ExecuteTime": session.execute_time,
            "CpuTime": session.cpu_time,
            "ProxySessId": session.proxy_sess_id.as_deref().unwrap_or_default(),
            "DynamicSql": false,
            "ProcessSqlLists": [],
        })
    }
}

/// Reads a list of sessions, `SessionId` being a string or a number.
pub fn parse_sessions(text: &str) -> Result<Vec<Named>, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Row {
        server_ip: String,
        session_id: Id,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Number(i64),
        Text(String),
    }
    let invalid = |why: &str| ApiError::invalid("SessionList", why);
    let rows: Vec<Row> = serde_json::from_str(text)
        .map_err(|_| invalid("it is not a JSON array of objects with ServerIp and SessionId"))?;
    if rows.is_empty() {
        return Err(invalid("it names no session"));
    }
    let named = rows.into_iter().map(|Row { server_ip, session_id }| {
        let session_id = match session_id {
            Id::Number(id) => Some(id),
            Id::Text(text) => text.parse().ok(),
        };
        let session_id = session_id.filter(|id| *id > 0).ok_or_else(|| invalid("a SessionId is no positive number"))?;
        if server_ip.is_empty() {
            return Err(invalid("a ServerIp is empty"));
        }
        Ok(Named { server_ip, session_id })
    });
    named.collect()
}

/// The conditions of a process list; what is not given fits all.
struct Filter<'a> {
    client_ip: Option<&'a str>,
    server_ip: Option<&'a str>,
    sql_text: Option<String>,
    status: Option<&'a str>,
    users: Option<Vec<String>>,
}

impl<'a> Filter<'a> {
    fn of(call: &'a Call) -> Result<Self, ApiError> {
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

    fn fits(&self, session: &Session) -> bool {
        self.client_ip.is_none_or(|ip| session.client_ip == ip)
            && self.server_ip.is_none_or(|ip| session.server_ip == ip)
            && self.sql_text.as_ref().is_none_or(|part| session.sql_text.to_lowercase().contains(part))
            && self.status.is_none_or(|status| session.status.eq_ignore_ascii_case(status))
            && self.users.as_ref().is_none_or(|users| users.contains(&session.user))
    }
}

fn without_port(server: &str) -> &str {
    server.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(server, |(ip, _)| ip)
}

fn is_active(session: &Session) -> bool {
    !session.status.eq_ignore_ascii_case("SLEEP")
}

fn statistics<'a>(sessions: &'a [Session], dimension: &str, value: impl Fn(&'a Session) -> &'a str) -> Vec<Value> {
    let mut counts = BTreeMap::<_, (usize, usize)>::new();
    for session in sessions {
        let (active, total) = counts.entry(value(session)).or_default();
        *active += usize::from(is_active(session));
        *total += 1;
    }
    let row = |(value, (active, total)): (&str, (usize, usize))| json!({"MetricValue": value, "ActiveCount": active, "TotalCount": total, "Type": dimension});
    counts.into_iter().map(row).collect()
}
