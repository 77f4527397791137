//! Sessions of a real `OceanBase` engine, over the `MySQL` protocol.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use futures::future::{BoxFuture, FutureExt};
use mysql_async::{Conn, Error, Opts, Row, prelude::Queryable};
use tokio::sync::Mutex;

use super::{Session, SessionStore, Verdict, Wanted};

const LIST: &str = "SELECT ID, USER, USER_CLIENT_IP, DB, COMMAND, STATE, INFO, SQL_ID, TRACE_ID, TIME, \
                    TOTAL_CPU_TIME FROM oceanbase.V$OB_PROCESSLIST WHERE ID <> CONNECTION_ID()";
const LIMIT: Duration = Duration::from_secs(10);
const UNKNOWN_THREAD: u16 = 1094;
const NOT_OWNER: u16 = 1095;

/// A real engine. One connection serves all calls in turn, so the gateway has exactly one session of its own. It is
/// neither listed nor killed. The connection is opened again after a restart of the engine.
pub struct OceanBase {
    options: Opts,
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    conn: Conn,
    server_ip: String,
    own_id: u32,
    version: String,
}

impl OceanBase {
    /// Prepares to connect to `url` (`mysql://user:password@host:port`). Does not connect yet.
    pub fn new(url: &str) -> Result<Self> {
        let options = Opts::from_url(url).context("the database URL is not of the form mysql://user@host:port")?;
        Ok(Self { options, connection: Mutex::default() })
    }

    /// A connection that has just answered. It is taken out of `self` while in use, so that a connection left in the
    /// middle of an answer is dropped and not used again.
    async fn connect(&self, kept: Option<Connection>) -> Result<Connection> {
        if let Some(mut kept) = kept
            && kept.conn.ping().await.is_ok()
        {
            return Ok(kept);
        }
        let connected = Conn::new(self.options.clone()).await;
        let mut conn = connected.context("cannot connect to the engine; is it running?")?;
        let identity = conn.query_first("SELECT HOST_IP(), CONNECTION_ID(), VERSION()").await?;
        let (server_ip, own_id, version) = identity.context("the engine does not tell its address")?;
        Ok(Connection { conn, server_ip, own_id, version })
    }

    async fn list_now(&self, is_wanted: &Wanted<'_>) -> Result<Vec<Arc<Session>>> {
        let mut slot = self.connection.lock().await;
        let mut connection = self.connect(slot.take()).await?;
        let rows: Vec<Row> = connection.conn.query(LIST).await.context("cannot list the engine's sessions")?;
        let sessions = rows.into_iter().map(|row| session(row, &connection.server_ip));
        let sessions = sessions.filter(is_wanted).map(Arc::new).collect();
        *slot = Some(connection);
        Ok(sessions)
    }

    async fn kill_now(&self, server_ip: &str, session_id: i64) -> Result<Verdict> {
        // Do not pass on larger IDs: the engine cuts them to 32 bits, so KILL 4294967999 would end session 703.
        let Ok(id) = u32::try_from(session_id) else {
            return Ok(Verdict::unknown(session_id));
        };
        let mut slot = self.connection.lock().await;
        let mut connection = self.connect(slot.take()).await?;
        let verdict = if id == connection.own_id || server_ip != connection.server_ip {
            Verdict::unknown(session_id)
        } else {
            match connection.conn.query_drop(format!("KILL {id}")).await {
                Ok(()) => Verdict::Killed,
                Err(Error::Server(error)) if matches!(error.code, UNKNOWN_THREAD | NOT_OWNER) => {
                    Verdict::Refused(error.message)
                }
                Err(error) => return Err(error).context(format!("cannot tell whether session {id} was killed")),
            }
        };
        *slot = Some(connection);
        Ok(verdict)
    }

    async fn version_now(&self) -> Result<String> {
        let mut slot = self.connection.lock().await;
        let connection = self.connect(slot.take()).await?;
        let version = connection.version.clone();
        *slot = Some(connection);
        Ok(version)
    }
}

impl SessionStore for OceanBase {
    fn list<'a>(&'a self, is_wanted: &'a Wanted<'a>) -> BoxFuture<'a, Result<Vec<Arc<Session>>>> {
        bounded(self.list_now(is_wanted)).boxed()
    }

    fn kill<'a>(&'a self, server_ip: &'a str, session_id: i64) -> BoxFuture<'a, Result<Verdict>> {
        bounded(self.kill_now(server_ip, session_id)).boxed()
    }

    fn version(&self) -> BoxFuture<'_, Result<String>> {
        bounded(self.version_now()).boxed()
    }

    fn replace(&self, _sessions: Vec<Session>) -> Result<()> {
        bail!("the sessions are those of a real engine: open and close connections to it instead")
    }

    fn add(&self, sessions: Vec<Session>) -> Result<()> {
        self.replace(sessions)
    }
}

/// A time limit: a paused engine keeps connections open and never answers. Without the limit the first call would block
/// all later ones.
async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, call).await.context("the engine did not answer in time")?
}

fn session(mut row: Row, server_ip: &str) -> Session {
    let mut text = |column: &str| match row.take_opt::<Option<String>, _>(column) {
        Some(Ok(Some(text))) => text,
        _ => String::new(),
    };
    Session {
        server_ip: server_ip.to_owned(),
        session_id: whole(&text("ID")),
        client_ip: text("USER_CLIENT_IP"),
        user: text("USER"),
        database: text("DB"),
        command: text("COMMAND"),
        status: text("STATE"),
        sql_text: text("INFO"),
        sql_id: text("SQL_ID"),
        trace_id: text("TRACE_ID"),
        execute_time: whole(&text("TIME")),
        cpu_time: whole(&text("TOTAL_CPU_TIME")),
        ..Session::default()
    }
}

/// The part before the point: the view shows fractions of seconds, the API only whole seconds.
fn whole(number: &str) -> i64 {
    number.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or_default()
}
