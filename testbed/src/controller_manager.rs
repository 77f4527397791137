//! The controllers that deletion needs, from the real kube-controller-manager. It is built once from the Go modules
//! that `testbed/node/go.mod` pins, and nodes use it too.
//!
//! Without them a foreground deletion never ends, and a deleted namespace stays.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use tokio::net::TcpStream;

use crate::{
    cache,
    control_plane::{ControlPlane, build_component},
    go, port,
    process::{Output, Process},
};

const PROGRAM: &str = "kube-controller-manager";
/// The controllers that run.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller";
const START_LIMIT: Duration = Duration::from_mins(2);

/// A running controller manager. It ends when this value is dropped.
#[derive(Debug)]
pub struct ControllerManager {
    _process: Process,
}

impl ControllerManager {
    /// Starts it as administrator, with its log and its certificate in `directory`. The first start on a machine builds
    /// it, which takes several minutes. Progress goes to standard error.
    pub async fn start(control_plane: &ControlPlane, directory: &Path) -> anyhow::Result<Self> {
        let program = tokio::task::spawn_blocking(locate).await??;
        let process = port::start_on_free(async |port| {
            let mut command = Command::new(&program);
            for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
                command.arg(format!("--{flag}={}", control_plane.kubeconfig().display()));
            }
            command
                .arg(format!("--controllers={CONTROLLERS}"))
                .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
                .arg(format!("--secure-port={port}"))
                .arg(format!("--cert-dir={}", directory.display()));
            let process = Process::start(&command, Output::together(directory.join(format!("{PROGRAM}.log"))))?;
            process.ready(START_LIMIT, async || Ok(TcpStream::connect(("127.0.0.1", port)).await.map(drop)?)).await?;
            Ok(process)
        })
        .await?;
        Ok(Self { _process: process })
    }
}

/// Finds the program, or builds it. It blocks.
pub(crate) fn locate() -> anyhow::Result<PathBuf> {
    let sources = go::module("node");
    let version = go::pinned(&sources, "k8s.io/kubernetes")?;
    let directory = cache::directory(&format!("{PROGRAM}-{version}"), |directory| {
        eprintln!("building {PROGRAM} {version} (once, several minutes) ...");
        let package = format!("k8s.io/kubernetes/cmd/{PROGRAM}");
        build_component(&sources, &directory.join(PROGRAM), &package, &version)
            .with_context(|| format!("cannot build {PROGRAM}"))
    })?;
    Ok(directory.join(PROGRAM))
}
