//! The programs that build and check an image. Each has a pinned version, and is installed once into the cache.

use std::{env, ffi::OsString, fs, path::PathBuf, process::Command};

use anyhow::{Context, ensure};

use super::target;
use crate::{cache, go, operator::cargo, process::missing_tool, python};

const AUDITABLE: &str = "0.7.7";
const CYCLONEDX: &str = "0.5.9";
const ZIG: &str = "ziglang==0.15.2";
const CRANE: &str = "github.com/google/go-containerregistry";

/// Their paths.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    /// The directories of cargo's additional commands.
    commands: [PathBuf; 2],
    pub(super) crane: PathBuf,
    python: PathBuf,
}

impl Tools {
    /// Finds them, or installs them, which takes some minutes once. It blocks.
    pub(super) fn find() -> anyhow::Result<Self> {
        add_target()?;
        Ok(Self {
            commands: [installed("cargo-auditable", AUDITABLE)?, installed("cargo-cyclonedx", CYCLONEDX)?],
            crane: crane()?,
            python: python::environment("zig", &[ZIG])?.join("bin/python"),
        })
    }

    /// The C compiler, as a shell command.
    pub(super) fn compiler(&self) -> String {
        format!("'{}' -m ziglang cc", self.python.display())
    }

    /// The archiver, as a shell command.
    pub(super) fn archiver(&self) -> String {
        format!("'{}' -m ziglang ar", self.python.display())
    }

    /// The search path for programs, with cargo's additional commands first.
    pub(super) fn path(&self) -> anyhow::Result<OsString> {
        let others = env::var_os("PATH").unwrap_or_default();
        Ok(env::join_paths(self.commands.iter().cloned().chain(env::split_paths(&others)))?)
    }
}

/// Adds the target's standard library to the toolchain that cargo runs here.
fn add_target() -> anyhow::Result<()> {
    let target = target::rust();
    let status = Command::new("rustup")
        .args(["--quiet", "target", "add", &target])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .map_err(|error| missing_tool(error, "rustup", "Rust by rustup"))?;
    ensure!(status.success(), "rustup cannot add the target {target} ({status}), see above");
    Ok(())
}

/// The directory of a crate's binaries, kept as `.ci/run` keeps its tools.
fn installed(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(cache::root()?.join("tools"))?;
    let directory = cache::directory(&format!("tools/{name}-{version}"), |directory| {
        eprintln!("installing {name} {version} (once, some minutes) ...");
        let status = cargo()
            .args(["install", "--quiet", "--locked", "--root"])
            .arg(directory)
            .arg(format!("{name}@{version}"))
            // Not the testbed's target directory, whose lock cargo may hold.
            .env("CARGO_TARGET_DIR", directory.join("target"))
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cargo install {name} failed ({status}), see above");
        fs::remove_dir_all(directory.join("target"))?;
        Ok(())
    })?;
    Ok(directory.join("bin"))
}

/// The registry client, which also has a registry. It is built from the Go module that `testbed/registry/go.mod` pins.
pub(crate) fn crane() -> anyhow::Result<PathBuf> {
    let sources = go::module("registry");
    let version = go::pinned(&sources, CRANE)?;
    let directory = cache::directory(&format!("crane-{}", version.trim_start_matches('v')), |directory| {
        eprintln!("building crane {version} (once) ...");
        go::compile(&sources, &[], &[&format!("{CRANE}/cmd/crane")], &directory.join("crane"))
    })?;
    Ok(directory.join("crane"))
}
