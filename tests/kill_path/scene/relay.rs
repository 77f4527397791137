//! A stop on the way to a server: forwards HTTP requests, and holds those that a test asks for, before they reach the
//! server or on the way back. So a test can act at an exact point of the kill path instead of guessing a moment.

use std::sync::Arc;

use http::Method;
use jiff::SignedDuration;
pub use testbed::fault_proxy::At;
use testbed::fault_proxy::{Asked, Fault, FaultProxy, Order, Rule};

use super::eventually;

/// A running relay; it ends when dropped, and so do the messages it holds.
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
    /// Starts in front of the server at `upstream`, whose certificate must be signed by `authority` if it has one.
    pub async fn start(upstream: &str, authority: Option<&[u8]>) -> Self {
        let proxy = FaultProxy::new(upstream, authority).unwrap();
        Self { url: proxy.door("operator").await.unwrap(), proxy }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on holds the messages of `method` whose path holds `path_part`.
    pub fn hold(&self, at: At, method: Method, path_part: &'static str) -> Hold {
        let what = format!("a {method} of {path_part}");
        self.add(at, what, move |asked| asked.method == method && asked.path().contains(path_part))
    }

    /// From now on holds the messages of `method` whose body holds `body_part`.
    pub fn hold_body(&self, at: At, method: Method, body_part: &'static str) -> Hold {
        let what = format!("a {method} with {body_part}");
        self.add(at, what, move |asked| asked.method == method && asked.body.contains(body_part))
    }

    /// From now on holds the calls of this action of the API.
    pub fn hold_action(&self, at: At, action: &'static str) -> Hold {
        self.add(at, format!("a call of {action}"), move |asked| asked.kind == action)
    }

    /// From now on answers so many of the requests of which `which` is true with this status.
    pub fn refuse(
        &self,
        status: u16,
        times: usize,
        which: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) -> Arc<Order> {
        let refusal = Fault::Answer { status, retry_after: None };
        self.proxy.order(Rule::new(refusal, which).times(times))
    }

    /// Answers the next message of `method` whose path holds `path_part` with `status`; the server never sees it.
    pub fn answer_once(&self, status: u16, method: Method, path_part: &'static str) {
        let which = move |asked: &Asked| asked.method == method && asked.path().contains(path_part);
        self.proxy.order(Rule::new(Fault::Answer { status, retry_after: None }, which).times(1));
    }

    /// From now on answers what is asked for at `path` with this JSON.
    pub fn say(&self, path: &'static str, json: String) {
        self.proxy.order(Rule::new(Fault::Say(json), move |asked| asked.path() == path));
    }

    /// From now on the header `Date` of all answers is off by `skew`, until the order is released.
    pub fn skew_dates(&self, skew: SignedDuration) -> Arc<Order> {
        self.proxy.order(Rule::new(Fault::DateSkew(skew), |_| true))
    }

    /// That of the next so many.
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

    /// How many messages were held, in all.
    pub fn count(&self) -> usize {
        self.order.count()
    }

    /// Lets all of them go on, and later ones pass.
    pub fn release(&self) {
        self.order.release();
    }
}
