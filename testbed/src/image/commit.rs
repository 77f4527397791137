//! The commit that an image is made of. What is not committed is not in it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use jiff::Timestamp;

use crate::process::missing_tool;

/// The current commit of this repository.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) id: String,
    /// When it was committed, since 1970: the time of everything in the image.
    pub(super) seconds: u64,
}

impl Commit {
    pub(super) fn current() -> anyhow::Result<Self> {
        let said = String::from_utf8(git(&["log", "-1", "--format=%H %ct"])?)?;
        let (id, seconds) = said.trim().split_once(' ').context("git names no commit")?;
        if !git(&["status", "--porcelain"])?.is_empty() {
            eprintln!("warning: what is not committed will not be in the image");
        }
        Ok(Self { id: id.into(), seconds: seconds.parse()? })
    }

    /// As in RFC 3339.
    pub(super) fn time(&self) -> anyhow::Result<String> {
        Ok(Timestamp::from_second(self.seconds.try_into()?)?.to_string())
    }

    /// Writes its files into `directory`, and removes what else is there.
    pub(super) fn export(&self, directory: &Path) -> anyhow::Result<()> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        let files = git(&["archive", "--format=tar", &self.id])?;
        let mut archive = tar::Archive::new(files.as_slice());
        // All new: cargo takes a file that is older than its last build for unchanged.
        archive.set_preserve_mtime(false);
        archive.unpack(directory).with_context(|| format!("cannot write {}", directory.display()))
    }
}

fn git(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("git")
        .args(arguments)
        // All of the repository, not only the testbed.
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .map_err(|error| missing_tool(error, "git", "git"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), said.trim());
    Ok(output.stdout)
}
