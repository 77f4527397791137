//! A stop on the way to a server, the Kubernetes API server or the gateway: it forwards HTTP requests, misbehaves when told
//! to, and records every request in order. So a test can name "the first claim" or "the second list" and act at exactly
//! that point of a kill instead of guessing a moment.
//!
//! ```text
//! operator ── door ── rule? ── hold, fault ── server
//!               └── trace
//! ```
//!
//! Each client gets a door of its own: then the trace tells whose a request is.

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

/// A running proxy; it ends when dropped, and so do its connections and what it holds.
pub struct FaultProxy {
    shared: Arc<Shared>,
    doors: Mutex<JoinSet<()>>,
}

impl FaultProxy {
    /// A proxy in front of the server at `upstream`, whose certificate must be signed by `authority` (PEM) if it has one.
    /// Nobody reaches it before it has a door.
    pub fn new(upstream: &str, authority: Option<&[u8]>) -> anyhow::Result<Self> {
        // Fails when a provider is installed already, which is as good.
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

    /// A way in for `client`, as the trace names it: plain HTTP/1.1, also as an HTTP proxy is asked. Returns its URL.
    pub async fn door(&self, client: &str) -> anyhow::Result<String> {
        self.open(client, None).await
    }

    /// The same with TLS: HTTP/2 where the client offers it, else HTTP/1.1.
    pub async fn tls_door(&self, client: &str, certificate: &Certificate) -> anyhow::Result<String> {
        self.open(client, Some(certificate)).await
    }

    async fn open(&self, client: &str, certificate: Option<&Certificate>) -> anyhow::Result<String> {
        let (url, serving) = door::open(self.shared.clone(), client, certificate).await?;
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).spawn(serving);
        Ok(url)
    }

    /// Shuts all doors: who is inside is thrown out, and who comes is refused, as by a server that is down.
    pub async fn shut(&self) {
        self.shared.is_shut.send_replace(true);
        // The sender lives as long as `self`.
        let _ = self.shared.listening.subscribe().wait_for(|doors| *doors == 0).await;
    }

    /// Opens them again.
    pub fn reopen(&self) {
        self.shared.is_shut.send_replace(false);
    }

    /// Misbehaves as `rule` says from now on. Each request meets the first rule that is for it.
    pub fn order(&self, rule: Rule) -> Arc<Order> {
        let order = Arc::new(Order::new(rule));
        self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order.clone());
        order
    }

    /// Behaves again, and lets go of what is held.
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
