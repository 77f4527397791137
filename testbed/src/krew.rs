//! krew's own check of a manifest, built once from the Go modules that `testbed/krew/go.mod` pins.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::{cache, go};

const MODULE: &str = "sigs.k8s.io/krew";

/// Fails with krew's words if its index would not take the manifest. Nothing is downloaded but, at the first use on a
/// machine, the sources of the check. Blocks.
pub fn validate(manifest: &Path) -> anyhow::Result<()> {
    let sources = go::module("krew");
    let version = go::pinned(&sources, MODULE)?;
    let program = cache::directory(&format!("krew-{version}"), |directory| {
        eprintln!("building krew's check {version} (once, a minute) ...");
        let package = format!("{MODULE}/cmd/validate-krew-manifest");
        go::compile(&sources, &[], &[&package], &directory.join("validate"))
    })?
    .join("validate");
    let output = Command::new(&program).arg("-manifest").arg(manifest).arg("-skip-install").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
