//! The two servers of the control plane, each as a process.

use std::{net::Ipv4Addr, path::Path, process::Command, time::Duration};

use kube::Client;
use tokio::net::TcpStream;

use super::{nodes, pki};
use crate::{
    port,
    process::{Output, Process},
};

/// The time within which a server is ready, or a kind is served.
pub(super) const START_LIMIT: Duration = Duration::from_mins(2);

/// The issuer that all tokens of service accounts name.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Etcd, with its data in `directory`, and the port that it listens on.
pub(super) async fn start_etcd(programs: &Path, directory: &Path, port: u16) -> anyhow::Result<(Process, u16)> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", port::free()?);
    let mut command = Command::new(programs.join("etcd"));
    command
        .arg("--data-dir")
        .arg(directory.join("etcd"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // More than the default of 2 GiB, as a benchmark's history needs it.
        .args(["--quota-backend-bytes", "8589934592"]);
    let process = Process::start(&command, Output::together(directory.join("etcd.log")))?;
    process.ready(START_LIMIT, async || Ok(TcpStream::connect(("127.0.0.1", port)).await.map(drop)?)).await?;
    Ok((process, port))
}

/// kube-apiserver with its files in `directory`; it is ready.
pub(super) async fn start_api_server(
    (programs, directory, audit_log): (&Path, &Path, &Path),
    nodes: Option<Ipv4Addr>,
    port: u16,
    etcd_port: u16,
    client: Client,
) -> anyhow::Result<Process> {
    let flag = |name: &str, file: &str| format!("--{name}={}", directory.join(file).display());
    let mut command = Command::new(programs.join("kube-apiserver"));
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .args(nodes::flags(nodes, directory))
        .arg(format!("--secure-port={port}"))
        .arg("--service-cluster-ip-range=10.96.0.0/16")
        .arg(flag("cert-dir", "."))
        .arg(flag("client-ca-file", pki::CA))
        .arg(flag("tls-cert-file", pki::SERVER_CERTIFICATE))
        .arg(flag("tls-private-key-file", pki::SERVER_KEY))
        .arg(format!("--service-account-issuer={ISSUER}"))
        .arg(flag("service-account-key-file", pki::TOKEN_PUBLIC_KEY))
        .arg(flag("service-account-signing-key-file", pki::TOKEN_KEY))
        .arg(flag("audit-policy-file", "audit-policy.json"))
        .arg(format!("--audit-log-path={}", audit_log.display()))
        // In megabytes. With the default of 100, a log is rotated before a reader has counted it.
        .arg("--audit-log-maxsize=100000")
        .arg("--profiling=false");
    let process = Process::start(&command, Output::together(directory.join("kube-apiserver.log")))?;
    serves(&process, &client).await?;
    Ok(process)
}

/// Waits until the API server and etcd are ready.
pub(super) async fn serves(api_server: &Process, client: &Client) -> anyhow::Result<()> {
    let check = async || {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        client.request_text(request).await.map(drop).map_err(anyhow::Error::from)
    };
    api_server.ready(START_LIMIT, check).await
}
