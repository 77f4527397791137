//! The operator's own binary as a process beside the control plane, with its service account: built, started, watched.

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

/// How long a healthy operator may take to end: it first finishes the calls in flight.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A running operator. It ends when this value is dropped.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    health_port: u16,
}

impl Operator {
    /// Starts `binary` with `arguments` and the identity of `kubeconfig`. It appends its standard output, the audit
    /// lines, to `directory/audit.jsonl` and its logs to `directory/operator.log`: give each operator its own
    /// directory. It serves its health on a free port of 127.0.0.1, unless `arguments` say otherwise. Does not wait
    /// until it is ready.
    pub fn start(binary: &Path, kubeconfig: &Path, directory: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_writing_to(&directory.join("audit.jsonl"), binary, kubeconfig, directory, arguments)
    }

    /// The same, with another target for standard output.
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

    /// All its logs.
    pub fn logs(&self) -> anyhow::Result<String> {
        read(self.process.log())
    }

    /// The complete audit lines. A line that is not JSON is an error.
    pub fn audit_lines(&self) -> anyhow::Result<Vec<Value>> {
        let text = read(self.process.stdout())?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not an audit line: {line}")))
            .collect()
    }

    /// Pauses it at any point of its work (`SIGSTOP`).
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

    /// Asks it to end (`SIGTERM`), like a kubelet.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.process.terminate()
    }

    /// Asks it to end and waits. Kills it if it takes longer than half a minute.
    pub async fn stop(&self) {
        self.process.stop(STOP_PATIENCE).await;
    }

    /// Its memory now.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        rss_bytes(self.pid())
    }
}

/// The physical memory of the process `pid` now, in bytes.
pub fn rss_bytes(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS:")
}

/// The peak physical memory of the process `pid`, in bytes.
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

/// Builds the operator with cargo and this `profile` (`dev`, `release`), and returns its path. It blocks. Progress goes
/// to standard error.
pub fn build_operator(profile: &str) -> anyhow::Result<PathBuf> {
    build("sessionkill-operator", profile)
}

/// The same for the plugin of kubectl.
pub fn build_plugin(profile: &str) -> anyhow::Result<PathBuf> {
    build("kubectl-sessionkill", profile)
}

/// The plugin as `cargo test --workspace` builds it: with the features of the tests, so that no crate is built a second time.
pub fn tested_plugin() -> anyhow::Result<PathBuf> {
    run_cargo("kubectl-sessionkill", &["test", "--workspace", "--no-run", "--test", "starts"])
}

fn build(binary: &str, profile: &str) -> anyhow::Result<PathBuf> {
    run_cargo(binary, &["build", "--workspace", "--bin", binary, "--profile", profile])
}

fn run_cargo(binary: &str, arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let output = cargo()
        .args(arguments)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| missing_tool(error, "cargo", "Rust by rustup"))?;
    ensure!(output.status.success(), "cargo build of {binary} failed ({}), see above", output.status);
    executable(&String::from_utf8_lossy(&output.stdout), binary).with_context(|| format!("cargo built no {binary}"))
}

/// cargo, with no settings of the cargo that runs the testbed, except for its toolchain.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Under `cargo run` and `cargo test` these variables describe the testbed. Build scripts that look at them would
    // run again, and once more in the next build.
    for (name, _) in std::env::vars_os().filter(|(name, _)| describes_a_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

fn describes_a_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// The path of the built `binary`, from cargo's messages, as its target directory may be anywhere.
fn executable(messages: &str, binary: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let mut paths = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable);
    paths.rfind(|path| path.file_stem().is_some_and(|name| name == binary))
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
        assert_eq!(executable(messages, "sessionkill-operator"), Some("/t/debug/sessionkill-operator".into()));
    }
}
