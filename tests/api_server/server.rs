//! A TLS server that behaves as a proxy in front of an API server may, and records its requests.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::{StreamExt as _, stream};
use http::{StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A running server. When it is dropped, it and its connections end.
pub struct Server {
    url: String,
    certificate: CertificateDer<'static>,
    asked: Asked,
    _serving: JoinSet<()>,
}

/// HTTP version, and method with path, of each request.
type Asked = Arc<Mutex<Vec<(Version, String)>>>;

impl Server {
    /// Starts a server that offers these protocols. The path decides what it does. `/status/503` answers with that
    /// status, `/silent` never answers, and `/stuck` stops in the middle of its answer. Any other path gets an empty
    /// answer.
    pub async fn start(protocols: &[&str]) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let mut tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let router = Router::new().fallback(answer).with_state(asked.clone());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), router));
        Self { url, certificate: cert.der().clone(), asked, _serving: serving }
    }

    /// A client's configuration for this server.
    pub fn config(&self) -> kube::Config {
        let mut config = kube::Config::new(self.url.parse().unwrap());
        config.root_cert = Some(vec![self.certificate.to_vec()]);
        config
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<(Version, String)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            // Ignore the result: the client decides how a connection ends.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(State(asked): State<Asked>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    asked.lock().unwrap().push((request.version(), format!("{} {path}", request.method())));
    let mut response = Response::new(Body::empty());
    if let Some(status) = path.strip_prefix("/status/") {
        *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap();
    } else if path == "/silent" {
        std::future::pending::<()>().await;
    } else if path == "/stuck" {
        let beginning = stream::iter([Ok::<_, Infallible>("{\n")]);
        *response.body_mut() = Body::from_stream(beginning.chain(stream::pending()));
    }
    response
}
