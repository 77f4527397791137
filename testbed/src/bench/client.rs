//! A fast client of the API server: the measurement must not show the load generator or the floor.

use std::path::Path;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Builder, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client,
    client::{Body, ConfigExt as _},
    config::Kubeconfig,
};
use tower::{BoxError, ServiceBuilder};

/// Bytes in flight before the API server must wait for an acknowledgement. A watch under load has a few MB per second.
const WINDOW: u32 = 4 * 1024 * 1024;

/// A client with the identity of the kubeconfig, over one HTTP/2 connection with `TCP_NODELAY`, without retries.
pub(super) async fn fast(kubeconfig: &Path) -> anyhow::Result<Client> {
    // Ignore the error: a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = sessionkill::kubernetes::kubeconfig::config(Kubeconfig::read_from(kubeconfig)?).await?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Without it a small write waits up to 40 ms for the acknowledgement of the one before.
    tcp.set_nodelay(true);
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_only()
        .enable_http2()
        .wrap_connector(tcp);
    let http = Builder::new(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(WINDOW)
        .http2_initial_connection_window_size(WINDOW)
        .build::<_, Body>(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

/// Connects early, so that the first measured request does not wait for it. A client that watches is connected long
/// before.
pub(super) async fn connect(client: &Client) -> anyhow::Result<()> {
    client.apiserver_version().await?;
    Ok(())
}
