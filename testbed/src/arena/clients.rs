//! Clients of a real engine. Each holds one session open, and is asked at the end whether it still has it.

use std::{collections::BTreeMap, time::Duration};

use mysql_async::{Conn, prelude::Queryable as _};
use tokio::time::{Instant, sleep};

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
            let server_ip = engine.server_ip().to_owned();
            clients.push((Session { server_ip, session_id, user: "root".into(), ..Session::default() }, conn));
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

async fn is_served(conn: &mut Conn, session_id: i64) -> bool {
    let id = conn.query_first::<i64, _>("select connection_id()").await;
    matches!(id, Ok(Some(id)) if id == session_id)
}
