//! kubectl for one control plane, independent of the user's own configuration and caches.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;

pub(super) fn command(programs: &Path, directory: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(programs.join("kubectl"));
    command
        .env("KUBECONFIG", kubeconfig)
        // Use a cache of its own: the cache is keyed by address, and a later control plane may have the same port.
        .env("KUBECACHEDIR", directory.join("kubectl-cache"))
        .env("KUBERC", "off");
    command
}

pub(super) async fn run(kubectl: Command, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    let shown = || format!("kubectl {}", arguments.join(" "));
    let mut child = tokio::process::Command::from(kubectl)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", shown()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Ignore the error: a kubectl that fails early does not read its input, and its error output says why.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{}: {}", shown(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
