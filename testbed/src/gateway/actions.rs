//! The three operations, in the shapes of the real API.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{
    backend::{Session, SessionStore, Verdict, Wanted, tenant_of},
    errors::ApiError,
    ledger::Ledger,
    process_list::{Composition, Filter},
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
        self.place() == place(session)
    }

    fn place(&self) -> (&str, i64) {
        (&self.server_ip, self.session_id)
    }
}

/// The key of a session.
fn place(session: &Session) -> (&str, i64) {
    (&session.server_ip, session.session_id)
}

impl Actions {
    /// Executes the call and returns the `Data` of its answer, as JSON. Records every kill in the ledger at once.
    pub async fn execute(&self, call: &Call, ledger: &Ledger, sequence: u64) -> Result<String, ApiError> {
        if call.api_version.as_deref().unwrap_or_default().is_empty() {
            return Err(ApiError::missing("Version"));
        }
        if call.api_version.as_deref() != Some(API_VERSION) {
            return Err(ApiError::unknown_version());
        }
        let executed = |session: &Session| ledger.executed(sequence, &session.server_ip, session.session_id);
        match call.action.as_deref() {
            None | Some("") => Err(ApiError::missing("Action")),
            Some("KillProcessList") => self.kill(call, executed).await.map(|data| data.to_string()),
            Some("BatchKillProcessList") => self.batch_kill(call, executed).await.map(|data| data.to_string()),
            Some("DescribeProcessStatsComposition") => self.describe(call).await,
            Some(_) => Err(ApiError::unknown_action()),
        }
    }

    async fn kill(&self, call: &Call, executed: impl Fn(&Session)) -> Result<Value, ApiError> {
        let (instance, tenant) = (call.required("InstanceId")?, call.required("TenantId")?);
        let named = parse_sessions(call.required("SessionList")?)?;
        self.check_resources(instance, Some(tenant))?;

        let places: HashSet<_> = named.iter().map(Named::place).collect();
        let before = self.list(&|session| places.contains(&place(session))).await?;
        let before: HashMap<_, &Session> = before.iter().map(|session| (place(session), session.as_ref())).collect();
        let mut rows = Vec::new();
        for name in &named {
            let Named { server_ip, session_id } = name;
            let found = before.get(&name.place()).copied();
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

    /// With `ByObSessionId`: the named sessions. Without: every session behind the same proxy session as a named one.
    async fn batch_kill(&self, call: &Call, executed: impl Fn(&Session)) -> Result<Value, ApiError> {
        let (instance, tenant) = (call.required("InstanceId")?, call.required("TenantId")?);
        let named = parse_sessions(call.required("SessionList")?)?;
        let by_session_id = call.flag("ByObSessionId")?;
        self.check_resources(instance, Some(tenant))?;

        let before = self.list(&self.are_of(Some(tenant))).await?;
        let mut rows = Vec::new();
        for named in &named {
            let session = before.iter().find(|session| named.is(session)).map(Arc::as_ref);
            let targets: Vec<&Session> = match session {
                Some(session) if by_session_id => vec![session],
                None | Some(Session { proxy_sess_id: None, .. }) => vec![],
                Some(session) => {
                    let behind_the_same = |it: &&Session| it.proxy_sess_id == session.proxy_sess_id;
                    before.iter().map(Arc::as_ref).filter(behind_the_same).collect()
                }
            };
            let mut success = !targets.is_empty();
            for target in targets {
                success &= self.kill_one(target, &executed).await? == Verdict::Killed;
            }
            rows.push(json!({"Success": success}));
        }
        Ok(rows.into())
    }

    async fn describe(&self, call: &Call) -> Result<String, ApiError> {
        let instance = call.required("InstanceId")?;
        let filter = Filter::of(call)?;
        call.flag("MergeDynamicSql")?;
        self.check_resources(instance, call.optional("TenantId"))?;

        let is_of_tenant = self.are_of(call.optional("TenantId"));
        let sessions = self.list(&|session| is_of_tenant(session) && filter.fits(session)).await?;
        let version = self.store.version().await.map_err(|error| ApiError::unavailable(&error))?;
        let tenant = self.tenant.clone();
        // Use another thread, as thousands of rows take time. Other calls must wait only for the stated delay.
        let data = spawn_blocking(move || Composition::of(&sessions, &tenant, &version).to_json()).await;
        data.map_err(|error| ApiError::unavailable(&error.into()))
    }

    async fn list(&self, is_wanted: &Wanted<'_>) -> Result<Vec<Arc<Session>>, ApiError> {
        self.store.list(is_wanted).await.map_err(|error| ApiError::unavailable(&error))
    }

    /// Whether a session belongs to this tenant. Without a tenant, all sessions do.
    fn are_of(&self, tenant: Option<&str>) -> impl Fn(&Session) -> bool + Sync {
        move |session| tenant.is_none_or(|tenant| self.tenant_of(session) == tenant)
    }

    fn tenant_of<'a>(&'a self, session: &'a Session) -> &'a str {
        tenant_of(session, &self.tenant)
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
}

/// Parses a list of sessions. `SessionId` may be a string or a number.
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
