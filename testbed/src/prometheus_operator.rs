//! The definitions of the Prometheus operator's kinds. They are made once from its own Go types, which
//! `testbed/prometheus-operator/go.mod` pins.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::ensure;

use crate::{cache, go, process::missing_tool};

const TYPES: &str = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1";

/// The file with the definition of each of these kinds, which are given as plural names. The first use on a machine
/// makes them, which takes a minute or two and blocks. Progress goes to standard error.
pub fn definitions<const N: usize>(kinds: [&str; N]) -> anyhow::Result<[PathBuf; N]> {
    let sources = go::module("prometheus-operator");
    let directory = cache::directory(&format!("prometheus-operator-{}", go::fingerprint(&sources)?), |directory| {
        eprintln!("making the definitions of the Prometheus operator (once, a minute or two) ...");
        generate(&sources, directory)
    })?;
    let files = kinds.map(|kind| directory.join(format!("monitoring.coreos.com_{kind}.yaml")));
    for file in &files {
        ensure!(file.is_file(), "{} is missing: {TYPES} has no such kind, or remove its directory", file.display());
    }
    Ok(files)
}

fn generate(sources: &Path, directory: &Path) -> anyhow::Result<()> {
    let status = Command::new("go")
        // Leave out descriptions: they are most of the text, and check nothing.
        .args(["tool", "controller-gen", "crd:maxDescLen=0", &format!("paths={TYPES}")])
        .arg(format!("output:crd:dir={}", directory.display()))
        .current_dir(sources)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| missing_tool(error, "go", "Go 1.26 or later"))?;
    ensure!(status.success(), "controller-gen failed ({status}), see above");
    Ok(())
}
