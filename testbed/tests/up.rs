//! `testbed up`, as somebody uses it from a shell.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::ensure;
use testbed::{
    process::{Output, Process},
    scratch,
};

const LIMIT: Duration = Duration::from_mins(3);

async fn up(directory: &Path, log: &str) -> anyhow::Result<Process> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.args(["up", "--backend", "memory", "--no-operator", "--dir"]).arg(directory.join("stack"));
    let process = Process::start(&command, Output::together(directory.join(log)))?;
    process
        .ready(LIMIT, async || {
            ensure!(fs::read_to_string(process.log())?.contains("\nready\n"));
            Ok(())
        })
        .await?;
    Ok(process)
}

fn shell(directory: &Path, script: &str) -> anyhow::Result<String> {
    let output = Command::new("sh").args(["-euc", script]).arg(directory.join("stack/env")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn the_env_file_is_enough_to_use_it_and_what_was_stored_is_there_the_next_time() {
    let directory = scratch::directory().unwrap();
    let first = up(directory.path(), "first.log").await.unwrap();
    shell(directory.path(), r#". "$0"; $KUBECTL create namespace kept; printenv GATEWAY_URL SERVER_IP INSTANCE_ID"#)
        .unwrap();
    first.terminate().unwrap();
    let status = first.wait(LIMIT).await.expect("it ends when asked to");
    assert!(status.success(), "{status}; {}", first.tail());

    let second = up(directory.path(), "second.log").await.unwrap();
    let found = shell(directory.path(), r#". "$0"; $KUBECTL get namespace kept -o name"#).unwrap();
    assert_eq!(found.trim(), "namespace/kept");
    second.kill();
}
