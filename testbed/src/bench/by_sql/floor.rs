//! What every program must ask of the engine that ends the sessions of a request and knows what became of them: the list of
//! these sessions, a comparison and a `KILL` of each, and the list again. One connection, one statement at a time.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use sessionkill::{
    api::SessionKill,
    backends::sql::wire::{Address, Connection, Login, Row, Tls},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::database::Database;

const VIEW: &str = "oceanbase.V$OB_PROCESSLIST";
/// Shorter than the operator's, which asks for all requests of a call at once.
const PAUSE: Duration = Duration::from_millis(20);
const TIME_OUT: Duration = Duration::from_secs(10);

/// User and host of each session of a request.
pub(in super::super) type Seen = HashMap<i64, (String, String)>;

/// A connection with the operator's client.
pub(in super::super) struct FloorSession(Mutex<Connection>);

impl FloorSession {
    /// Logs in.
    pub(in super::super) async fn open(host: SocketAddr) -> anyhow::Result<Self> {
        let address = Address { addresses: vec![host], tls: Tls::Disabled };
        let user = format!("{}@{}", Database::USER, Database::TENANT);
        let login = Login { user, password: Database::PASSWORD.into() };
        let mut connection = Connection::open(&address, &login, Instant::now() + TIME_OUT).await?;
        connection.query("SET SESSION time_zone = '+00:00'", Instant::now() + TIME_OUT, |_| {}).await?;
        Ok(Self(Mutex::new(connection)))
    }

    /// The sessions of `object` that are there.
    pub(in super::super) async fn list(&self, object: &SessionKill) -> anyhow::Result<Seen> {
        list(&mut *self.0.lock().await, object).await
    }

    /// Ends the sessions of `object`, which were `seen`, before its `notAfterTime`, and waits until they are gone.
    pub(in super::super) async fn kill(&self, object: &SessionKill, seen: &Seen) -> anyhow::Result<()> {
        let mut connection = self.0.lock().await;
        for session in &object.spec.sessions {
            let id = session.session_id;
            let (user, host) = seen.get(&id).with_context(|| format!("session {id} was not there"))?;
            compare_and_kill(&mut connection, id, (user, host), object.spec.not_after_time.0).await?;
        }
        drop(connection);
        // The engine may list a session for a moment after it has answered.
        let deadline = Instant::now() + TIME_OUT;
        while !self.list(object).await?.is_empty() {
            ensure!(Instant::now() < deadline, "sessions are still there");
            sleep(PAUSE).await;
        }
        Ok(())
    }
}

async fn list(connection: &mut Connection, object: &SessionKill) -> anyhow::Result<Seen> {
    let ids: Vec<_> = object.spec.sessions.iter().map(|session| session.session_id.to_string()).collect();
    let statement = format!("SELECT * FROM {VIEW} WHERE ID IN ({})", ids.join(", "));
    let mut seen = Seen::new();
    let each = |row: &Row<'_>| {
        let text = |name| String::from_utf8_lossy(row.get(name).flatten().unwrap_or_default()).into_owned();
        seen.insert(text("ID").parse().unwrap_or_default(), (text("USER"), text("HOST")));
    };
    connection.query(&statement, Instant::now() + TIME_OUT, each).await?;
    Ok(seen)
}

async fn compare_and_kill(
    connection: &mut Connection,
    id: i64,
    (user, host): (&str, &str),
    until: Timestamp,
) -> anyhow::Result<()> {
    let compare = format!(
        "SELECT @k := (SELECT ID FROM {VIEW} WHERE ID = {id} AND USER <=> BINARY x'{}' AND HOST <=> BINARY x'{}'), \
         UNIX_TIMESTAMP(SYSDATE(6))",
        hex::encode(user),
        hex::encode(host)
    );
    let mut found = None;
    let row = |row: &Row<'_>| found = row.at(0).flatten().map(<[u8]>::to_vec);
    connection.query(&compare, Instant::now() + TIME_OUT, row).await?;
    ensure!(found.as_deref() == Some(id.to_string().as_bytes()), "session {id} has changed");
    let kill = format!("KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) < {}.000000, @k, 0)", until.as_second());
    connection.query(&kill, Instant::now() + TIME_OUT, |_| {}).await?;
    Ok(())
}
