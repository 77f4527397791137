//! The bill of materials, in CycloneDX: every crate in the binary, with its licence and checksum.

use std::{fs, path::Path};

use anyhow::{Context, ensure};

use super::{commit::Commit, names::BINARY, target, tools::Tools};
use crate::operator::cargo;

/// Describes the binary of `sources`. The text does not depend on the path of `sources`.
pub(super) fn describe(commit: &Commit, sources: &Path, tools: &Tools) -> anyhow::Result<Vec<u8>> {
    let mut command = cargo();
    command.env("PATH", tools.path()?).current_dir(sources).env("SOURCE_DATE_EPOCH", commit.seconds.to_string());
    let status = command
        .args(["cyclonedx", "--quiet", "--manifest-path", "Cargo.toml", "--format", "json", "--spec-version", "1.5"])
        .args(["--describe", "binaries", "--target", &target::rust()])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo cyclonedx failed ({status}), see above");
    let written = sources.join(format!("{BINARY}_bin.cdx.json"));
    let text = fs::read_to_string(&written).with_context(|| format!("cannot read {}", written.display()))?;
    let directory = sources.to_str().context("cargo cyclonedx needs a path in UTF-8")?;
    Ok(text.replace(directory, "/src").into_bytes())
}
