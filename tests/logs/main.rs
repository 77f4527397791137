//! The logs of the real binary, with an API server that does not answer: their format, and a change of the filter at
//! run time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::operator::Operator;
use testbed::port;
use tokio::time::{Instant, sleep};

/// Far longer than anything takes. It only ends a test that would hang.
const LIMIT: Duration = Duration::from_mins(2);

struct Stage {
    operator: Operator,
    filter: PathBuf,
}

/// Starts an operator with a filter file that does not exist yet, and with an API server that never answers.
fn start(name: &str) -> Stage {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("logs").join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let (kubeconfig, filter) = (kubeconfig(&directory), directory.join("filter"));
    let arguments = ["run", "--log-filter", "info", "--log-filter-file", filter.to_str().unwrap()];
    let binary = Path::new(env!("CARGO_BIN_EXE_sessionkill-operator"));
    Stage { operator: Operator::start(binary, &kubeconfig, &directory, &arguments).unwrap(), filter }
}

fn kubeconfig(directory: &Path) -> PathBuf {
    let server = format!("http://127.0.0.1:{}", port::free().unwrap());
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    let path = directory.join("kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    path
}

impl Stage {
    fn lines(&self) -> Vec<Value> {
        let logs = self.operator.logs().unwrap();
        let whole = logs.rfind('\n').map_or("", |end| &logs[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    fn count(&self, level: &str) -> usize {
        self.lines().iter().filter(|line| line["level"] == level).count()
    }

    /// Waits for one more line at this level.
    async fn wait_for_another(&self, level: &str) {
        let seen = self.count(level);
        self.wait_for(|lines| lines.iter().filter(|line| line["level"] == level).count() > seen).await;
    }

    async fn wait_for(&self, what: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !what(&self.lines()) {
            assert!(Instant::now() < deadline, "waited in vain: {:#?}", self.lines());
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn wait_for_message(&self, message: &str, times: usize) {
        self.wait_for(|lines| lines.iter().filter(|line| line["message"] == message).count() >= times).await;
    }
}

#[tokio::test]
async fn each_line_is_one_object_with_a_constant_message_and_fields() {
    let stage = start("form");
    stage.wait_for_message("watch failed, trying again", 2).await;
    for line in stage.lines() {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].as_str().is_some_and(|text| !text.is_empty()), "{line}");
        }
        line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    let lines = stage.lines();
    let failed: Vec<_> = lines.iter().filter(|line| line["message"] == "watch failed, trying again").collect();
    assert!(failed.iter().all(|line| line["level"] == "WARN"), "{failed:?}");
    let watched = ["oceanbaseconnections", "clusteroceanbaseconnections"];
    assert!(failed.iter().all(|line| watched.iter().any(|kind| line["watch"] == *kind)), "{failed:?}");
    assert!(failed.iter().all(|line| line["error"].as_str().is_some_and(|error| !error.is_empty())), "{failed:?}");
    stage.operator.stop().await;
}

#[tokio::test]
async fn what_is_logged_changes_with_the_file_while_the_operator_runs() {
    let stage = start("filter");
    stage.wait_for_message("watch failed, trying again", 1).await;
    assert_eq!(stage.count("DEBUG"), 0);

    fs::write(&stage.filter, "info,hyper_util=debug\n").unwrap();
    stage.wait_for_message("log filter changes", 1).await;
    stage.wait_for_another("DEBUG").await;

    fs::write(&stage.filter, "loud\n").unwrap();
    let refused = "log filter refused, the one before it stays in force";
    stage.wait_for_message(refused, 1).await;
    stage.wait_for_another("DEBUG").await;
    assert_eq!(stage.lines().iter().filter(|line| line["message"] == refused).count(), 1, "told once");

    fs::remove_file(&stage.filter).unwrap();
    stage.wait_for_message("log filter changes", 2).await;
    stage.wait_for_another("WARN").await;
    let debug = stage.count("DEBUG");
    stage.wait_for_another("WARN").await;
    stage.wait_for_another("WARN").await;
    assert_eq!(stage.count("DEBUG"), debug, "info again, as it was started");
    stage.operator.stop().await;
}

#[test]
fn a_filter_that_is_none_refuses_to_start_and_names_itself() {
    let run = Command::new(env!("CARGO_BIN_EXE_sessionkill-operator"))
        .args(["run", "--log-filter", "verbose"])
        .output()
        .unwrap();
    let error = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success());
    assert!(error.contains("--log-filter") && error.contains("\"verbose\" has no level"), "{error}");
}
