//! The product's own binary as a process beside the control plane, as its service account: built, started, watched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    port,
    process::{Output, Process, missing_tool},
};

/// The end of a well-behaved operator: calls in flight are finished first.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A running operator; it ends when this value is dropped.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    health_port: u16,
}

impl Operator {
    /// Starts `binary` with `arguments`, as whoever `kubeconfig` says. Its standard output, the audit lines, goes to
    /// `directory/audit.jsonl` and its logs to `directory/operator.log`, both appended: a directory for each of several
    /// operators. Its health is served on a free port of 127.0.0.1, unless `arguments` say otherwise. It is not waited for.
    pub fn start(binary: &Path, kubeconfig: &Path, directory: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_writing_to(&directory.join("audit.jsonl"), binary, kubeconfig, directory, arguments)
    }

    /// The same with its standard output somewhere else.
    pub fn start_writing_to(
        stdout: &Path,
        binary: &Path,
        kubeconfig: &Path,
        directory: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let mut command = Command::new(binary);
        let health_port = port::free()?;
        command
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("SESSIONKILL_HEALTH_ADDRESS", format!("127.0.0.1:{health_port}"));
        let output = Output { stdout: stdout.into(), stderr: directory.join("operator.log") };
        Ok(Self { process: Process::start(&command, output)?, health_port })
    }

    /// The process, to wait for something or to signal it.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The base URL of its health endpoints.
    #[must_use]
    pub fn health_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.health_port)
    }

    /// All it has logged.
    pub fn logs(&self) -> anyhow::Result<String> {
        read(self.process.log())
    }

    /// The audit lines it has written completely; a line that is not JSON is an error.
    pub fn audit_lines(&self) -> anyhow::Result<Vec<Value>> {
        let text = read(self.process.stdout())?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not an audit line: {line}")))
            .collect()
    }

    /// Freezes it in the middle of whatever it does (`SIGSTOP`).
    pub fn pause(&self) -> anyhow::Result<()> {
        self.process.pause()
    }

    /// Lets it go on (`SIGCONT`).
    pub fn resume(&self) -> anyhow::Result<()> {
        self.process.resume()
    }

    /// Crashes it (`SIGKILL`) and waits until it is gone.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Asks it to end (`SIGTERM`), as a kubelet does.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.process.terminate()
    }

    /// Asks it to end and waits for that; kills it when it takes longer than half a minute.
    pub async fn stop(&self) {
        self.process.stop(STOP_PATIENCE).await;
    }

    /// Memory it occupies now.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        rss_bytes(self.pid())
    }
}

/// Physical memory that the process `pid` occupies now.
pub fn rss_bytes(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS:")
}

/// The most physical memory that the process `pid` has occupied.
pub fn peak_rss_bytes(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("process {pid} is not running"))?;
    let kibibytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|value| value.trim().strip_suffix("kB"))
        .with_context(|| format!("no {field} in {path}: the process has ended"))?
        .trim()
        .parse()?;
    Ok(kibibytes * 1024)
}

/// Builds the operator with cargo, as `profile` says (`dev`, `release`), and returns its path. It blocks; progress goes
/// to standard error.
pub fn build_operator(profile: &str) -> anyhow::Result<PathBuf> {
    let output = cargo()
        .args(["build", "--workspace", "--bin", "sessionkill-operator"])
        .args(["--profile", profile, "--message-format=json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| missing_tool(error, "cargo", "Rust by rustup"))?;
    ensure!(output.status.success(), "cargo build of the operator failed ({}), see above", output.status);
    executable(&String::from_utf8_lossy(&output.stdout)).context("cargo built no sessionkill-operator")
}

/// cargo, with nothing of the cargo that runs the testbed but its toolchain.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Under `cargo run` and `cargo test` these describe the testbed; build scripts that look at them would run again, and
    // once more in the next build.
    for (name, _) in std::env::vars_os().filter(|(name, _)| describes_a_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

fn describes_a_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// What cargo says it has built, wherever its target directory is.
fn executable(messages: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable).next_back()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    #[tokio::test]
    async fn audit_lines_are_kept_apart_from_logs_and_a_half_written_one_waits() {
        let directory = scratch::directory().unwrap();
        let script = r#"echo '{"a":1}'; echo "$KUBECONFIG" >&2; printf '{"a":'; exec sleep 1000"#;
        let operator =
            Operator::start(Path::new("sh"), Path::new("/the/kubeconfig"), directory.path(), &["-c", script]).unwrap();
        operator
            .process()
            .ready(Duration::from_secs(30), async || {
                ensure!(read(operator.process().stdout())?.ends_with("{\"a\":"));
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(operator.audit_lines().unwrap(), [serde_json::json!({"a": 1})]);
        assert_eq!(operator.logs().unwrap(), "/the/kubeconfig\n");
        assert!(operator.rss_bytes().unwrap() > 0);
        assert!(peak_rss_bytes(operator.pid()).unwrap() >= operator.rss_bytes().unwrap());
        operator.stop().await;
        assert!(operator.rss_bytes().is_err());
    }

    #[test]
    fn the_executable_is_the_one_cargo_names() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/debug/sessionkill-operator"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some("/t/debug/sessionkill-operator".into()));
    }
}
