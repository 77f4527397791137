//! Clients of a real engine. Each has one session, and checks whether it was ended.

use std::time::Duration;

use sessionkill::api::{Expect, SessionState};
use testbed::gateway::Session;
use testbed::oceanbase::Engine;
use testbed::oceanbase::mysql_async::{ChangeUserOpts, Conn, DriverError, Error, prelude::Queryable as _};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{SQL_MARK, Scene, eventually};

const LIMIT: Duration = Duration::from_mins(2);
/// The engine's error code for a session that was killed.
const SESSION_INTERRUPTED: u16 = 5066;

/// A client that is connected and idle.
pub struct Client {
    /// The ID of its session.
    pub id: i64,
    conn: Conn,
}

/// A client that runs a statement longer than any test.
pub struct Statement {
    /// The ID of its session.
    pub id: i64,
    running: JoinHandle<(Conn, Error)>,
}

/// Lets `user` log in to `engine`.
pub async fn create_user(engine: &Engine, user: &str) {
    let mut root = engine.connect().await.unwrap();
    root.query_drop(format!("CREATE USER IF NOT EXISTS {user}")).await.unwrap();
    root.query_drop(format!("GRANT ALL ON test.* TO {user}")).await.unwrap();
    root.disconnect().await.unwrap();
}

impl Client {
    /// Opens a new session of `user` in the database `test`.
    pub async fn connect(engine: &Engine, user: &str) -> Self {
        let options = engine.options().user(Some(user)).db_name(Some("test"));
        let mut conn = timeout(LIMIT, Conn::new(options)).await.expect("the engine answers").unwrap();
        let id = engine.session_id(&mut conn).await.unwrap();
        Self { id, conn }
    }

    /// Checks that the session is alive and still belongs to this client.
    pub async fn assert_served(&mut self) {
        let answer = timeout(LIMIT, self.conn.query_first::<i64, _>("SELECT CONNECTION_ID()")).await;
        assert_eq!(answer.expect("the engine answers").unwrap(), Some(self.id));
    }

    /// Checks that the session was ended: the connection is closed.
    pub async fn assert_lost(&mut self) {
        let lost = async {
            loop {
                match self.conn.query_drop("SELECT 1").await {
                    Ok(()) => panic!("session {} is still served", self.id),
                    // The engine may answer more than one statement with this error before it closes the connection.
                    Err(Error::Server(error)) => assert_eq!(error.code, SESSION_INTERRUPTED, "{error}"),
                    Err(Error::Io(_) | Error::Driver(DriverError::ConnectionClosed)) => return,
                    Err(other) => panic!("{other:?}"),
                }
            }
        };
        timeout(LIMIT, lost).await.expect("the client is told");
    }

    /// Logs in again as another user, on the same connection.
    pub async fn become_user(&mut self, user: &str) {
        let options = ChangeUserOpts::default().with_user(Some(user.to_owned())).with_pass(None);
        self.conn.change_user(options).await.unwrap();
    }

    /// Starts a statement that runs longer than any test.
    pub fn start_statement(self) -> Statement {
        self.start(&format!("SELECT SLEEP(10000) AS {SQL_MARK}"))
    }

    /// Starts a statement that does not come to its end.
    pub fn start(self, statement: &str) -> Statement {
        let Self { id, mut conn } = self;
        let statement = statement.to_owned();
        let running = tokio::spawn(async move {
            let error = conn.query_drop(statement).await.expect_err("the statement does not come to its end");
            (conn, error)
        });
        Statement { id, running }
    }

    /// Ends the session in the regular way.
    pub async fn leave(self) {
        self.conn.disconnect().await.unwrap();
    }
}

impl Statement {
    /// Whether the client still waits for its answer.
    pub fn is_running(&self) -> bool {
        !self.running.is_finished()
    }

    /// Checks that the statement ended because its session was killed: the client gets that error, and its connection
    /// is closed.
    pub async fn assert_lost(self) {
        let id = self.id;
        let (mut client, code) = self.refused().await;
        assert!([None, Some(SESSION_INTERRUPTED)].contains(&code), "session {id} was told {code:?}");
        client.assert_lost().await;
    }

    /// The client, and the code of the error that ended the statement. The code is `None` if the connection was lost.
    pub async fn refused(self) -> (Client, Option<u16>) {
        let (conn, error) = timeout(LIMIT, self.running).await.expect("the client is told").unwrap();
        let code = if let Error::Server(error) = error { Some(error.code) } else { None };
        (Client { id: self.id, conn }, code)
    }
}

impl Scene {
    /// The session with this ID, as the gateway lists it now.
    pub async fn listed(&self, id: i64) -> Option<Session> {
        self.gateway().sessions().await.unwrap().into_iter().find(|session| session.session_id == id)
    }

    /// Waits until the statement is listed with its ID and has run for at least 1 s, the smallest value that `expect`
    /// accepts.
    pub async fn wait_listed(&self, statement: &Statement) -> Session {
        eventually("the statement to be listed", async || {
            let listed = self.listed(statement.id).await;
            let full = |it: &Session| it.sql_text.contains(SQL_MARK) && !it.sql_id.is_empty() && it.execute_time > 0;
            listed.clone().filter(full).ok_or_else(|| format!("{listed:?}"))
        })
        .await
    }

    /// Waits until the session is listed as idle. The client may get its answer shortly before that.
    pub async fn wait_idle(&self, client: &Client) -> Session {
        eventually(&format!("session {} to be listed as idle", client.id), async || {
            let listed = self.listed(client.id).await;
            listed.clone().filter(|session| session.status == "SLEEP").ok_or_else(|| format!("{listed:?}"))
        })
        .await
    }

    /// Waits until no session with this ID is listed.
    pub async fn wait_unlisted(&self, id: i64) {
        eventually(&format!("session {id} to be gone"), async || {
            self.listed(id).await.map_or(Ok(()), |session| Err(format!("{session:?}")))
        })
        .await;
    }
}

/// All fields of `expect`, with the values that a user sees in the list.
pub fn as_listed(session: &Session) -> Expect {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Expect {
        user: text(&session.user),
        database: text(&session.database),
        client_ip: text(&session.client_ip),
        command: text(&session.command),
        state: Some(if session.status == "SLEEP" { SessionState::Sleep } else { SessionState::Active }),
        sql_id: text(&session.sql_id),
        proxy_session_id: session.proxy_sess_id.clone(),
        min_execution_seconds: i32::try_from(session.execute_time).ok().filter(|seconds| *seconds > 0),
        ..Expect::default()
    }
}
