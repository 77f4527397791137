//! A stand-in for Alibaba's `OpenAPI` gateway.
//!
//! Official SDKs work against it unchanged. It checks signatures, security tokens, time stamps and nonces, kills
//! sessions of a real `OceanBase` engine or of a table in memory, misbehaves when told to ([`faults`]) and records every
//! call ([`ledger`]), so that a test can count how often each session was killed, and who did it.
//!
//! If wanted, it is STS too ([`sts`]), on the same port, and has the metadata service of an instance beside it
//! ([`metadata`]): both hand out temporary keys that it then takes.
//!
//! ```text
//! request ─ Received ─ Call ─ admission ─ actions or sts ─ Reply
//!                        │        │          │               │
//!                     faults   verify     backend          faults
//! ```

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod access_key;
pub mod actions;
pub mod admission;
pub mod backend;
pub mod cli;
pub mod errors;
pub mod faults;
pub mod identity;
pub mod in_force;
pub mod ledger;
mod listen;
pub mod metadata;
mod orders;
mod padding;
pub mod policy;
pub mod process_list;
pub mod quota;
pub mod reply;
pub mod request;
mod server;
mod shared;
pub mod sts;
pub mod verify;

pub use access_key::AccessKey;
pub use backend::Session;
pub use faults::{Fault, FaultKind, When};
pub use identity::Identity;
pub use ledger::{CallRecord, SessionRecord};
pub use metadata::MetadataRecord;
pub use quota::Quota;
pub use sts::StsOptions;

use backend::{SessionStore, memory, oceanbase};
use sts::tokens::IssuedKeys;

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
    /// STS, beside `OpenAPI`. `None` means that there are no temporary keys but those among the access keys.
    pub sts: Option<StsOptions>,
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
            sts: None,
        }
    }
}

/// A running gateway. Dropping it stops it and closes its connections.
pub struct Gateway {
    address: SocketAddr,
    metadata_address: Option<SocketAddr>,
    shared: Arc<shared::Shared>,
    serving: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Starts to listen. It answers calls from then on.
    pub async fn start(options: GatewayOptions) -> Result<Self> {
        let listener = listen::bind(options.listen).await?;
        let address = listener.local_addr().context("cannot tell the port")?;
        let keep_alive = options.keep_alive;
        let metadata_listener = match options.sts.as_ref().and_then(|sts| sts.instance.as_ref()) {
            Some(instance) => Some(listen::bind(instance.listen).await?),
            None => None,
        };
        let metadata_address = metadata_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let shared = Arc::new(assemble(options)?);
        let serve = |listener, router| tokio::spawn(listen::serve(listener, router, shared.stop.clone(), keep_alive));
        let mut serving = vec![serve(listener, server::router(Arc::clone(&shared)))];
        let metadata = shared.metadata.clone().map(metadata::Metadata::router);
        serving.extend(metadata_listener.zip(metadata).map(|(listener, router)| serve(listener, router)));
        Ok(Self { address, metadata_address, shared, serving })
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

    /// The base URL of STS, if it is STS too: the same.
    #[must_use]
    pub fn sts_url(&self) -> Option<String> {
        self.shared.sts.as_ref().map(|_| self.url())
    }

    /// The address that the metadata service listens on, if there is one.
    #[must_use]
    pub fn metadata_address(&self) -> Option<SocketAddr> {
        self.metadata_address
    }

    /// Every request to the metadata service since the start or the last clearing, in the order of arrival.
    #[must_use]
    pub fn metadata_requests(&self) -> Vec<MetadataRecord> {
        self.shared.metadata.as_deref().map(metadata::Metadata::requests).unwrap_or_default()
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

    /// Forgets all calls, and all requests to the metadata service.
    pub fn clear_calls(&self) {
        self.shared.ledger.clear();
        self.shared.metadata.as_deref().inspect(|metadata| metadata.clear());
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

    /// Stops it and waits until its ports are free again.
    pub async fn stop(mut self) {
        self.shared.stop.cancel();
        join_all(std::mem::take(&mut self.serving)).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// Puts the parts together.
fn assemble(options: GatewayOptions) -> Result<shared::Shared> {
    let store: Arc<dyn SessionStore> = match options.backend {
        Backend::Memory(sessions) => Arc::new(memory::Memory::new(sessions)),
        Backend::OceanBase { url } => Arc::new(oceanbase::OceanBase::new(&url)?),
    };
    let issued = Arc::new(IssuedKeys::new(options.sts.as_ref().and_then(|sts| sts.lifetime)));
    let faults = Arc::new(in_force::Faults::default());
    let (sts, instance) = match options.sts {
        Some(sts) => (Some(sts::Sts::new(sts.roles, sts.providers, Arc::clone(&issued))?), sts.instance),
        None => (None, None),
    };
    let metadata = |role| Arc::new(metadata::Metadata::new(role, Arc::clone(&issued), Arc::clone(&faults)));
    Ok(shared::Shared {
        metadata: instance.map(metadata),
        sts,
        admission: admission::Admission::new(options.access_keys, issued),
        meter: quota::Meter::new(options.quota),
        delay: options.delay,
        actions: actions::Actions {
            store,
            instance: options.instance,
            tenant: options.tenant,
            more_tenants: options.more_tenants,
        },
        faults,
        ledger: ledger::Ledger::default(),
        stop: CancellationToken::new(),
    })
}
