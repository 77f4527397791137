//! Sends one HTTP request and receives one answer. Does I/O.
//!
//! Features that could kill twice are off: retries, redirects, pooled connections (a request on a dead one would be
//! replayed), HTTP/2 (its NACKs are retried), and proxies from the environment.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use sessionkill_core::backend::{ANSWER_LOST, CallError, ErrorKind};
use sessionkill_core::clock::date;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::connecting::{CONNECT_WITHIN, ConnectLimit};
use super::raw_answer::{RawAnswer, retry_after};
use super::signed_request::SignedRequest;
use crate::addresses::{Addresses, Resolver};

/// The longest that DNS, TCP and TLS may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport(reqwest::Client);

impl Transport {
    /// Sends requests only to `addresses`, or through the proxy with the URL `proxy`, which resolves names itself; the
    /// environment's proxy is ignored. Fails if that URL or the system's certificates cannot be read.
    pub fn new(addresses: Addresses, proxy: Option<&str>) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .pool_max_idle_per_host(0)
            .tcp_nodelay(true)
            .connector_layer(ConnectLimit)
            .referer(false)
            .user_agent(concat!("sessionkill/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        builder = match proxy {
            Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy)?),
            None => builder.dns_resolver(Resolver(addresses)),
        };
        Ok(Self(builder.build()?))
    }

    /// Builds the POST of an RPC call without sending it; a failure is [`ErrorKind::Rejected`].
    pub fn prepare(&self, signed: SignedRequest) -> Result<reqwest::Request, CallError> {
        let SignedRequest { url, headers, body } = signed;
        built(self.0.post(url).headers(headers).body(body))
    }

    /// Builds a request without a body, without sending it; a failure is [`ErrorKind::Rejected`].
    pub fn plain(&self, method: Method, url: &str, headers: HeaderMap) -> Result<reqwest::Request, CallError> {
        built(self.0.request(method, url).headers(headers))
    }

    /// Sends the request once. The gateway has `timeout` in total for its whole answer. An answer of more than
    /// `max_bytes` is ambiguous.
    pub async fn exchange(
        &self,
        request: reqwest::Request,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<RawAnswer<Receiving>, CallError> {
        // At most half of the timeout, to tell a timeout while connecting from one after sending.
        let sending = CONNECT_WITHIN.scope(CONNECT_TIMEOUT.min(timeout / 2), self.0.execute(request));
        let started = Instant::now();
        let sent = tokio::time::timeout(timeout, sending).await;
        let response = sent.map_err(|_| late(timeout))?.map_err(error)?;
        Ok(RawAnswer {
            status: response.status().as_u16(),
            retry_after: header(&response, "x-acs-retry-after").and_then(retry_after),
            gateway_time: header(&response, DATE.as_str()).and_then(date),
            body: Receiving { response, timeout, waited: started.elapsed(), received: 0, max_bytes },
        })
    }
}

/// A body that is being received.
pub struct Receiving {
    response: reqwest::Response,
    timeout: Duration,
    /// How long the gateway has been waited for.
    waited: Duration,
    received: usize,
    max_bytes: usize,
}

impl Receiving {
    /// The whole body, which is small and may hold credentials: it is cleared on drop.
    pub async fn whole(mut self) -> Result<Zeroizing<Vec<u8>>, CallError> {
        // Exact capacity: a growing buffer leaves copies.
        let mut whole = Zeroizing::new(Vec::with_capacity(self.max_bytes));
        while let Some(piece) = self.next().await? {
            whole.extend_from_slice(&Zeroizing::new(piece));
        }
        Ok(whole)
    }

    /// The next piece of the body; `None` at its end. Only the wait for the gateway counts against the timeout, not the
    /// parsing of the previous piece.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        let started = Instant::now();
        let next = tokio::time::timeout(self.timeout.saturating_sub(self.waited), self.response.chunk()).await;
        self.waited += started.elapsed();
        let Some(piece) = next.map_err(|_| late(self.timeout))?.map_err(error)? else { return Ok(None) };
        self.received += piece.len();
        // Count the received bytes: a wrong or missing Content-Length must not decide how much is read.
        if self.received > self.max_bytes {
            let (status, max_bytes) = (self.response.status().as_u16(), self.max_bytes);
            let message = format!("HTTP {status} with a body of more than {max_bytes} bytes");
            return Err(CallError::local(ErrorKind::Ambiguous, "AnswerTooLarge", message));
        }
        Ok(Some(piece.into()))
    }
}

fn built(request: RequestBuilder) -> Result<reqwest::Request, CallError> {
    let request = request.build();
    request.map_err(|error| CallError::local(ErrorKind::Rejected, "InvalidRequest", without_url(error)))
}

fn late(timeout: Duration) -> CallError {
    let message = format!("no answer within {} s", timeout.as_secs());
    CallError::local(ErrorKind::Ambiguous, ANSWER_LOST, message)
}

/// A failure to connect proves that nothing was sent; any other failure may have come after sending.
fn error(error: reqwest::Error) -> CallError {
    let (kind, code) =
        if error.is_connect() { (ErrorKind::Unreachable, "Unreachable") } else { (ErrorKind::Ambiguous, ANSWER_LOST) };
    CallError::local(kind, code, without_url(error))
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The error and its causes, without the URL, which in V1 contains the access key ID, the token and the signature.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
