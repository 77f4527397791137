//! The record of a test run: the audit logs of all API servers in one directory.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, ensure};

/// The variable that names the directory in which each API server of the testbed writes its audit log.
pub const RECORD: &str = "SESSIONKILL_RIGHTS_RECORD";

/// The audit log of an API server that starts now: a file of its own, if a record is wanted.
pub(super) fn file() -> anyhow::Result<Option<PathBuf>> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let Some(directory) = std::env::var_os(RECORD).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let directory = Path::new(&directory);
    // Require an absolute path, as test programs run in different directories.
    ensure!(directory.is_absolute(), "{RECORD} is {}: name a directory by its whole path", directory.display());
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(Some(directory.join(format!("{}-{number}.log", std::process::id()))))
}
