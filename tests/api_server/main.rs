//! The client of the API server, with a real one and with what may be in front of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that fails fails its test")]

#[path = "../control_plane/mod.rs"]
mod control_plane;
mod identity;
mod limits;
mod protocol;
mod relay;
mod server;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::config::Kubeconfig;
use sessionkill::kubernetes::client;

/// Far longer than anything takes. It only ends a test that would hang.
const LIMIT: Duration = Duration::from_mins(4);

/// The operator's client.
fn client(config: kube::Config, http1: bool) -> Client {
    // Ignore the error: another test has installed a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    client::client(config, http1, std::sync::Arc::default()).unwrap()
}

/// The configuration in this kubeconfig, with another address of the server.
async fn config(kubeconfig: &Path, url: &str) -> kube::Config {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = sessionkill::kubernetes::kubeconfig::config(kubeconfig).await.unwrap();
    config.cluster_url = url.parse().unwrap();
    config
}

/// The server's answer.
async fn ask(client: &Client, method: &str, path: &str) -> kube::Result<String> {
    let request = http::Request::builder().method(method).uri(path).body(Vec::new()).unwrap();
    within(client.request_text(request)).await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it waits for ever")
}

/// Repeats `check` until it returns `Ok`. Fails the test after the limit.
async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(why) => assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Creates a directory for a test's files.
fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api-server").join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// An error and all its causes.
fn causes(error: &kube::Error) -> String {
    let all = std::iter::successors(Some(error as &dyn Error), |error| (*error).source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
