//! A forward proxy that leads host names of the Internet to a server on loopback. So a client calls the real names by
//! TLS, and what they stand for is a part of the testbed.
//!
//! ```text
//! client ── CONNECT name:443 ── proxy ── TLS for that name ── server, by plain TCP
//! ```

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::server_certificate::ServerCertificate;

/// A running proxy. When it is dropped, it ends with all connections through it.
pub struct ConnectProxy {
    address: SocketAddr,
    authority: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    /// What it leads to the server, as `NAME:443`.
    targets: Vec<String>,
    server: SocketAddr,
    tls: TlsAcceptor,
    asked: Mutex<Vec<String>>,
    stop: CancellationToken,
}

impl ConnectProxy {
    /// Leads port 443 of these names to `server`. Every other request is refused with 403.
    pub async fn start(names: &[&str], server: SocketAddr) -> anyhow::Result<Self> {
        let certificate = ServerCertificate::issue_for(names)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("cannot open the proxy")?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            targets: names.iter().map(|name| format!("{name}:443")).collect(),
            server,
            tls: TlsAcceptor::from(certificate.server_config()?),
            asked: Mutex::default(),
            stop: stop.clone(),
        });
        let address = listener.local_addr()?;
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, shared.clone())));
        Ok(Self { address, authority: certificate.ca, shared, _stop: stop.drop_guard() })
    }

    /// Its URL for a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The authority in PEM that a client must trust: it signed the certificate for the names.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What it was asked for, as `NAME:PORT` in the order of arrival. A request that is no `CONNECT` is its whole URI.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(shared.stop.clone().run_until_cancelled_owned(serve_connection(stream, shared.clone())));
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let answer = answer(&shared, request);
        async { Ok::<_, Infallible>(answer) }
    });
    // Ignore how the connection ends.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let target = request.uri().to_string();
    let is_led = request.method() == Method::CONNECT && shared.targets.contains(&target);
    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(target);
    let mut response = Response::new(Body::empty());
    if is_led {
        let tunnel = tunnel(shared.clone(), request);
        // It lasts longer than this answer, which the client must get first.
        tokio::spawn(shared.stop.clone().run_until_cancelled_owned(tunnel));
    } else {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response
}

/// Relays until one side closes its connection. A client that does not trust the certificate ends it at once.
async fn tunnel(shared: Arc<Shared>, request: Request<Incoming>) -> anyhow::Result<()> {
    let client = hyper::upgrade::on(request).await?;
    let mut client = shared.tls.accept(TokioIo::new(client)).await?;
    let mut server = TcpStream::connect(shared.server).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const NAME: &str = "server.example";

    fn client(proxy: &ConnectProxy) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(proxy.authority().as_bytes()).unwrap();
        let through = reqwest::Proxy::all(proxy.url()).unwrap();
        reqwest::Client::builder().tls_certs_only([authority]).proxy(through).build().unwrap()
    }

    #[tokio::test]
    async fn a_name_leads_to_the_server_and_no_other_name_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = ConnectProxy::start(&[NAME], listener.local_addr().unwrap()).await.unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let client = client(&proxy);
        let answer = client.get(format!("https://{NAME}/path")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "ok");
        let request = serving.await.unwrap();
        assert!(request.starts_with("GET /path HTTP/1.1") && request.contains("host: server.example"), "{request}");

        assert!(client.get("https://other.example/").send().await.unwrap_err().is_connect());
        let plain = client.get(format!("http://{NAME}/")).send().await.unwrap();
        assert_eq!(plain.status(), 403);
        assert_eq!(proxy.asked(), ["server.example:443", "other.example:443", "http://server.example/"]);
    }
}
