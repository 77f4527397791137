//! The program itself, without a cluster. `tests/kubectl` of the operator has what it does with one.

#![allow(clippy::unwrap_used, reason = "a program that cannot be run fails its test")]

use std::process::{Command, Output, Stdio};

fn run(line: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sessionkill"));
    // No kubeconfig of whoever runs the tests.
    command.env("KUBECONFIG", "/dev/null").env("HOME", "/nonexistent").stdin(Stdio::null());
    command.args(line).output().unwrap()
}

#[test]
fn it_says_what_it_can_do_and_needs_no_cluster_for_that() {
    let said = run(&["--help"]);
    let help = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success());
    for command in ["sessions", "kill", "explain", "history", "check", "suspend", "resume", "delete", "completion"] {
        assert!(help.contains(command), "{command} is missing in {help}");
    }
}

#[test]
fn without_a_cluster_it_says_so_in_a_line() {
    let said = run(&["sessions"]);
    let error = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(1), "{error}");
    assert!(error.starts_with("error: ") && error.contains("kubeconfig"), "{error}");
    assert!(!error.contains("panicked") && said.stdout.is_empty());
}
