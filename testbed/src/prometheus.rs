//! Prometheus and promtool, built once from the Go modules that `testbed/prometheus/go.mod` pins, and a running server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::{
    cache, go, port,
    process::{Output, Process},
};

const MODULE: &str = "github.com/prometheus/prometheus";
const READY_LIMIT: Duration = Duration::from_mins(1);
/// The server's scrape interval, in seconds.
pub const SCRAPE_SECONDS: u32 = 1;

/// The two programs.
#[derive(Clone, Debug)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Builds them at the first use on a machine, which takes several minutes and blocks. Progress goes to standard
    /// error.
    pub fn locate() -> anyhow::Result<Self> {
        let sources = go::module("prometheus");
        let version = go::pinned(&sources, MODULE)?;
        let directory = cache::directory(&format!("prometheus-{version}"), |directory| {
            eprintln!("building prometheus and promtool {version} (once, several minutes) ...");
            let programs = ["prometheus", "promtool"].map(|name| format!("{MODULE}/cmd/{name}"));
            // Leave out service discovery for clouds, which is most of the code.
            let flags = ["-tags", "remove_all_sd"];
            go::compile(&sources, &flags, &programs.each_ref().map(String::as_str), directory)
        })?;
        Ok(Self { directory })
    }

    /// Runs promtool in `directory` and returns its output. If it fails, the output is the error.
    pub fn promtool(&self, directory: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(self.directory.join("promtool"));
        let output = command.args(arguments).current_dir(directory).stdin(Stdio::null()).output()?;
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        ensure!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
        Ok(said)
    }
}

/// A running server. It ends when this value is dropped.
pub struct Prometheus {
    process: Process,
    url: String,
    http: reqwest::Client,
}

/// One series, at one time or over a range.
#[derive(Clone, Debug, Deserialize)]
pub struct Series {
    /// Its labels.
    pub metric: std::collections::BTreeMap<String, String>,
    /// Time and value, for an instant query.
    pub value: Option<(f64, String)>,
    /// Times and values, for a range query.
    #[serde(default)]
    pub values: Vec<(f64, String)>,
}

impl Series {
    /// The value of an instant query.
    #[must_use]
    pub fn number(&self) -> f64 {
        self.value.as_ref().and_then(|(_, value)| value.parse().ok()).unwrap_or(f64::NAN)
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

impl Prometheus {
    /// Starts a server in `directory` that scrapes `target` (`host:port`) every [`SCRAPE_SECONDS`] and evaluates
    /// `rules`.
    pub async fn start(programs: &Programs, directory: &Path, target: &str, rules: &Path) -> anyhow::Result<Self> {
        let port = port::free()?;
        let every = format!("{SCRAPE_SECONDS}s");
        // JSON is valid YAML.
        let config = json!({
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "sessionkill-operator", "static_configs": [{"targets": [target]}]}],
        });
        let config_file = directory.join("prometheus.yaml");
        fs::write(&config_file, config.to_string())?;
        let mut command = Command::new(programs.directory.join("prometheus"));
        command
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--enable-feature=exemplar-storage");
        let process = Process::start(&command, Output::together(directory.join("prometheus.log")))?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let server = Self { process, url: format!("http://127.0.0.1:{port}"), http };
        let ready = format!("{}/-/ready", server.url);
        let check = async || Ok(server.http.get(&ready).send().await?.error_for_status().map(drop)?);
        server.process.ready(READY_LIMIT, check).await?;
        Ok(server)
    }

    /// The value of `expression` now.
    pub async fn query(&self, expression: &str) -> anyhow::Result<Vec<Series>> {
        self.ask("query", &[("query", expression)]).await
    }

    /// The values of `expression` between two times, in seconds, for each second.
    pub async fn query_range(&self, expression: &str, start: i64, end: i64) -> anyhow::Result<Vec<Series>> {
        let (start, end) = (start.to_string(), end.to_string());
        self.ask("query_range", &[("query", expression), ("start", &start), ("end", &end), ("step", "1")]).await
    }

    async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Vec<Series>> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/{what}", self.url))?;
        url.query_pairs_mut().extend_pairs(parameters);
        let body = self.http.get(url).send().await?.bytes().await?;
        let answer: Answer = serde_json::from_slice(&body).context("Prometheus answered something else")?;
        match answer.data {
            Some(data) if answer.status == "success" => Ok(data.result),
            _ => bail!("{}: {}", parameters[0].1, answer.error.unwrap_or_default()),
        }
    }
}
