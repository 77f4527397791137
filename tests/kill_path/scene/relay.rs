//! A proxy in front of a server. It forwards HTTP requests, and holds those that a test chooses, before they reach the
//! server or on the way back. So a test can act at an exact point of the kill path without guessing the time.

use std::sync::Arc;

use http::Method;
use jiff::SignedDuration;
pub use testbed::fault_proxy::At;
use testbed::fault_proxy::{Asked, Fault, FaultProxy, Order, Rule};

use super::eventually;

/// A running relay. When it is dropped, it ends, and the messages that it holds are lost.
pub struct Relay {
    url: String,
    proxy: FaultProxy,
}

/// Holds all messages of a kind until it is released.
pub struct Hold {
    what: String,
    order: Arc<Order>,
}

impl Relay {
    /// Starts a relay in front of the server at `upstream`. If the server uses TLS, `authority` must have signed its
    /// certificate.
    pub async fn start(upstream: &str, authority: Option<&[u8]>) -> Self {
        let proxy = FaultProxy::new(upstream, authority).unwrap();
        Self { url: proxy.door("operator").await.unwrap(), proxy }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Holds the messages of `method` whose path contains `path_part`, from now on.
    pub fn hold(&self, at: At, method: Method, path_part: &'static str) -> Hold {
        let what = format!("a {method} of {path_part}");
        self.add(at, what, move |asked| asked.method == method && asked.path().contains(path_part))
    }

    /// Holds the messages of `method` whose body contains `body_part`, from now on.
    pub fn hold_body(&self, at: At, method: Method, body_part: &'static str) -> Hold {
        let what = format!("a {method} with {body_part}");
        self.add(at, what, move |asked| asked.method == method && asked.body.contains(body_part))
    }

    /// Holds the calls of this action of the API, from now on.
    pub fn hold_action(&self, at: At, action: &'static str) -> Hold {
        self.add(at, format!("a call of {action}"), move |asked| asked.kind == action)
    }

    /// Answers the next requests for which `which` is true with this status, as many times as given.
    pub fn refuse(
        &self,
        status: u16,
        times: usize,
        which: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) -> Arc<Order> {
        let refusal = Fault::Answer { status, retry_after: None };
        self.proxy.order(Rule::new(refusal, which).times(times))
    }

    /// Answers the next message of `method` whose path contains `path_part` with `status`. The server never gets it.
    pub fn answer_once(&self, status: u16, method: Method, path_part: &'static str) {
        let which = move |asked: &Asked| asked.method == method && asked.path().contains(path_part);
        self.proxy.order(Rule::new(Fault::Answer { status, retry_after: None }, which).times(1));
    }

    /// Answers every request for `path` with this JSON, from now on.
    pub fn say(&self, path: &'static str, json: String) {
        self.proxy.order(Rule::new(Fault::Say(json), move |asked| asked.path() == path));
    }

    /// Shifts the `Date` header of all answers by `skew`, until the order is released.
    pub fn skew_dates(&self, skew: SignedDuration) -> Arc<Order> {
        self.proxy.order(Rule::new(Fault::DateSkew(skew), |_| true))
    }

    /// Shifts the `Date` header of the next `times` answers.
    pub fn skew_some_dates(&self, skew: SignedDuration, times: usize) -> Arc<Order> {
        self.proxy.order(Rule::new(Fault::DateSkew(skew), |_| true).times(times))
    }

    fn add(&self, at: At, what: String, which: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Hold {
        Hold { what, order: self.proxy.order(Rule::new(Fault::Hold(at), which)) }
    }
}

impl Hold {
    /// Waits until a message is held.
    pub async fn reached(&self) {
        eventually(&self.what, async || if self.count() > 0 { Ok(()) } else { Err("none came".into()) }).await;
    }

    /// The total number of messages that were held.
    pub fn count(&self) -> usize {
        self.order.count()
    }

    /// Releases all held messages, and lets later ones pass.
    pub fn release(&self) {
        self.order.release();
    }
}
