//! `hold`: a parent with one child, for a test that kills the parent.

use std::{path::Path, process::Command};

use testbed::process::{Output, Process};

/// Starts a child that writes its process id, and never returns.
pub(crate) async fn run(directory: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$; exec sleep 1000000"]);
    let _child = Process::start(&command, Output::together(directory.join("child.log")))?;
    std::future::pending().await
}
