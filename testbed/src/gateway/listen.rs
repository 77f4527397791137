//! Listens on loopback, and serves each connection.

use std::{io, net::SocketAddr};

use anyhow::{Result, ensure};
use axum::Router;
use hyper::{server::conn::http1, service::Service, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::reply::HungUp;

/// Listens on this address, which must be a loopback address.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    ensure!(
        listen.ip().is_loopback(),
        "the gateway takes orders at /_testbed from anybody: listen on a loopback address, not on {listen}"
    );
    TcpListener::bind(listen).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{listen} is taken: stop the process that listens there, or choose another address")
        }
        _ => anyhow::Error::new(error).context(format!("cannot listen on {listen}")),
    })
}

/// Serves until `stop`. Then all connections end, also idle and delayed ones.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, keep_alive: bool) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((connection, _)) => {
                tokio::spawn(stop.clone().run_until_cancelled_owned(serve_connection(
                    connection,
                    router.clone(),
                    keep_alive,
                )));
            }
            Err(error) => tracing::warn!(%error, "cannot accept a connection"),
        }
    }
}

/// Uses hyper directly, as axum's own server always answers: to drop a connection, its service must fail.
async fn serve_connection(connection: TcpStream, router: Router, keep_alive: bool) {
    // Send at once: an answer is small and in one piece.
    let _ = connection.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let response = service.call(request);
        async { HungUp::check(response.await) }
    });
    let mut server = http1::Builder::new();
    server.keep_alive(keep_alive);
    if let Err(error) = server.serve_connection(TokioIo::new(connection), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
