//! Reads the list of sessions. Does I/O.

use std::collections::HashSet;

use sessionkill_api::SYS_TENANT;
use sessionkill_core::backend::{CallError, ErrorKind, ProcessList};
use sessionkill_core::selection::{Selected, Selecting, Wanted};
use sessionkill_core::session::Seen;
use sessionkill_core::snapshot::Limits;
use tokio::time::Instant;

use super::columns::{self, Columns};
use super::error_codes::of_read;
use super::login::{behind_proxy, has_process_right};
use super::session::Session;
use super::statements;
use super::wire::{QueryError, Row};

/// The most sessions with wanted IDs that are kept: an ID is that of one session, or of a few behind proxies.
const MOST_KEPT: usize = 10_000;

/// The most bytes of text that are kept of them (8 MiB): ten times that of the sessions of one call, which run long statements.
const MOST_BYTES: usize = 8 << 20;

/// The most servers that are told apart: those of a large cluster, many times over.
const MOST_SERVERS: usize = 10_000;

/// The most IDs that a statement names.
const MOST_NAMED: usize = 1000;

/// Of whom the list is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    /// The tenant of the sessions.
    pub(super) tenant: &'a str,
    /// The tenant of the login.
    pub(super) login: &'a str,
}

/// The sessions of a tenant that are `wanted`, as `session` sees them.
pub(super) async fn read(
    session: &mut Session,
    of: Of<'_>,
    wanted: &Wanted,
    deadline: Instant,
) -> Result<ProcessList, CallError> {
    let Session { connection, own_id, server_ip, view, columns, sees_all, lists_some, .. } = session;
    let has_tenants = columns.has("TENANT");
    if !has_tenants && of.tenant != of.login {
        let text = format!("the server has one tenant only, {}, and the request is for {}", of.login, of.tenant);
        return Err(CallError::local(ErrorKind::NotAllowed, "OtherTenant", text));
    }
    let servers = HashSet::from([(server_ip.clone(), String::new())]);
    let mut reading;
    loop {
        reading = Reading {
            sessions: vec![],
            bytes: 0,
            rows: 0,
            selecting: Selecting::of(&wanted.filters),
            servers: servers.clone(),
            complete: true,
            refused: None,
        };
        let each = |row: &Row<'_>| {
            if let Err(refused) = reading.row(row, (of, *own_id), server_ip, has_tenants, wanted) {
                reading.refused.get_or_insert(refused);
            }
        };
        let some = lists_some.then(|| statement(view, columns, *own_id, wanted)).flatten();
        let read = connection.query(some.as_ref().unwrap_or(&statements::list(view)), deadline, each).await;
        match read {
            Ok(_) => break,
            // It may not know such a form of the statement.
            Err(QueryError::Server(_)) if some.is_some() && connection.is_usable() => *lists_some = false,
            Err(error) => return Err(of_read(error)),
        }
    }
    let Reading { sessions, selecting, servers, complete, refused, .. } = reading;
    if let Some(refused) = refused {
        return Err(refused);
    }
    // Without the right the list is shorter and does not say so: it must have been held all the time.
    let sees_all = *sees_all && (of.login == SYS_TENANT || has_process_right(connection, deadline).await?);
    let gap = if sees_all {
        "it has rows that cannot be read, or too many"
    } else {
        "the user sees its own sessions only; GRANT PROCESS ON *.* to it"
    };
    let complete = complete && sees_all;
    let limits = Limits { servers: Some(servers), untold: columns.untold(), gap };
    Ok(ProcessList { sessions, selected: finish(selecting).await?, complete, limits })
}

/// What was selected. A pattern is held against statements on another thread, as this one works for everybody.
async fn finish(selecting: Selecting) -> Result<Vec<Selected>, CallError> {
    if !selecting.is_costly() {
        return Ok(selecting.finish());
    }
    // Fails only when the process ends.
    let failed = |error: tokio::task::JoinError| CallError::local(ErrorKind::Ambiguous, "NotRead", error.to_string());
    tokio::task::spawn_blocking(|| selecting.finish()).await.map_err(failed)
}

/// The statement for the sessions with the IDs `wanted` and the own one; `None` if these are so many that all may be read, or
/// if sessions are selected from all.
fn statement(view: &str, columns: &Columns, own_id: i64, wanted: &Wanted) -> Option<String> {
    // No session has a larger ID.
    let ids = wanted.ids.iter().chain([&own_id]).filter_map(|id| u32::try_from(*id).ok());
    (wanted.ids.len() <= MOST_NAMED && wanted.filters.is_empty()).then(|| statements::list_of(view, columns, ids))
}

/// A list while it is read.
struct Reading {
    sessions: Vec<Seen>,
    /// The bytes of their texts.
    bytes: usize,
    /// How many rows have been read.
    rows: u64,
    selecting: Selecting,
    /// Address and SQL port of each server that has a session.
    servers: HashSet<(String, String)>,
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
        wanted: &Wanted,
    ) -> Result<(), CallError> {
        let Some(seen) = columns::session(row, server_ip) else {
            self.complete = false;
            return Ok(());
        };
        if seen.session_id == own_id {
            check_own(&seen.proxy_session_id, &seen.tenant_id, of.login, has_tenants)?;
        }
        if self.servers.len() < MOST_SERVERS {
            self.servers.insert((seen.server_ip.clone(), seen.server_port.clone()));
        }
        let is_of_tenant = !has_tenants || seen.tenant_id == of.tenant;
        self.rows += 1;
        // Nobody who chooses sessions by what they are means the one that reads the list.
        if is_of_tenant && seen.session_id != own_id {
            self.selecting.offer(self.rows, &seen, Clone::clone);
        }
        if is_of_tenant && wanted.ids.contains(&seen.session_id) {
            let bytes = self.bytes + bytes_of(&seen);
            if self.sessions.len() < MOST_KEPT && bytes <= MOST_BYTES {
                self.bytes = bytes;
                self.sessions.push(seen);
            } else {
                self.complete = false;
            }
        }
        Ok(())
    }
}

/// The bytes of the texts of a session: each is bounded, but not what a server makes of all.
fn bytes_of(seen: &Seen) -> usize {
    let texts = [
        &seen.server_ip,
        &seen.server_port,
        &seen.status,
        &seen.host,
        &seen.client_ip,
        &seen.client_port,
        &seen.tenant_id,
        &seen.user,
        &seen.database,
        &seen.sql_text,
        &seen.sql_id,
        &seen.trace_id,
        &seen.transaction_id,
        &seen.command,
        &seen.execute_time,
        &seen.proxy_session_id,
    ];
    texts.into_iter().map(String::len).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_texts_of_a_session_count() {
        let seen = Seen { sql_text: "x".repeat(10), user: "ab".to_owned(), host: "h:1".to_owned(), ..Seen::default() };
        assert_eq!((bytes_of(&seen), bytes_of(&Seen::default())), (15, 0));
    }

    #[test]
    fn a_proxy_and_another_tenant_are_told_by_the_own_session() {
        let kind = |proxy, tenant, has_tenants| check_own(proxy, tenant, "t1", has_tenants).map_err(|error| error.kind);
        assert_eq!(kind("", "t1", true), Ok(()));
        assert_eq!(kind("", "", false), Ok(()));
        assert_eq!(kind("9", "t1", true), Err(ErrorKind::ProxyNotSupported));
        assert_eq!(kind("", "t2", true), Err(ErrorKind::NotAllowed));
    }
}
