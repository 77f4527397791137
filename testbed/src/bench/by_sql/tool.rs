//! What somebody could use instead, without Kubernetes: a script, and pt-kill. They have no claim, no outcome and no record.

use std::process::Command;

use anyhow::ensure;
use tokio::task::spawn_blocking;

use crate::{process::missing_tool, python};

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Tool {
    /// A script in Python that reads `SHOW PROCESSLIST` and kills, for each session that it is told of.
    Script,
    /// Percona's `pt-kill`, which reads `SHOW PROCESSLIST` and kills all sessions of a user. It is not told of sessions.
    PtKill,
}

impl Tool {
    /// The tool with this name.
    pub(in super::super) fn named(name: &str) -> Option<Self> {
        match name {
            "pymysql" => Some(Self::Script),
            "pt-kill" => Some(Self::PtKill),
            _ => None,
        }
    }

    /// Fails if it cannot be run.
    pub(in super::super) async fn build(self) -> anyhow::Result<()> {
        match self {
            Self::Script => interpreter().await.map(drop),
            Self::PtKill => {
                let version = Command::new("pt-kill").arg("--version").output();
                let version = version.map_err(|error| missing_tool(error, "pt-kill", "the package percona-toolkit"))?;
                ensure!(version.status.success(), "pt-kill: {}", String::from_utf8_lossy(&version.stderr).trim());
                Ok(())
            }
        }
    }
}

pub(super) async fn interpreter() -> anyhow::Result<std::path::PathBuf> {
    let environment = spawn_blocking(|| python::environment("client", &["PyMySQL==1.2.4"])).await??;
    Ok(environment.join("bin/python"))
}
