//! Reads the list of sessions. Does I/O.

use std::collections::HashSet;

use sessionkill_core::backend::{CallError, ErrorKind, ProcessList};
use sessionkill_core::session::Limits;
use tokio::time::Instant;

use super::columns;
use super::error_codes::of_read;
use super::login::behind_proxy;
use super::session::Session;
use super::statements;
use super::wire::Row;

/// The most sessions with wanted IDs that are kept: an ID is that of one session, or of a few behind proxies.
const MOST_KEPT: usize = 10_000;

/// Of whom the list is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    /// The tenant of the sessions.
    pub(super) tenant: &'a str,
    /// The tenant of the login.
    pub(super) login: &'a str,
}

/// The sessions of a tenant with `wanted` IDs, as `session` sees them.
pub(super) async fn read(
    session: &mut Session,
    of: Of<'_>,
    wanted: impl Fn(i64) -> bool,
    deadline: Instant,
) -> Result<ProcessList, CallError> {
    let Session { connection, own_id, server_ip, view, columns, sees_all, .. } = session;
    let has_tenants = columns.has("TENANT");
    if !has_tenants && of.tenant != of.login {
        let text = format!("the server has one tenant only, {}, and the request is for {}", of.login, of.tenant);
        return Err(CallError::local(ErrorKind::NotAllowed, "OtherTenant", text));
    }
    let mut reading =
        Reading { sessions: vec![], servers: HashSet::from([server_ip.clone()]), complete: *sees_all, refused: None };
    let each = |row: &Row<'_>| {
        if let Err(refused) = reading.row(row, (of, *own_id), server_ip, has_tenants, &wanted) {
            reading.refused.get_or_insert(refused);
        }
    };
    connection.query(&statements::list(view), deadline, each).await.map_err(of_read)?;
    let Reading { sessions, servers, complete, refused } = reading;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let gap = if *sees_all {
        "it has rows that cannot be read"
    } else {
        "the user sees its own sessions only; GRANT PROCESS ON *.* to it"
    };
    Ok(ProcessList { sessions, complete, limits: Limits { servers: Some(servers), untold: columns.untold(), gap } })
}

/// A list while it is read.
struct Reading {
    sessions: Vec<sessionkill_core::session::Seen>,
    servers: HashSet<String>,
    complete: bool,
    refused: Option<CallError>,
}

impl Reading {
    fn row(
        &mut self,
        row: &Row<'_>,
        (of, own_id): (Of<'_>, i64),
        server_ip: &str,
        has_tenants: bool,
        wanted: &impl Fn(i64) -> bool,
    ) -> Result<(), CallError> {
        let Some(seen) = columns::session(row, server_ip) else {
            self.complete = false;
            return Ok(());
        };
        if seen.session_id == own_id {
            check_own(&seen.proxy_session_id, &seen.tenant_id, of.login, has_tenants)?;
        }
        if !self.servers.contains(&seen.server_ip) {
            self.servers.insert(seen.server_ip.clone());
        }
        let is_of_tenant = !has_tenants || seen.tenant_id == of.tenant;
        if is_of_tenant && wanted(seen.session_id) {
            if self.sessions.len() < MOST_KEPT {
                self.sessions.push(seen);
            } else {
                self.complete = false;
            }
        }
        Ok(())
    }
}

/// Checks the row of the operator's own session: it tells whether the server is a proxy, and the name of the tenant.
fn check_own(proxy_session_id: &str, tenant: &str, login: &str, has_tenants: bool) -> Result<(), CallError> {
    if !proxy_session_id.is_empty() {
        return Err(behind_proxy());
    }
    if has_tenants && tenant != login {
        let text = format!("the server says that the login is of tenant {tenant}, and spec.sql.tenant is {login}");
        return Err(CallError::local(ErrorKind::NotAllowed, "OtherTenant", text));
    }
    Ok(())
}
