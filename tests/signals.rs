//! The operator handles a signal to stop from its first moment on. Here it reads its kubeconfig from a pipe, so that
//! the test knows at which point of its start the signal arrives.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::Duration,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, mknodat, open},
    process::{Pid, Signal, kill_process},
};
use serde_json::json;
use testbed::{
    process::{Output, Process},
    scratch::{self, TempDir},
};

const BINARY: &str = env!("CARGO_BIN_EXE_sessionkill-operator");
const LIMIT: Duration = Duration::from_mins(1);

/// The binary at the point of its start where it reads its kubeconfig.
struct Starting {
    process: Process,
    kubeconfig: PathBuf,
    writer: File,
    _directory: TempDir,
}

impl Starting {
    /// Runs `program` with `arguments`, which include the binary and its own arguments.
    async fn new(program: &str, arguments: &[&str]) -> Self {
        let directory = scratch::directory().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        mknodat(CWD, &kubeconfig, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", &kubeconfig).env("SESSIONKILL_HEALTH_ADDRESS", "127.0.0.1:0");
        let output = Output { stdout: directory.path().join("stdout"), stderr: directory.path().join("stderr") };
        let process = Process::start(&command, output).unwrap();
        // This fails until the binary reads.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        let writer =
            process.ready(LIMIT, async || Ok(File::from(open(&kubeconfig, flags, Mode::empty())?))).await.unwrap();
        Self { process, kubeconfig, writer, _directory: directory }
    }

    /// Writes a kubeconfig with an address that nobody answers, and waits for the end. Returns the exit status and the
    /// output.
    async fn goes_on_and_ends(mut self) -> (ExitStatus, String) {
        let kubeconfig = json!({
            "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "x", "user": {"token": "x"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        });
        self.writer.write_all(kubeconfig.to_string().as_bytes()).unwrap();
        // A regular file, as the binary may read it again.
        fs::remove_file(&self.kubeconfig).unwrap();
        fs::write(&self.kubeconfig, kubeconfig.to_string()).unwrap();
        drop(self.writer);
        let Some(status) = self.process.wait(LIMIT).await else {
            panic!("the signal was lost; {}", self.process.tail());
        };
        (status, fs::read_to_string(self.process.log()).unwrap())
    }
}

fn send(signal: Signal, process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).unwrap();
    kill_process(process, signal).unwrap();
}

#[track_caller]
fn assert_ended_in_order((status, said): &(ExitStatus, String)) {
    assert!(status.success() && said.contains("shutting down"), "{status}: {said}");
}

#[tokio::test]
async fn asked_to_end_while_it_starts_it_ends_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let starting = Starting::new(BINARY, &["run"]).await;
        send(signal, starting.process.pid());
        assert_ended_in_order(&starting.goes_on_and_ends().await);
    }
}

/// As in a container: the kernel drops a signal to the first process if that has no handler. In CI,
/// `SESSIONKILL_NAMESPACES=skip` is the only way to skip this test. Elsewhere the test tries whether the machine can
/// create a PID namespace.
#[tokio::test]
async fn the_first_process_of_a_container_hears_it_while_it_starts_too() {
    let namespace = ["--pid", "--fork", "--kill-child", "--"];
    let made = Command::new("unshare").args(namespace).arg("true").output();
    if !made.as_ref().is_ok_and(|made| made.status.success()) {
        let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|set| set == value);
        let may_be_left_out = !is("CI", "true") || is("SESSIONKILL_NAMESPACES", "skip");
        assert!(may_be_left_out, "this machine makes no namespace of processes: {made:?}");
        println!("skipped, as this machine makes no namespace of processes: {made:?}");
        return;
    }
    let starting = Starting::new("unshare", &[&namespace[..], &[BINARY, "run"]].concat()).await;
    let children = format!("/proc/{0}/task/{0}/children", starting.process.pid());
    send(Signal::TERM, fs::read_to_string(children).unwrap().trim().parse().unwrap());
    assert_ended_in_order(&starting.goes_on_and_ends().await);
}

#[tokio::test]
async fn a_check_that_is_asked_to_end_says_that_it_was_not_done() {
    let starting = Starting::new(BINARY, &["check"]).await;
    send(Signal::TERM, starting.process.pid());
    let (status, said) = starting.goes_on_and_ends().await;
    assert!(status.code() == Some(1) && said.contains("asked to end before it was done"), "{said}");
}
