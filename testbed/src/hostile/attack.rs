//! What all attacks share.

use std::path::PathBuf;

use futures::future::{BoxFuture, FutureExt as _, ready};

use super::ground::Ground;

/// The options of the operator under attack.
#[derive(Debug, Default)]
pub struct Needs {
    /// Further endpoints that it may call.
    pub endpoints: Vec<String>,
    /// Where its standard output goes, if not to a file.
    pub stdout: Option<PathBuf>,
    /// Its soft limit of open files, if not the inherited one.
    pub soft_files: Option<u32>,
    /// Seconds between its sweeps, if not the default.
    pub sweep_seconds: Option<u32>,
}

/// An attack that is ready to start.
pub trait Attack: Send + Sync {
    /// The options that the operator needs.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Stores what must be there before the victim's kills are measured. Use it for what takes longer to make than the
    /// measurement lasts.
    fn lay<'a>(&'a self, _ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        ready(Ok(())).boxed()
    }

    /// Attacks until it is dropped, or until nothing is left to do.
    fn strike<'a>(&'a self, _ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        ready(Ok(())).boxed()
    }
}
