//! A server of the `MySQL` protocol that does what the real engine cannot be made to do. It plays an `OceanBase` cluster
//! of several servers and tenants ([`Cluster`]), breaks the protocol when told to ([`Greeting`], [`Rule`]), and records
//! every login and every statement.
//!
//! ```text
//! client ─ login ─ connection ─ rule? ─ cluster
//!            │          │         └ fault
//!         logins    statements
//! ```
//!
//! It knows the text protocol only: a prepared statement is refused with 1047. Its only way to check a password is
//! `mysql_native_password`.

mod cluster;
mod connection;
mod greeting;
mod healthy;
mod login;
mod reply;
mod session;
mod shared;
mod statement;
mod wire;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use self::shared::{Shared, State};
pub use self::{
    cluster::Cluster,
    greeting::{Greeting, Login},
    reply::{Reply, Rule, SqlError, Table},
    session::{Kernel, Session},
    shared::Statement,
};
use crate::server_certificate::ServerCertificate;

/// The ID of the first connection. The IDs of `OceanBase`'s direct connections have the two highest bits set.
const FIRST_ID: u32 = 0xC000_0001;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct SqlServerOptions {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it plays.
    pub cluster: Cluster,
    /// Who may log in: user and password. Nobody in the list means anybody.
    pub accounts: Vec<(String, String)>,
    /// With it, TLS is offered.
    pub certificate: Option<ServerCertificate>,
}

impl Default for SqlServerOptions {
    /// Two idle sessions on a free port, without TLS, for anybody.
    fn default() -> Self {
        let sessions = vec![Session::new(3_221_614_618), Session::new(3_221_614_619)];
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cluster: Cluster::new(Kernel::V4_3_5, sessions),
            accounts: vec![],
            certificate: None,
        }
    }
}

/// A running server. Dropping it stops it and closes its connections.
pub struct SqlServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl SqlServer {
    /// Starts to listen.
    pub async fn start(options: SqlServerOptions) -> anyhow::Result<Self> {
        let listen = options.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let tls = options.certificate.map(|certificate| certificate.server_config()).transpose()?;
        let shared = Arc::new(Shared::new(State::new(options.cluster, options.accounts, tls)));
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, serving })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it greets from now on.
    pub fn greet(&self, greeting: Greeting) {
        self.shared.state().greeting = greeting;
    }

    /// Offers TLS with this certificate from now on, or no TLS.
    pub fn offer_tls(&self, certificate: Option<&ServerCertificate>) -> anyhow::Result<()> {
        self.shared.state().tls = certificate.map(ServerCertificate::server_config).transpose()?;
        Ok(())
    }

    /// Adds a rule before all others. The first one that fits a statement holds.
    pub fn set_rule(&self, rule: Rule) {
        self.shared.state().rules.insert(0, rule);
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        self.shared.state().rules.clear();
    }

    /// Changes the cluster between two statements.
    pub fn change(&self, change: impl FnOnce(&mut Cluster)) {
        change(&mut self.shared.state().cluster);
    }

    /// The cluster as it is now.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        self.shared.state().cluster.clone()
    }

    /// Whether a session with this ID is in the list.
    #[must_use]
    pub fn has_session(&self, id: u32) -> bool {
        self.shared.state().cluster.sessions.iter().any(|session| session.id() == id)
    }

    /// All statements so far, in the order in which they came.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        self.shared.state().statements.clone()
    }

    /// The statements so far that begin with `KILL`.
    #[must_use]
    pub fn kills(&self) -> Vec<String> {
        let is_kill = |text: &String| text.trim_start().to_ascii_uppercase().starts_with("KILL");
        self.statements().into_iter().map(|statement| statement.text).filter(is_kill).collect()
    }

    /// All connections so far with what came before the first statement.
    #[must_use]
    pub fn logins(&self) -> Vec<Login> {
        self.shared.state().logins.clone()
    }

    /// The most connections so far that were let in and there at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.shared.state().most_at_once
    }

    /// How many connections are let in and there.
    #[must_use]
    pub fn present(&self) -> usize {
        self.shared.state().present.len()
    }

    /// The files that clients sent.
    #[must_use]
    pub fn files(&self) -> Vec<Vec<u8>> {
        self.shared.state().files.clone()
    }

    /// Closes all connections. New ones are accepted.
    pub fn close_connections(&self) {
        self.shared.closings.send_modify(|closings| *closings += 1);
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut closings = shared.closings.subscribe();
    let mut connections = JoinSet::new();
    for id in FIRST_ID.. {
        let stream = loop {
            tokio::select! {
                // An error is a client that is gone already.
                Ok((stream, _)) = listener.accept() => break stream,
                Ok(()) = closings.changed() => connections.abort_all(),
                Some(_) = connections.join_next() => {}
            }
        };
        let number = shared.arrive();
        connections.spawn(connection::serve(stream, number, id, Arc::clone(&shared)));
    }
}
