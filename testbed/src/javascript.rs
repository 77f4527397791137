//! JavaScript packages for tests of what is published as such. Node.js is an optional tool: not every machine has it.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::cache;

/// Returns a directory with exactly the pinned `packages` (each `name@version`) and their dependencies in
/// `node_modules`. `None` if the machine has no Node.js, or no npm with it.
///
/// The directory is made at the first use, in the user's cache directory. No script of a package runs. It blocks: call
/// it from `spawn_blocking` in async code.
pub fn packages(name: &str, packages: &[&str]) -> Result<Option<PathBuf>> {
    if !is_there("node")? || !is_there("npm")? {
        return Ok(None);
    }
    let name = format!("javascript-{name}-{}", fingerprint(packages));
    cache::directory(&name, |directory| install(directory, packages)).map(Some)
}

/// Node.js with this script, which finds the packages in `directory`.
#[must_use]
pub fn command(directory: &Path, script: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(script).env("NODE_PATH", directory.join("node_modules")).stdin(Stdio::null());
    command
}

fn is_there(program: &str) -> Result<bool> {
    match Command::new(program).arg("--version").stdin(Stdio::null()).output() {
        Ok(said) => Ok(said.status.success()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot run {program}")),
    }
}

fn install(directory: &Path, packages: &[&str]) -> Result<()> {
    let output = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--save-exact"])
        .arg("--prefix")
        .arg(directory)
        .args(packages)
        .stdin(Stdio::null())
        .output()
        .context("cannot run npm")?;
    ensure!(output.status.success(), "npm install failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The order of packages does not matter.
fn fingerprint(packages: &[&str]) -> String {
    let mut packages = packages.to_vec();
    packages.sort_unstable();
    let mut digest = hex::encode(Sha256::digest(packages.join("\n")));
    digest.truncate(12);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_depends_on_the_packages_not_on_their_order() {
        assert_eq!(fingerprint(&["a@1", "b@2"]), fingerprint(&["b@2", "a@1"]));
        assert_ne!(fingerprint(&["a@1", "b@2"]), fingerprint(&["a@1", "b@3"]));
    }

    #[test]
    fn a_program_that_is_not_there_is_no_error() {
        assert!(!is_there("no-such-program").unwrap());
    }
}
