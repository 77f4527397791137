//! A stand-in for Alibaba's `OpenAPI` gateway.
//!
//! Official SDKs work against it unchanged. It checks signatures, security tokens, time stamps and nonces, kills
//! sessions of a real `OceanBase` engine or of a table in memory, misbehaves when told to ([`faults`]) and records every
//! call ([`ledger`]), so that a test can count how often each session was killed.
//!
//! ```text
//! request ─ Received ─ Call ─ admission ─ actions ─ Reply
//!                        │        │          │        │
//!                     faults   verify     backend   faults
//! ```

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub mod actions;
pub mod admission;
pub mod backend;
pub mod cli;
pub mod errors;
pub mod faults;
pub mod in_force;
pub mod ledger;
mod padding;
pub mod process_list;
pub mod quota;
pub mod reply;
pub mod request;
pub mod server;
pub mod verify;

pub use admission::AccessKey;
pub use backend::Session;
pub use faults::{Fault, FaultKind, When};
pub use ledger::{CallRecord, SessionRecord};
pub use quota::Quota;

use backend::{SessionStore, memory, oceanbase};

/// The backend of the gateway.
#[derive(Clone, Debug)]
pub enum Backend {
    /// In memory: these.
    Memory(Vec<Session>),
    /// In a real engine, at `mysql://user@host:port`. It need not run yet.
    OceanBase {
        /// Where the engine listens.
        url: String,
    },
}

/// How to start a gateway.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Where to listen; loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the sessions are.
    pub backend: Backend,
    /// Who may call.
    pub access_keys: Vec<AccessKey>,
    /// The only instance there is.
    pub instance: String,
    /// Its first tenant. A session without a tenant belongs to it.
    pub tenant: String,
    /// Its further tenants. Only sessions in memory can belong to them.
    pub more_tenants: Vec<String>,
    /// The delay of each call that is admitted and within the quota, before its execution.
    pub delay: Duration,
    /// How many calls the account may make. `None` means any number.
    pub quota: Option<Quota>,
    /// Whether connections stay open after an answer. If not, each call needs a new one.
    pub keep_alive: bool,
}

impl Default for GatewayOptions {
    /// A free port, a few sessions in memory, and one access key, `testbed` with the secret `testbed-secret`.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            backend: Backend::Memory(memory::initial_sessions()),
            access_keys: vec![AccessKey { id: "testbed".into(), secret: "testbed-secret".into(), token: None }],
            instance: "ob317v4uif0001".into(),
            tenant: "t4louaeei0001".into(),
            more_tenants: vec![],
            delay: Duration::ZERO,
            quota: None,
            keep_alive: true,
        }
    }
}

/// A running gateway. Dropping it stops it and closes its connections.
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<server::Shared>,
    serving: JoinHandle<()>,
}

impl Gateway {
    /// Starts to listen. It answers calls from then on.
    pub async fn start(options: GatewayOptions) -> Result<Self> {
        let listen = options.listen;
        ensure!(
            listen.ip().is_loopback(),
            "the gateway takes orders at /_testbed from anybody: listen on a loopback address, not on {listen}"
        );
        let listener = TcpListener::bind(listen).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                anyhow::anyhow!("{listen} is taken: stop the process that listens there, or choose another address")
            }
            _ => anyhow::Error::new(error).context(format!("cannot listen on {listen}")),
        })?;
        let address = listener.local_addr().context("cannot tell the port")?;
        let store: Arc<dyn SessionStore> = match options.backend {
            Backend::Memory(sessions) => Arc::new(memory::Memory::new(sessions)),
            Backend::OceanBase { url } => Arc::new(oceanbase::OceanBase::new(&url)?),
        };
        let shared = Arc::new(server::Shared {
            admission: admission::Admission::new(options.access_keys),
            meter: quota::Meter::new(options.quota),
            delay: options.delay,
            keep_alive: options.keep_alive,
            actions: actions::Actions {
                store,
                instance: options.instance,
                tenant: options.tenant,
                more_tenants: options.more_tenants,
            },
            faults: in_force::Faults::default(),
            ledger: ledger::Ledger::default(),
            stop: CancellationToken::new(),
        });
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, serving })
    }

    /// The base URL, `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every call since the start or the last clearing, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.shared.ledger.calls()
    }

    /// The number of real kills of each session, by server and ID.
    #[must_use]
    pub fn kills_per_session(&self) -> BTreeMap<(String, i64), u32> {
        self.shared.ledger.kills_per_session()
    }

    /// Forgets all calls.
    pub fn clear_calls(&self) {
        self.shared.ledger.clear();
    }

    /// Orders a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.inject(fault);
    }

    /// Ends the delay, now or when it comes, of each fault that is for calls that name this session.
    pub fn end_delay(&self, session_id: i64) {
        self.shared.faults.end_delay(session_id);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Replaces the access keys, as a rotation does.
    pub fn set_access_keys(&self, keys: Vec<AccessKey>) {
        self.shared.admission.set_keys(keys);
    }

    /// The sessions there are now.
    pub async fn sessions(&self) -> Result<Vec<Session>> {
        let sessions = self.shared.actions.store.list(&|_| true).await?;
        Ok(sessions.into_iter().map(Arc::unwrap_or_clone).collect())
    }

    /// Replaces the sessions. Fails for a real engine.
    pub fn set_sessions(&self, sessions: Vec<Session>) -> Result<()> {
        self.shared.actions.store.replace(sessions)
    }

    /// Adds sessions. Fails for a real engine.
    pub fn add_sessions(&self, sessions: Vec<Session>) -> Result<()> {
        self.shared.actions.store.add(sessions)
    }

    /// Stops it and waits until the port is free again.
    pub async fn stop(mut self) {
        self.shared.stop.cancel();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
