//! Temporary directories for the servers of one test.

use std::path::PathBuf;

use anyhow::Context;
pub use tempfile::TempDir;

/// A new directory that is removed when the value is dropped. Keep it until the servers in it have ended. Unlike
/// `tempfile`'s own names its name has no leading dot: below such a name the `OceanBase` engine does not recover from
/// its log.
pub fn directory() -> anyhow::Result<TempDir> {
    TempDir::with_prefix("sessionkill-").context("cannot create a temporary directory")
}

/// The `chosen` directory, which stays. Without it, a new one, which is removed when the second value is dropped.
pub fn chosen_or_new(chosen: Option<PathBuf>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    if let Some(chosen) = chosen {
        return Ok((chosen, None));
    }
    let temporary = directory()?;
    Ok((temporary.path().into(), Some(temporary)))
}
