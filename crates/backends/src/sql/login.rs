//! Who logs in, and the checks of a new connection: is the server what the connection says, and what can it do? Does I/O.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sessionkill_api::SYS_TENANT;
use sessionkill_core::backend::{CallError, ErrorKind};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::columns::Columns;
use super::error_codes::{NO_SUCH_FUNCTION, NO_SUCH_SESSION, NO_SUCH_TABLE, of_open, of_read, unknown_id, unreachable};
use super::server::{NoAddress, Server};
use super::session::Session;
use super::statements::{VIEWS, fence_probes, settings};
use super::wire::{Connection, Login, QueryError};

/// The longest that connecting and logging in may take.
const OPENING: Duration = Duration::from_secs(5);

/// The code of a server that leads only to addresses that may not be called.
pub(super) const ADDRESS_NOT_ALLOWED: &str = "AddressNotAllowed";

/// The user of a connection, and where the credentials come from.
#[derive(Clone)]
pub struct Account {
    /// The user, without its tenant.
    pub user: String,
    /// The password.
    pub password: SecretString,
    /// Where it comes from, for people, such as `Secret db-user`.
    pub source: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("user", &self.user).field("source", &self.source).finish_non_exhaustive()
    }
}

impl Account {
    /// What a connection of this account was opened with: another digest means that it must be opened again.
    pub(super) fn digest(&self, server: &Server, cluster: &str, tenant: &str) -> [u8; 32] {
        let mut digest = Sha256::new();
        let server = server.identity();
        for part in [&self.user, self.password.expose_secret(), server.as_str(), cluster, tenant] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// What is asked of a new connection.
pub(super) struct Wanted<'a> {
    pub(super) server: &'a Server,
    pub(super) account: &'a Account,
    /// The name of the cluster that the connection gives.
    pub(super) cluster: &'a str,
    /// The tenant to log in to.
    pub(super) tenant: &'a str,
    /// The longest that a statement may run.
    pub(super) timeout: Duration,
}

/// Connects, logs in and checks.
pub(super) async fn open(wanted: &Wanted<'_>) -> Result<Session, CallError> {
    let deadline = Instant::now() + OPENING.min(wanted.timeout);
    let address = tokio::time::timeout_at(deadline, wanted.server.resolve()).await;
    let address = address.unwrap_or_else(|_| Err(NoAddress::Unknown("the name was not resolved in time".to_owned())));
    let address = address.map_err(|error| match error {
        NoAddress::Unknown(text) => unreachable(&text),
        // Not the fault of a request: names lead elsewhere later, and whoever runs the operator may allow it.
        NoAddress::NotAllowed(text) => CallError::local(ErrorKind::Unreachable, ADDRESS_NOT_ALLOWED, text),
    })?;
    let Account { user, password, .. } = wanted.account;
    let login = Login { user: format!("{user}@{}", wanted.tenant), password: password.clone() };
    let connection = Connection::open(&address, &login, deadline).await.map_err(of_open)?;
    checked(connection, wanted, deadline).await
}

/// Asks the server what it is. Nothing here depends on the order of columns, or that a name is known to it.
async fn checked(mut connection: Connection, wanted: &Wanted<'_>, deadline: Instant) -> Result<Session, CallError> {
    let asked = &mut connection;
    asked.query(&settings(wanted.timeout), deadline, |_| {}).await.map_err(of_read)?;
    // A proxy answers this, and an OBServer knows no such function.
    match asked.query("SELECT proxy_version()", deadline, |_| {}).await {
        Err(QueryError::Server(error)) if error.code == NO_SUCH_FUNCTION => {}
        Ok(_) => return Err(behind_proxy()),
        Err(error) => return Err(of_read(error)),
    }
    if value(asked, "SHOW VARIABLES LIKE 'ob_compatibility_mode'", 1, deadline)
        .await?
        .is_some_and(|mode| mode == "ORACLE")
    {
        let text =
            "the tenant is in Oracle mode, in which KILL does not compare what it ends: sessions of it cannot be ended";
        return Err(CallError::local(ErrorKind::OperationUnavailable, "OracleMode", text));
    }
    let cluster = value(asked, "SHOW PARAMETERS LIKE 'cluster'", usize::MAX, deadline).await?;
    if let Some(cluster) = cluster.filter(|name| name != wanted.cluster) {
        let text = format!("the server is of cluster {cluster}, and spec.sql.cluster is {}", wanted.cluster);
        return Err(CallError::local(ErrorKind::NotAllowed, "OtherCluster", text));
    }
    let own_id = value(asked, "SELECT CONNECTION_ID()", 0, deadline).await?.and_then(|id| id.parse().ok());
    let server_ip = value(asked, "SELECT host_ip()", 0, deadline).await?.unwrap_or_default();
    let sees_all = wanted.tenant == SYS_TENANT || has_process_right(asked, deadline).await?;
    let (view, columns) = view(asked, deadline).await?;
    let has_fence = probe_fence(asked, deadline).await?;
    let own_id = own_id.unwrap_or_else(|| connection.id().into());
    Ok(Session { connection, own_id, server_ip, view, columns, sees_all, lists_some: true, has_fence })
}

/// The refusal of a proxy.
pub(super) fn behind_proxy() -> CallError {
    let text = "the server is a proxy (ODP), which knows sessions by other IDs than the OBServers behind it: name an OBServer \
                itself, whose SQL port is 2881 unless changed";
    CallError::local(ErrorKind::ProxyNotSupported, "BehindProxy", text)
}

/// The text in this column of the only row; of the column named `value`, if there is no such column. `None` if no row comes.
async fn value(
    connection: &mut Connection,
    statement: &str,
    column: usize,
    deadline: Instant,
) -> Result<Option<String>, CallError> {
    let mut found = None;
    let read = connection.query(statement, deadline, |row| {
        let value = row.at(column).or_else(|| row.get("value")).flatten();
        found = value.map(|value| String::from_utf8_lossy(value).into_owned());
    });
    match read.await {
        Ok(_) => Ok(found),
        // A server that does not know it tells nothing.
        Err(QueryError::Server(_)) => Ok(None),
        Err(error) => Err(of_read(error)),
    }
}

/// Whether the user sees the sessions of others: without the right, the list is shorter and does not say so.
pub(super) async fn has_process_right(connection: &mut Connection, deadline: Instant) -> Result<bool, CallError> {
    let mut has_right = false;
    let read = connection.query("SHOW GRANTS", deadline, |row| {
        has_right |= grants_process(&String::from_utf8_lossy(row.at(0).flatten().unwrap_or_default()));
    });
    match read.await {
        Ok(_) => Ok(has_right),
        Err(QueryError::Server(_)) => Ok(false),
        Err(error) => Err(of_read(error)),
    }
}

/// Whether a line such as `GRANT SUPER, PROCESS ON *.* TO 'killer'` gives the right to see all sessions.
fn grants_process(line: &str) -> bool {
    let Some((rights, _)) = line.strip_prefix("GRANT ").and_then(|line| line.split_once(" ON *.* TO ")) else {
        return false;
    };
    rights.split(',').any(|right| matches!(right.trim(), "PROCESS" | "ALL" | "ALL PRIVILEGES"))
}

/// The first view that the server has, and its columns.
async fn view(connection: &mut Connection, deadline: Instant) -> Result<(&'static str, Columns), CallError> {
    for view in VIEWS {
        let mut columns = Columns::default();
        let one = format!("SELECT * FROM {view} LIMIT 1");
        let read =
            connection.query(&one, deadline, |row| columns = Columns::of(row.names().map(str::to_owned).collect()));
        match read.await {
            Ok(_) => {
                return match columns.missing() {
                    None => Ok((view, columns)),
                    Some(column) => {
                        let text =
                            format!("{view} has no column {column}: the server is no OceanBase that is supported");
                        Err(CallError::local(ErrorKind::OperationUnavailable, "ServerNotSupported", text))
                    }
                };
            }
            Err(QueryError::Server(error)) if error.code == NO_SUCH_TABLE => {}
            Err(error) => return Err(of_read(error)),
        }
    }
    let text = "it has no list of sessions (GV$OB_PROCESSLIST, V$OB_PROCESSLIST): it is no OceanBase 4";
    Err(CallError::local(ErrorKind::OperationUnavailable, "ServerNotSupported", text))
}

/// Whether the server evaluates a condition in `KILL`, found by two kills of an ID that nobody has. That is not documented, so
/// that it is asked of each new connection.
async fn probe_fence(connection: &mut Connection, deadline: Instant) -> Result<bool, CallError> {
    for (statement, expected) in fence_probes() {
        match connection.query(&statement, deadline, |_| {}).await {
            Err(QueryError::Server(error)) if error.code == NO_SUCH_SESSION && unknown_id(&error) == Some(expected) => {
            }
            Ok(_) | Err(QueryError::Server(_)) => return Ok(false),
            Err(error) => return Err(of_read(error)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_right_to_all_shows_all() {
        for line in [
            "GRANT ALL PRIVILEGES ON *.* TO 'root' WITH GRANT OPTION",
            "GRANT SUPER, PROCESS ON *.* TO 'u1'",
            "GRANT PROCESS ON *.* TO 'u1'",
        ] {
            assert!(grants_process(line), "{line}");
        }
        for line in [
            "GRANT USAGE ON *.* TO 'u1'",
            "GRANT ALL PRIVILEGES ON `test`.* TO 'u1'",
            "GRANT PROCESSES ON *.* TO 'u1'",
            "GRANT SELECT ON `PROCESS ON *.* TO `.* TO 'u1'",
            "PROCESS ON *.* TO",
        ] {
            assert!(!grants_process(line), "{line}");
        }
    }
}
