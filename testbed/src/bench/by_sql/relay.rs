//! A relay before the engine that counts connections and statements, and tells when each session's `KILL` was answered.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::AbortHandle,
};

/// The command of a packet with a statement.
const QUERY: u8 = 3;

/// What was asked of the engine.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Asked {
    /// Connections that were open, or were opened.
    pub connections: u32,
    /// Statements, by kind.
    pub statements: BTreeMap<String, u64>,
    /// Those that are open now.
    open: u32,
    /// When the `KILL` that names a session was answered.
    pub killed: HashMap<i64, Instant>,
}

/// A running relay. It ends when this value is dropped.
pub(super) struct Relay {
    address: SocketAddr,
    asked: Shared,
    serving: AbortHandle,
}

type Shared = Arc<Mutex<Asked>>;

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Relay {
    /// Starts it before the server on this port of loopback.
    pub(super) async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let asked = Shared::default();
        let counted = asked.clone();
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let asked = counted.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        opened(&asked);
                        let _ = relay(client, server, &asked).await;
                        lock(&asked).open -= 1;
                    }
                });
            }
        });
        Ok(Self { address, asked, serving: serving.abort_handle() })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn clear(&self) {
        let mut asked = lock(&self.asked);
        let open = asked.open;
        *asked = Asked { connections: open, open, ..Asked::default() };
    }

    pub(super) fn asked(&self) -> Asked {
        lock(&self.asked).clone()
    }
}

fn opened(asked: &Shared) {
    let mut asked = lock(asked);
    asked.connections += 1;
    asked.open += 1;
}

fn lock(asked: &Shared) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Relays until one side closes the connection.
async fn relay(client: TcpStream, server: TcpStream, asked: &Shared) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let killing = Mutex::new(None);
    tokio::select! {
        done = there(from_client, to_server, asked, &killing) => done,
        done = back(from_server, to_client, asked, &killing) => done,
    }
}

type Killing = Mutex<Option<i64>>;

async fn there(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    asked: &Shared,
    killing: &Killing,
) -> std::io::Result<()> {
    let mut packet = vec![0; 4];
    loop {
        packet.truncate(4);
        client.read_exact(&mut packet).await?;
        let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]);
        packet.resize(4 + length as usize, 0);
        client.read_exact(&mut packet[4..]).await?;
        // A command is the first packet of an exchange.
        if packet[3] == 0 && packet.get(4) == Some(&QUERY) {
            let statement = String::from_utf8_lossy(&packet[5..]);
            *lock(asked).statements.entry(kind(&statement).to_owned()).or_default() += 1;
            *killing.lock().unwrap_or_else(PoisonError::into_inner) = killed(&statement);
        }
        server.write_all(&packet).await?;
    }
}

async fn back(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    asked: &Shared,
    killing: &Killing,
) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = server.read(&mut piece).await?;
        if length == 0 {
            return client.shutdown().await;
        }
        if let Some(id) = killing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            lock(asked).killed.insert(id, Instant::now());
        }
        client.write_all(&piece[..length]).await?;
    }
}

/// What a statement does for a kill. What a login asks is none of it.
fn kind(statement: &str) -> &'static str {
    let statement = statement.trim_start().to_ascii_uppercase();
    let is_list = statement.contains("PROCESSLIST") && !statement.ends_with("LIMIT 1");
    if statement.starts_with("KILL") && !statement.contains("4294967295") {
        "kill"
    } else if statement.starts_with("SELECT @K") {
        "compare"
    } else if is_list {
        "list"
    } else {
        "login"
    }
}

/// The ID that a plain `KILL` names.
fn killed(statement: &str) -> Option<i64> {
    let mut words = statement.split_whitespace();
    words.next().filter(|word| word.eq_ignore_ascii_case("kill"))?;
    words.next()?.trim_matches('\'').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_of_a_kill_or_of_a_login() {
        for (statement, of) in [
            ("SELECT * FROM oceanbase.V$OB_PROCESSLIST WHERE ID = 7", "list"),
            ("show full processlist", "list"),
            ("SELECT @k := (SELECT ID FROM oceanbase.V$OB_PROCESSLIST WHERE ID = 7), 1", "compare"),
            ("KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) < 1.0, @k, 0)", "kill"),
            ("KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) < 1, 4294967295, 0)", "login"),
            ("SELECT * FROM oceanbase.GV$OB_PROCESSLIST LIMIT 1", "login"),
            ("SELECT host_ip()", "login"),
        ] {
            assert_eq!(kind(statement), of, "{statement}");
        }
        assert_eq!((killed("KILL 7"), killed("kill '8'"), killed("KILL IF(1, @k, 0)")), (Some(7), Some(8), None));
    }
}
