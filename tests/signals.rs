//! A signal that asks the operator to end is heard from the first moment on: it reads its kubeconfig from a pipe here, so that
//! the moment of its start at which the signal comes is certain.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, mknodat, open},
    process::{Pid, Signal, kill_process},
};
use serde_json::json;
use testbed::scratch::{self, TempDir};

const BINARY: &str = env!("CARGO_BIN_EXE_sessionkill-operator");
const LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(5);

/// The binary at the moment of its start at which it reads its kubeconfig.
struct Starting {
    process: Child,
    kubeconfig: PathBuf,
    writer: File,
    _directory: TempDir,
}

impl Starting {
    /// Runs the program with `arguments`, the binary and what follows it among them.
    fn new(program: &str, arguments: &[&str]) -> Self {
        let directory = scratch::directory().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        mknodat(CWD, &kubeconfig, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut process = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", &kubeconfig)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SESSIONKILL_HEALTH_ADDRESS", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let writer = eventually("it reads its kubeconfig", || {
            assert_eq!(process.try_wait().unwrap(), None, "{arguments:?}");
            // Fails as long as nobody reads.
            open(&kubeconfig, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok().map(File::from)
        });
        Self { process, kubeconfig, writer, _directory: directory }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Gives it a kubeconfig by which it reaches nobody, and waits for its end.
    fn goes_on_and_ends(mut self) -> Output {
        let kubeconfig = json!({
            "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": "x", "user": {"token": "x"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        });
        self.writer.write_all(kubeconfig.to_string().as_bytes()).unwrap();
        // It may look more than once.
        fs::remove_file(&self.kubeconfig).unwrap();
        fs::write(&self.kubeconfig, kubeconfig.to_string()).unwrap();
        drop(self.writer);
        let ended = Instant::now() + LIMIT;
        while self.process.try_wait().unwrap().is_none() {
            if Instant::now() > ended {
                self.process.kill().unwrap();
                panic!("the signal was lost: {:?}", self.process.wait_with_output().unwrap());
            }
            sleep(POLL);
        }
        self.process.wait_with_output().unwrap()
    }
}

fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(POLL);
    }
}

#[track_caller]
fn assert_ended_in_order(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("shutting down"), "{}: {said}", output.status);
}

#[test]
fn asked_to_end_while_it_starts_it_ends_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let starting = Starting::new(BINARY, &["run"]);
        kill_process(starting.pid(), signal).unwrap();
        assert_ended_in_order(&starting.goes_on_and_ends());
    }
}

/// As in a container: the kernel drops what the first process has no handler for.
#[test]
fn the_first_process_of_a_container_hears_it_while_it_starts_too() {
    let namespace = ["--pid", "--fork", "--kill-child", "--"];
    let made = Command::new("unshare").args(namespace).arg("true").output();
    if !made.as_ref().is_ok_and(|made| made.status.success()) {
        println!("skipped, as this machine makes no namespace of processes: {made:?}");
        return;
    }
    let starting = Starting::new("unshare", &[&namespace[..], &[BINARY, "run"]].concat());
    let children = format!("/proc/{0}/task/{0}/children", starting.process.id());
    let first: i32 = fs::read_to_string(Path::new(&children)).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(first).unwrap(), Signal::TERM).unwrap();
    assert_ended_in_order(&starting.goes_on_and_ends());
}

#[test]
fn a_check_that_is_asked_to_end_says_that_it_was_not_done() {
    let starting = Starting::new(BINARY, &["check"]);
    kill_process(starting.pid(), Signal::TERM).unwrap();
    let output = starting.goes_on_and_ends();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("asked to end before it was done"), "{said}");
}
