//! A connection: opening it, and one statement at a time. Does I/O.

use std::fmt;

use sessionkill_core::backend::bounded;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Begin};
use super::dial::{Address, dial};
use super::error::{Broken, OpenError, QueryError, ServerError};
use super::login::{LoggedIn, Login, log_in};
use super::packet::{MAX_PACKET, Packets, Socket};
use super::rows::{Row, Rows, column};
use super::tls::Tls;

/// The command with which a statement is sent.
const QUERY: u8 = 3;

/// A logged-in connection.
pub struct Connection {
    packets: Packets<Box<dyn Socket>>,
    id: u32,
    server_version: String,
    /// False from before a statement is written until its answer is complete.
    is_usable: bool,
}

impl Connection {
    /// Connects and logs in before `deadline`.
    pub async fn open(address: &Address, login: &Login, deadline: Instant) -> Result<Self, OpenError> {
        let socket = dial(&address.addresses, deadline).await?;
        Self::over(socket, &address.tls, login, deadline).await
    }

    /// Logs in over a socket that is connected.
    pub async fn over(
        socket: impl Socket + 'static,
        tls: &Tls,
        login: &Login,
        deadline: Instant,
    ) -> Result<Self, OpenError> {
        let logged_in = timeout_at(deadline, log_in(socket, tls, login)).await;
        let late = |_| OpenError::Unreachable("connected, but the login timed out".to_owned());
        let LoggedIn { packets, handshake } = logged_in.map_err(late)??;
        let is_usable = !packets.has_unread();
        Ok(Self { packets, id: handshake.connection_id, server_version: handshake.server_version, is_usable })
    }

    /// The ID of the connection, as the server's handshake told it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The server's version: 256 printable characters at most.
    #[must_use]
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// Whether another statement can be sent. False once an answer was not complete: it timed out, was cancelled, lost or
    /// malformed.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// Sends one statement, calls `each` for each row as it is read, and returns the number of rows: 0 for an answer
    /// without rows. `each` may have been called although the result is an error.
    pub async fn query(
        &mut self,
        statement: &str,
        deadline: Instant,
        each: impl FnMut(&Row<'_>),
    ) -> Result<usize, QueryError> {
        self.check(statement, deadline).await.map_err(QueryError::NotWritten)?;
        self.is_usable = false;
        let answered = timeout_at(deadline, exchange(&mut self.packets, statement, each)).await;
        let answered = answered.map_err(|_| QueryError::Lost("no complete answer before the deadline".to_owned()))?;
        let answer = match answered {
            Ok(rows) => Ok(rows),
            Err(Ended::Error(error)) => Err(QueryError::Server(error)),
            Err(Ended::Broken(broken)) => return Err(QueryError::Lost(bounded(&broken.to_string()))),
        };
        self.is_usable = !self.packets.has_unread();
        answer
    }

    /// Fails if the statement cannot be sent.
    async fn check(&mut self, statement: &str, deadline: Instant) -> Result<(), String> {
        if !self.is_usable {
            return Err("the connection is no longer usable".to_owned());
        }
        if statement.len() >= MAX_PACKET {
            return Err("the statement is too long".to_owned());
        }
        if let Err(broken) = self.packets.check_idle().await {
            self.is_usable = false;
            return Err(bounded(&broken.to_string()));
        }
        if Instant::now() >= deadline { Err("the deadline passed".to_owned()) } else { Ok(()) }
    }
}

/// The ID and the version only.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, server_version, is_usable, packets: _ } = self;
        let mut debug = f.debug_struct("Connection");
        debug.field("id", id).field("server_version", server_version).field("is_usable", is_usable);
        debug.finish_non_exhaustive()
    }
}

/// Why there are no more rows.
enum Ended {
    /// The answer is an error, and complete.
    Error(ServerError),
    Broken(Broken),
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Writes a statement and reads its complete answer.
async fn exchange(
    packets: &mut Packets<Box<dyn Socket>>,
    statement: &str,
    each: impl FnMut(&Row<'_>),
) -> Result<usize, Ended> {
    packets.begin();
    packets.write(&[&[QUERY], statement.as_bytes()].concat()).await?;
    let Begin::Columns(count) = answer::begin(next(packets).await?)? else { return Ok(0) };
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        columns.push(column(next(packets).await?)?);
    }
    answer::end(next(packets).await?)?;
    let mut rows = Rows::new(columns, each);
    loop {
        let packet = next(packets).await?;
        if answer::is_end(packet) {
            answer::end(packet)?;
            return Ok(rows.count());
        }
        rows.read(packet)?;
    }
}

/// The next packet of an answer. An error may take the place of any, and is then the last.
async fn next(packets: &mut Packets<Box<dyn Socket>>) -> Result<&[u8], Ended> {
    let packet = packets.read(MAX_PACKET).await?;
    ServerError::read(packet).map_or(Ok(packet), |error| Err(Ended::Error(error)))
}
