//! What all attacks have in common.

use std::path::PathBuf;

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::ground::Ground;

/// What the operator under attack is started with.
#[derive(Debug, Default)]
pub struct Needs {
    /// Endpoints that it may call.
    pub endpoints: Vec<String>,
    /// Where its standard output goes, if not to a file.
    pub stdout: Option<PathBuf>,
    /// Its soft limit of open files, if it is not the inherited one.
    pub soft_files: Option<u32>,
    /// Seconds between its sweeps, if not the default.
    pub sweep_seconds: Option<u32>,
}

/// An attack that is ready to be made.
pub trait Attack: Send + Sync {
    /// What the operator must be started with.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Stores what stands before others' kills are measured; for what takes longer to make than it is to last.
    fn lay<'a>(&'a self, _ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        ready(Ok(())).boxed()
    }

    /// Attacks, until it is dropped or there is no more to do.
    fn strike<'a>(&'a self, _ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        ready(Ok(())).boxed()
    }
}
