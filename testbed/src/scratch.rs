//! Temporary directories for the servers of one test.

use anyhow::Context;
pub use tempfile::TempDir;

/// A new directory that is removed when the value is dropped; keep it until the servers in it have ended. Unlike
/// `tempfile`'s own its name has no leading dot: the `OceanBase` engine does not recover from its log below such a name.
pub fn directory() -> anyhow::Result<TempDir> {
    TempDir::with_prefix("sessionkill-").context("cannot create a temporary directory")
}
