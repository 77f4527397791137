//! The client whose session is ended.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{bail, ensure};

use crate::{
    process::{Output, Process},
    python,
};

/// A MySQL client of the usual kind, in a process of its own.
pub(super) struct Client(Process);

impl Client {
    /// Its Python interpreter, installed if it is missing.
    pub(super) async fn environment() -> anyhow::Result<PathBuf> {
        tokio::task::spawn_blocking(|| python::environment("client", &["PyMySQL==1.2.4"])).await?
    }

    /// With its output in `log`.
    pub(super) async fn start(log: &Path, port: u16) -> anyhow::Result<Self> {
        let mut command = Command::new(Self::environment().await?.join("bin/python"));
        command.args(["-c", include_str!("client.py"), &port.to_string()]);
        Ok(Self(Process::start(&command, Output::together(log))?))
    }

    /// Fails unless it says that it has lost its session.
    pub(super) async fn assert_lost(&self) -> anyhow::Result<()> {
        let error = self.line(1).await?;
        println!("    the client got: {error}");
        ensure!(error.contains("2013"), "the client did not lose its session: {error}");
        Ok(())
    }

    /// Waits for line number `index` of its output.
    pub(super) async fn line(&self, index: usize) -> anyhow::Result<String> {
        for _ in 0..600 {
            let said = std::fs::read_to_string(self.0.log())?;
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            if let Some(line) = whole.lines().nth(index) {
                return Ok(line.to_owned());
            }
            ensure!(self.0.is_running(), "the client ended: {said}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the client says nothing: see {}", self.0.log().display())
    }
}
