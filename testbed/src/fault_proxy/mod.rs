//! A proxy in front of the Kubernetes API server or the gateway. It forwards HTTP requests, injects faults on demand,
//! and records every request in order. So a test can name "the first claim" or "the second list", and act at exactly
//! that point of a kill instead of guessing a moment.
//!
//! ```text
//! operator ── door ── rule? ── hold, fault ── server
//!               └── trace
//! ```
//!
//! Each client has its own door, so that the trace shows the client of each request.

mod asked;
mod door;
mod fault;
mod pass;
mod trace;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::{sync::watch::Sender, task::JoinSet};

pub use self::{
    asked::Asked,
    door::Certificate,
    fault::{At, Fault, Order, Page, Rule, StreamFault},
    trace::Passed,
};
use self::{pass::Shared, trace::Trace};

/// A running proxy. When it is dropped, its connections and its held requests end.
pub struct FaultProxy {
    shared: Arc<Shared>,
    doors: Mutex<JoinSet<()>>,
}

impl FaultProxy {
    /// A proxy in front of the server at `upstream`. If the server has a certificate, `authority` (PEM) must have
    /// signed it. The proxy has no door yet.
    pub fn new(upstream: &str, authority: Option<&[u8]>) -> anyhow::Result<Self> {
        // Ignore the error: a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder().no_proxy().http1_only().retry(reqwest::retry::never());
        if let Some(authority) = authority {
            http = http.tls_certs_only([reqwest::Certificate::from_pem(authority)?]);
        }
        let shared = Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            http: http.build().context("cannot make an HTTP client")?,
            orders: Mutex::default(),
            trace: Trace::default(),
            lists: Mutex::default(),
            is_shut: Sender::new(false),
            listening: Sender::new(0),
        };
        Ok(Self { shared: Arc::new(shared), doors: Mutex::default() })
    }

    /// Opens a door for `client`, which is its name in the trace. It takes plain HTTP/1.1, also as an HTTP proxy.
    /// Returns its URL.
    pub async fn door(&self, client: &str) -> anyhow::Result<String> {
        self.open(client, None).await
    }

    /// The same with TLS: HTTP/2 if the client offers it, else HTTP/1.1.
    pub async fn tls_door(&self, client: &str, certificate: &Certificate) -> anyhow::Result<String> {
        self.open(client, Some(certificate)).await
    }

    async fn open(&self, client: &str, certificate: Option<&Certificate>) -> anyhow::Result<String> {
        let (url, serving) = door::open(self.shared.clone(), client, certificate).await?;
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).spawn(serving);
        Ok(url)
    }

    /// Shuts all doors, like a server that is down: closes all connections and refuses new ones.
    pub async fn shut(&self) {
        self.shared.is_shut.send_replace(true);
        // The sender lives as long as `self`.
        let _ = self.shared.listening.subscribe().wait_for(|doors| *doors == 0).await;
    }

    /// Opens them again.
    pub fn reopen(&self) {
        self.shared.is_shut.send_replace(false);
    }

    /// Injects the fault of `rule` from now on. Each request gets the first rule that applies to it.
    pub fn order(&self, rule: Rule) -> Arc<Order> {
        let order = Arc::new(Order::new(rule));
        self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order.clone());
        order
    }

    /// Ends all faults, and releases all held requests.
    pub fn clear(&self) {
        let orders = std::mem::take(&mut *self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner));
        for order in orders {
            order.release();
        }
    }

    /// All requests so far, in the order in which they came.
    #[must_use]
    pub fn trace(&self) -> Vec<Passed> {
        self.shared.trace.all()
    }
}
