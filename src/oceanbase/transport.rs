//! One HTTP request, one answer. Does I/O; the client consumes it.
//!
//! What is never done, because each could kill twice: no retries, no redirects, no reuse of pooled connections (a request
//! on a dead one would be replayed), no HTTP/2 (its NACKs are retried), no proxy that was not asked for.

use std::time::Duration;

use reqwest::header::DATE;

use super::addresses::{Addresses, Resolver};
use super::answer::{RawAnswer, gateway_time, retry_after};
use super::error::{ANSWER_LOST, CallError, ErrorKind};
use super::signed::SignedRequest;

/// The longest that name resolution, connecting and TLS may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends requests that all have the same time-out; cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    http: reqwest::Client,
    timeout: Duration,
}

impl Transport {
    /// A request may take `timeout` in all and goes to one of `addresses`; `proxy` is the URL of the proxy to use, which
    /// then resolves names itself; none is taken from the environment. Fails when that URL or the system's certificates
    /// cannot be read.
    pub fn new(timeout: Duration, addresses: Addresses, proxy: Option<&str>) -> Result<Self, reqwest::Error> {
        // Half of the total: a time-out while connecting must be told apart from one after the send.
        let connect_timeout = CONNECT_TIMEOUT.min(timeout / 2);
        let mut builder = reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .pool_max_idle_per_host(0)
            .tcp_nodelay(true)
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .referer(false)
            .user_agent(concat!("sessionkill/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        builder = match proxy {
            Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy)?),
            None => builder.dns_resolver(Resolver(addresses)),
        };
        Ok(Self { http: builder.build()?, timeout })
    }

    /// Makes the request ready to be sent. Nothing is sent: a failure is [`ErrorKind::Rejected`].
    pub fn prepare(&self, signed: SignedRequest) -> Result<reqwest::Request, CallError> {
        let SignedRequest { url, headers, body } = signed;
        let request = self.http.post(url).headers(headers).body(body).build();
        request.map_err(|error| CallError::local(ErrorKind::Rejected, "InvalidRequest", without_url(error)))
    }

    /// Sends the request once and reads the whole answer, which is ambiguous if it has more than `max_bytes`.
    pub async fn exchange(&self, request: reqwest::Request, max_bytes: usize) -> Result<RawAnswer, CallError> {
        let mut response = self.http.execute(request).await.map_err(|error| self.error(error))?;
        let status = response.status().as_u16();
        let retry_after = header(&response, "x-acs-retry-after").and_then(retry_after);
        let gateway_time = header(&response, DATE.as_str()).and_then(gateway_time);
        let mut body = Vec::new();
        // Read piece by piece: neither Content-Length nor its absence may decide how much memory an answer takes.
        while let Some(chunk) = response.chunk().await.map_err(|error| self.error(error))? {
            if body.len() + chunk.len() > max_bytes {
                let message = format!("HTTP {status} with a body of more than {max_bytes} bytes");
                return Err(CallError::local(ErrorKind::Ambiguous, "AnswerTooLarge", message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(RawAnswer { status, retry_after, gateway_time, body })
    }

    /// A failure to connect proves that nothing was sent; every other one may have come after the send.
    fn error(&self, error: reqwest::Error) -> CallError {
        if error.is_connect() {
            return CallError::local(ErrorKind::Unreachable, "Unreachable", without_url(error));
        }
        let message = if error.is_timeout() {
            format!("no answer within {} s", self.timeout.as_secs())
        } else {
            without_url(error)
        };
        CallError::local(ErrorKind::Ambiguous, ANSWER_LOST, message)
    }
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The error and its causes; never the URL, which in V1 carries the access key ID, the token and the signature.
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
