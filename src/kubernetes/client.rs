//! The way to the Kubernetes API server: a client that hides nothing and waits for nothing for ever. Does I/O.
//!
//! kube's own transport repeats requests, has no limit for an answer, speaks HTTP/1.1 only and leaves Nagle's algorithm on.
//! This one is built of the same parts (who we are, whom we trust, where to), and differs in just that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::DATE;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as HttpClient, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use rustls::pki_types::ServerName;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder};
use tower_http::timeout::ResponseBodyTimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::clock::ServerClock;
use crate::domain::clock::date;

/// After at most so many seconds the API server ends a watch, which goes on from where it was.
pub const WATCH_SECONDS: u32 = 60;

/// The longest silence in answer to a request. Only watches and their first lists have no deadline of their own: a list
/// that is never answered would stop the operator for ever, while it looks alive.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// The longest that name resolution, connecting and TLS may take. Less than a call may take, so that an API server that
/// cannot be reached is told apart from one that does not answer, where a write may have been stored.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an unused connection is kept. Longer than a watch lasts: each new watch proves the connection that all calls
/// share, and the first kill after a quiet night must not wait for TLS. Shorter than the 90 s after which an API server
/// closes it: a request must not be sent into that end.
const IDLE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// When nothing was read for so long on a connection of HTTP/2, the peer is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// For so long it may be silent then. All calls share that connection: together no longer than one call may take, so that a
/// peer that vanished costs one call, and the next has a new connection.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Going around a proxy that was asked for would be a guess. Its URL may hold a password.
    #[error("the kubeconfig names a proxy, and the API server is only reached directly: remove proxy-url from it")]
    Proxy,
    /// `tls-server-name` is not a name.
    #[error("tls-server-name {0:?} is not a host name: correct the kubeconfig")]
    ServerName(String),
    /// The certificates, the keys or the ways to log in cannot be used.
    #[error(transparent)]
    Config(#[from] kube::Error),
}

/// A client of the API server of `config`, as whom `config` says; needs a Tokio runtime. Connects when it is first used, by
/// HTTP/2 if the server offers that, unless `http1`: then each request in flight has a connection of its own, which a TCP
/// load balancer can send to another API server. `clock` hears of the date of each answer.
///
/// Guarantees: a request is sent at most once, whatever is answered; none waits for ever, neither for the beginning of an
/// answer nor for more of it; a peer that has vanished is noticed. Fails when `config` cannot be used.
pub fn client(config: kube::Config, http1: bool, clock: Arc<ServerClock>) -> Result<kube::Client, ClientError> {
    if config.proxy_url.is_some() {
        return Err(ClientError::Proxy);
    }
    let connector = connector(&config, http1)?;
    let service = ServiceBuilder::new()
        // On each request, not on the connection: a connection of HTTP/2 is alive by what its other requests are answered.
        .layer(TimeoutLayer::new(SILENCE))
        .layer(ResponseBodyTimeoutLayer::new(SILENCE))
        // As kube stacks them, without its retries: a write that was stored and answered 504 would be repeated and look
        // like somebody else's. The layer that logs in reads tokens again as they rotate.
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(TraceLayer::new_for_http())
        .map_err(BoxError::from)
        .map_future(move |answer| dated(answer, clock.clone()))
        .service(http_client(connector));
    Ok(kube::Client::new(service, config.default_namespace))
}

/// `answer`, of whose date `clock` hears.
async fn dated(
    answer: ResponseFuture,
    clock: Arc<ServerClock>,
) -> Result<http::Response<hyper::body::Incoming>, hyper_util::client::legacy::Error> {
    let asked = Instant::now();
    let answer = answer.await?;
    let text = answer.headers().get(DATE).and_then(|text| text.to_str().ok());
    if let Some(date) = text.and_then(date) {
        clock.answered(date, asked);
    }
    Ok(answer)
}

/// TCP and TLS as `config` says: its certificates and keys, the authority that it trusts and reads again, the server name.
fn connector(config: &kube::Config, http1: bool) -> Result<Connector, ClientError> {
    let mut tls = config.rustls_client_config()?;
    tls.alpn_protocols = if http1 { vec![b"http/1.1".into()] } else { vec![b"h2".into(), b"http/1.1".into()] };
    let server_name: Arc<dyn ResolveServerName + Send + Sync> = match &config.tls_server_name {
        Some(name) => {
            let fixed = ServerName::try_from(name.clone()).map_err(|_| ClientError::ServerName(name.clone()))?;
            Arc::new(FixedServerNameResolver::new(fixed))
        }
        None => Arc::new(DefaultServerNameResolver::default()),
    };
    let mut connector = TimeoutConnector::new(HttpsConnector::new(tcp(), tls, false, server_name));
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    // A peer that takes nothing any more: without a limit its connection would stay for ever.
    connector.set_write_timeout(Some(SILENCE));
    Ok(connector)
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    // TLS comes above it.
    tcp.enforce_http(false);
    // Nagle's algorithm holds the end of a request back until the beginning is acknowledged: up to 40 ms for each write.
    tcp.set_nodelay(true);
    tcp
}

fn http_client(connector: Connector) -> HttpClient<Connector, Body> {
    HttpClient::builder(TokioExecutor::new())
        // Whether to repeat a request is decided where it is made, and nowhere else.
        .retry_canceled_requests(false)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        // Else the next call would find out, by waiting in vain.
        .http2_keep_alive_while_idle(true)
        .build(connector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt as _;

    #[tokio::test]
    async fn small_writes_are_sent_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connection = tcp().oneshot(url.parse().unwrap()).await.unwrap();
        assert!(connection.inner().nodelay().unwrap());
    }

    #[tokio::test]
    async fn what_cannot_be_done_as_asked_is_refused() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = || kube::Config::new("https://127.0.0.1:6443".parse().unwrap());
        let mut proxied = config();
        proxied.proxy_url = Some("http://user:hidden@proxy:8080".parse().unwrap());
        let client = |config, http1| client(config, http1, Arc::default());
        let said = client(proxied, false).err().unwrap().to_string();
        assert!(said.contains("remove proxy-url") && !said.contains("hidden"), "{said}");
        let mut misnamed = config();
        misnamed.tls_server_name = Some("not a name".into());
        let said = client(misnamed, false).err().unwrap().to_string();
        assert!(said.contains("not a name"), "{said}");
        assert!(client(config(), false).is_ok() && client(config(), true).is_ok());
    }
}
