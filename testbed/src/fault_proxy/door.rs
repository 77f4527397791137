//! The ways in: one for each client, with or without TLS.

use std::sync::Arc;

use anyhow::Context;
use axum::{body::Body, extract::Request};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::pass::{Shared, pass};
use crate::port;

/// A self-signed certificate for 127.0.0.1. One is enough for all doors.
#[derive(Clone)]
pub struct Certificate {
    tls: Arc<ServerConfig>,
    pem: String,
}

impl Certificate {
    /// A new one.
    pub fn new() -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let mut tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .context("cannot use a new certificate")?;
        tls.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
        Ok(Self { tls: Arc::new(tls), pem: cert.pem() })
    }

    /// The certificate that a client must trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// Opens a door. Returns its URL and its server.
pub(super) async fn open(
    shared: Arc<Shared>,
    client: &str,
    certificate: Option<&Certificate>,
) -> anyhow::Result<(String, impl Future<Output = ()> + Send + 'static)> {
    let port = port::free()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("cannot open a door of the fault proxy")?;
    let tls = certificate.map(|certificate| TlsAcceptor::from(certificate.tls.clone()));
    let scheme = if tls.is_some() { "https" } else { "http" };
    Ok((format!("{scheme}://127.0.0.1:{port}"), serve(listener, tls, shared, client.to_owned())))
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>, client: String) {
    let mut is_shut = shared.is_shut.subscribe();
    let Ok(address) = listener.local_addr() else { return };
    let mut open = Ok(listener);
    // The port stays free meanwhile: see `port`.
    while let Ok(listener) = open {
        shared.listening.send_modify(|doors| *doors += 1);
        tokio::select! {
            () = serve_all(&listener, tls.as_ref(), &shared, &client) => {}
            // The sender lives as long as `shared`.
            _ = is_shut.wait_for(|is_shut| *is_shut) => {}
        }
        drop(listener);
        shared.listening.send_modify(|doors| *doors -= 1);
        let _ = is_shut.wait_for(|is_shut| !*is_shut).await;
        open = TcpListener::bind(address).await;
    }
}

/// Serves for ever. Its connections end with it.
async fn serve_all(listener: &TcpListener, tls: Option<&TlsAcceptor>, shared: &Arc<Shared>, client: &str) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let (tls, shared, client) = (tls.cloned(), shared.clone(), client.to_owned());
        connections.spawn(async move {
            match tls {
                None => serve_connection(stream, shared, client).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve_connection(stream, shared, client).await;
                    }
                }
            }
        });
        // Forget connections that have ended.
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
    client: String,
) {
    // An error of the service closes the connection. With HTTP/2 it resets the stream.
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (shared, client) = (shared.clone(), client.clone());
        async move {
            let request: Request = request.map(Body::new);
            pass(shared, client, request).await
        }
    });
    // Ignore how the connection ends.
    let _: Result<(), Box<dyn std::error::Error + Send + Sync>> =
        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
