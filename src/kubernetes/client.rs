//! A client for the Kubernetes API server without hidden retries or unlimited waits. Does I/O.
//!
//! kube's own transport retries requests, has no limit for an answer, speaks only HTTP/1.1 and leaves Nagle's algorithm
//! on. This client uses the same parts for login, trust and address, and differs only in these four points.

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

/// The length of a watch in seconds: the API server ends it then, and the next one continues from there.
pub const WATCH_SECONDS: u32 = 60;

/// The longest silence in an answer. Watches and their first lists have no other deadline: without this, a list that is
/// never answered would stop the operator for ever while it looks healthy.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// The longest that DNS, TCP and TLS may take. It is shorter than a call's deadline, to tell an unreachable API server
/// from one that does not answer, which may have stored a write.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept. It is longer than a watch, so that each new watch keeps the shared connection
/// open and the first kill after a quiet night needs no new TLS handshake. It is shorter than the 90 s after which the
/// API server closes the connection, so that no request is sent into that.
const IDLE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// After this long without any data, an HTTP/2 connection is checked with a ping.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long to wait for the ping's answer. All calls share the connection: with [`PING_INTERVAL`], a vanished peer is
/// noticed within one call's deadline, so that only that call fails and the next one gets a new connection.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;

/// Why the client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Ignoring a configured proxy would be a guess. Its URL may contain a password, so the text does not name it.
    #[error("the kubeconfig names a proxy, and the API server is only reached directly: remove proxy-url from it")]
    Proxy,
    /// `tls-server-name` is not a valid host name.
    #[error("tls-server-name {0:?} is not a host name: correct the kubeconfig")]
    ServerName(String),
    /// The certificates, the keys or the login method cannot be used.
    #[error(transparent)]
    Config(#[from] kube::Error),
}

/// A client for the API server and the identity in `config`; it needs a Tokio runtime. It connects on first use, by
/// HTTP/2 if the server offers that. With `http1`, each request in flight has its own connection, which a TCP load
/// balancer can send to another API server. `clock` receives the date of each answer.
///
/// A request is sent at most once, whatever the answer. No request waits for ever, neither for the start of an answer
/// nor for its rest. A vanished peer is noticed. Fails if `config` cannot be used.
pub fn client(config: kube::Config, http1: bool, clock: Arc<ServerClock>) -> Result<kube::Client, ClientError> {
    if config.proxy_url.is_some() {
        return Err(ClientError::Proxy);
    }
    let connector = connector(&config, http1)?;
    let service = ServiceBuilder::new()
        // Per request, not per connection: the answers to other requests keep an HTTP/2 connection alive.
        .layer(TimeoutLayer::new(SILENCE))
        .layer(ResponseBodyTimeoutLayer::new(SILENCE))
        // The same layers as kube's, but without retries: a write that was stored and answered with 504 would be
        // repeated, and then look like someone else's. The auth layer reads rotated tokens again.
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(TraceLayer::new_for_http())
        .map_err(BoxError::from)
        .map_future(move |answer| dated(answer, clock.clone()))
        .service(http_client(connector));
    Ok(kube::Client::new(service, config.default_namespace))
}

/// Passes the date of `answer` to `clock`.
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

/// TCP and TLS by `config`: its certificates and keys, its CA (read again on rotation), and the server name.
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
    // Otherwise a connection whose peer reads nothing any more would stay open for ever.
    connector.set_write_timeout(Some(SILENCE));
    Ok(connector)
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    // Accept https URLs: TLS is added above this layer.
    tcp.enforce_http(false);
    // Nagle's algorithm delays the end of a request until its start is acknowledged: up to 40 ms per write.
    tcp.set_nodelay(true);
    tcp
}

fn http_client(connector: Connector) -> HttpClient<Connector, Body> {
    HttpClient::builder(TokioExecutor::new())
        // Only the caller decides whether to retry a request.
        .retry_canceled_requests(false)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        // Otherwise the next call would find a dead connection only by its timeout.
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
