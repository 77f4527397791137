//! Sessions in a table that a test sets.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use futures::future::{BoxFuture, FutureExt, ready};

use super::{Session, SessionStore, Verdict, Wanted};

/// Sessions in memory. Each look and each kill is atomic. A look copies no session, and a kill takes the same time with
/// any number of sessions, so that calls at the same time do not wait for each other.
pub struct Memory(Mutex<Table>);

/// Sessions in the order in which they were added, found by server and ID.
#[derive(Default)]
struct Table {
    sessions: BTreeMap<usize, Arc<Session>>,
    places: HashMap<(String, i64), usize>,
}

impl Table {
    fn new(sessions: Vec<Session>) -> Self {
        let mut table = Self::default();
        table.add(sessions);
        table
    }

    fn add(&mut self, sessions: Vec<Session>) {
        let first = self.sessions.last_key_value().map_or(0, |(last, _)| last + 1);
        for (place, session) in (first..).zip(sessions) {
            self.places.insert((session.server_ip.clone(), session.session_id), place);
            self.sessions.insert(place, Arc::new(session));
        }
    }

    fn kill(&mut self, server_ip: &str, session_id: i64) -> Verdict {
        let key = (server_ip.to_owned(), session_id);
        let Some((place, session)) = self.places.get(&key).and_then(|place| self.sessions.get_key_value(place)) else {
            return Verdict::unknown(session_id);
        };
        if session.protected {
            return Verdict::Refused(format!("You are not owner of thread {session_id}"));
        }
        if !session.lingering {
            let place = *place;
            self.sessions.remove(&place);
            self.places.remove(&key);
        }
        Verdict::Killed
    }
}

impl Memory {
    /// Holds these sessions.
    #[must_use]
    pub fn new(sessions: Vec<Session>) -> Self {
        Self(Mutex::new(Table::new(sessions)))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for Memory {
    fn list<'a>(&'a self, is_wanted: &'a Wanted<'a>) -> BoxFuture<'a, Result<Vec<Arc<Session>>>> {
        ready(Ok(self.table().sessions.values().filter(|session| is_wanted(session)).cloned().collect())).boxed()
    }

    fn kill<'a>(&'a self, server_ip: &'a str, session_id: i64) -> BoxFuture<'a, Result<Verdict>> {
        ready(Ok(self.table().kill(server_ip, session_id))).boxed()
    }

    fn version(&self) -> BoxFuture<'_, Result<String>> {
        ready(Ok("4.2.1.8".to_owned())).boxed()
    }

    fn replace(&self, sessions: Vec<Session>) -> Result<()> {
        *self.table() = Table::new(sessions);
        Ok(())
    }

    fn add(&self, sessions: Vec<Session>) -> Result<()> {
        self.table().add(sessions);
        Ok(())
    }
}

/// Some initial sessions: one long report behind a proxy, its neighbour, and two idle ones.
#[must_use]
pub fn initial_sessions() -> Vec<Session> {
    let session = |server_ip: &str, session_id, user: &str, database: &str| Session {
        server_ip: server_ip.into(),
        session_id,
        client_ip: "10.2.3.4".into(),
        user: user.into(),
        database: database.into(),
        command: "Sleep".into(),
        status: "SLEEP".into(),
        execute_time: 12,
        ..Session::default()
    };
    let active = |session: Session, sql_text: &str| Session {
        command: "Query".into(),
        status: "ACTIVE".into(),
        sql_text: sql_text.into(),
        sql_id: "45CCBDC7F1D2A0B34C5D6E7F8091A2B3".into(),
        trace_id: "YB42C0A80D77-0005F9E6A1B2C3D4-0-0".into(),
        proxy_sess_id: Some("12402504630519660553".into()),
        execute_time: 742,
        cpu_time: 600,
        ..session
    };
    vec![
        active(
            session("192.168.13.119", 3_221_614_618, "report_ro", "reports"),
            "SELECT region, SUM(amount) FROM orders GROUP BY region",
        ),
        active(session("192.168.13.119", 3_221_614_619, "report_ro", "reports"), "SELECT SLEEP(1000)"),
        session("192.168.13.119", 3_221_614_620, "app", "shop"),
        session("192.168.13.120", 3_221_555_062, "app", "shop"),
    ]
}
