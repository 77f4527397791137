//! Clients of a real engine. Each holds one session open, and is asked at the end whether it still has it. Some of them run
//! a statement, and know at the end whether it was interrupted.

use std::{collections::BTreeMap, time::Duration};

use mysql_async::{Conn, prelude::Queryable as _};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::verdict::Verdict;
use crate::{gateway::Session, oceanbase::Engine};

/// How long the engine may take to end a session after a `KILL`.
const LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(100);

/// Connected clients, in the order of their sessions.
pub struct Clients(Vec<(Session, Conn)>);

impl Clients {
    /// Connects this number of new clients.
    pub async fn connect(engine: &Engine, count: usize) -> anyhow::Result<Self> {
        let mut clients = vec![];
        for _ in 0..count {
            let mut conn = engine.connect().await?;
            let session_id = engine.session_id(&mut conn).await?;
            clients.push((session_of(engine, session_id), conn));
        }
        Ok(Self(clients))
    }

    /// Their sessions, as requests name them.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.0.iter().map(|(session, _)| session.clone()).collect()
    }

    /// How many have lost their session and how many have not, and each contradiction to the ledger or the log, which
    /// says whose sessions were killed. `name` is the prefix of each message.
    pub async fn verdict(self, name: &str, killed: &BTreeMap<(String, i64), u32>) -> Verdict {
        let mut verdict = Verdict::default();
        for (session, mut conn) in self.0 {
            let is_killed = killed.contains_key(&(session.server_ip, session.session_id));
            let deadline = Instant::now() + LIMIT;
            let mut is_served = is_served(&mut conn, session.session_id).await;
            while is_killed && is_served && Instant::now() < deadline {
                sleep(POLL).await;
                is_served = self::is_served(&mut conn, session.session_id).await;
            }
            if is_served == is_killed {
                let id = session.session_id;
                verdict
                    .violations
                    .push(format!("{name}: session {id}: killed: {is_killed}, client served: {is_served}"));
            }
            verdict.lost += usize::from(!is_served);
            verdict.served += usize::from(is_served);
        }
        verdict
    }
}

/// Connected clients in the middle of a statement, in the order of their sessions.
pub struct Runners(Vec<(Session, JoinHandle<Conn>)>);

impl Runners {
    /// Connects this number of new clients, and waits until their statements are listed.
    pub async fn connect(engine: &Engine, count: usize) -> anyhow::Result<Self> {
        let mut root = engine.connect().await?;
        let mut runners = vec![];
        for _ in 0..count {
            let mut conn = engine.connect().await?;
            let id = engine.session_id(&mut conn).await?;
            let running = tokio::spawn(async move {
                // It ends by an error, whether the statement is interrupted or the session.
                let _ = conn.query_drop("select sleep(10000)").await;
                conn
            });
            let listed = format!("select sql_id from oceanbase.V$OB_PROCESSLIST where id = {id} and state = 'ACTIVE'");
            let sql_id = loop {
                match root.query_first::<Option<String>, _>(&listed).await? {
                    Some(Some(sql_id)) if !sql_id.is_empty() => break sql_id,
                    _ => sleep(POLL).await,
                }
            };
            runners.push((Session { sql_id, ..session_of(engine, id) }, running));
        }
        Ok(Self(runners))
    }

    /// Their sessions, as requests name them.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.0.iter().map(|(session, _)| session.clone()).collect()
    }

    /// The same as [`Clients::verdict`]. `interrupted` are the sessions whose statement was interrupted by the engine's log.
    pub async fn verdict(
        self,
        name: &str,
        killed: &BTreeMap<(String, i64), u32>,
        interrupted: &BTreeMap<(String, i64), u32>,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        for (session, mut running) in self.0 {
            let key = (session.server_ip, session.session_id);
            let (is_killed, is_interrupted) = (killed.contains_key(&key), interrupted.contains_key(&key));
            let has_ended = timeout(if is_killed || is_interrupted { LIMIT } else { POLL }, &mut running).await;
            let is_right = match has_ended {
                Ok(Ok(mut conn)) => {
                    let is_served = is_served(&mut conn, key.1).await;
                    verdict.lost += usize::from(!is_served);
                    verdict.served += usize::from(is_served);
                    (is_killed || is_interrupted) && is_served != is_killed
                }
                Ok(Err(_)) => false,
                Err(_) => {
                    running.abort();
                    verdict.served += 1;
                    !is_killed && !is_interrupted
                }
            };
            if !is_right {
                let id = key.1;
                verdict.violations.push(format!(
                    "{name}: running session {id}: killed: {is_killed}, interrupted: {is_interrupted}: not so for its client"
                ));
            }
        }
        verdict
    }
}

fn session_of(engine: &Engine, session_id: i64) -> Session {
    Session { server_ip: engine.server_ip().to_owned(), session_id, user: "root".into(), ..Session::default() }
}

async fn is_served(conn: &mut Conn, session_id: i64) -> bool {
    let id = conn.query_first::<i64, _>("select connection_id()").await;
    matches!(id, Ok(Some(id)) if id == session_id)
}
