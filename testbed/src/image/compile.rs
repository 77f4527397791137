//! The binary: static, with the same bytes wherever it is built, and with the list of its crates inside.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::{names::BINARY, target, tools::Tools};
use crate::operator::cargo;

/// Builds the release binary of the operator in `sources`, and returns its path.
///
/// The C compiler (zig's), the linker and the C library (both rustc's) are pinned, and all paths are mapped. So neither
/// the machine nor the directory changes the binary.
pub(super) fn compile(sources: &Path, work: &Path, tools: &Tools) -> anyhow::Result<PathBuf> {
    let built = work.join("target");
    let target = target::rust();
    let variable = |name: &str| format!("{name}_{}", target.replace('-', "_"));
    let status = cargo()
        .args(["auditable", "build", "--release", "--locked", "--package", "sessionkill", "--bin", BINARY])
        .args(["--target", &target])
        .current_dir(sources)
        .env("PATH", tools.path()?)
        .env("CARGO_TARGET_DIR", &built)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(sources, &built)?)
        // Not the commit's time: with a new time all C code is built again, and the time is not in the binary.
        .env("SOURCE_DATE_EPOCH", "0")
        .env(variable("CC"), wrapper(work, "cc", &tools.compiler(), &target::zig())?)
        .env(variable("AR"), wrapper(work, "ar", &tools.archiver(), "")?)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo auditable build failed ({status}), see above");
    Ok(built.join(target).join("release").join(BINARY))
}

fn rustflags(sources: &Path, built: &Path) -> anyhow::Result<OsString> {
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let crates = env::var_os("CARGO_HOME").map(PathBuf::from).or(home).context("neither CARGO_HOME nor HOME is set")?;
    let mut flags = OsString::new();
    for (path, name) in [(sources, "/src"), (built, "/target"), (crates.as_path(), "/cargo")] {
        flags.push("--remap-path-prefix=");
        flags.push(path);
        flags.push(format!("={name}\u{1f}"));
    }
    flags.push("-Clinker=rust-lld");
    Ok(flags)
}

/// A program that runs a command with arguments, as build scripts need one. They name the target in a way that zig does
/// not know, so that argument is left out.
fn wrapper(work: &Path, name: &str, command: &str, arguments: &str) -> anyhow::Result<PathBuf> {
    let path = work.join(name);
    let script = format!(
        "#!/bin/sh\n\
         for argument do\n    \
             shift\n    \
             case $argument in --target=*) ;; *) set -- \"$@\" \"$argument\" ;; esac\n\
         done\n\
         exec {command} {arguments} \"$@\"\n"
    );
    fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
