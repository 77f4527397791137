//! Open connections to the health port.

use std::{net::SocketAddr, time::Duration};

use futures::future::{BoxFuture, FutureExt as _, join_all, ready};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use super::{
    attack::{Attack, Needs},
    ground::{Ground, Tally},
};

/// The soft limit of open files in many container runtimes.
const SOFT_FILES: u32 = 1024;
/// The pause before a closed or refused connection is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// As many connections as are accepted. A closed connection is opened again.
pub(super) struct Health {
    pub(super) connections: u32,
    /// The number of bytes of an unfinished request head. 0 means no request.
    pub(super) bytes: usize,
}

impl Attack for Health {
    fn needs(&self) -> Needs {
        Needs { soft_files: Some(SOFT_FILES), ..Needs::default() }
    }

    fn lay<'a>(&'a self, _ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        ready(more_files()).boxed()
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            join_all((0..self.connections).map(|_| hold(ground.health, self.bytes, &ground.tally))).await;
            Ok(())
        }
        .boxed()
    }
}

/// This process needs a descriptor for the other end of each connection.
fn more_files() -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Keeps one connection open for ever.
async fn hold(health: SocketAddr, bytes: usize, tally: &Tally) {
    loop {
        match TcpStream::connect(health).await {
            Ok(connection) => {
                tally.made();
                // Ignore how it ends: it is opened again.
                let _ = leave_open(connection, bytes).await;
            }
            Err(error) => tally.refused(&error),
        }
        sleep(PAUSE).await;
    }
}

/// Sends the beginning of a request, and returns when the other side has closed the connection.
async fn leave_open(mut connection: TcpStream, bytes: usize) -> std::io::Result<()> {
    if bytes > 0 {
        connection.write_all(b"GET /livez HTTP/1.1\r\nhost: operator\r\nx-fill: ").await?;
        connection.write_all(&vec![b'a'; bytes]).await?;
    }
    while connection.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}
