//! Logs: JSON lines on standard error. Standard output is left to the audit lines. Does I/O.
//!
//! A file, such as one of a ConfigMap, changes the filter while the operator runs. Who may write it may configure the
//! operator anyway, so this needs no port, no signal and no right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tracing_subscriber::EnvFilter;

use crate::output::Lines;

/// The pause between two reads of the file.
const LOOK: Duration = Duration::from_secs(5);
/// The most bytes read of the file. A longer one is no filter.
const MAX_FILTER_BYTES: u64 = 4096;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How the operator logs.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// The form of the logs on standard error.
    #[arg(long, env = "SESSIONKILL_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,

    /// What is logged: off, error, warn, info, debug or trace, for everything or for single modules, as in
    /// info,sessionkill=debug.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_parser = checked)]
    pub log_filter: String,

    /// A file with such a filter, such as one of a mounted ConfigMap. The operator reads it every 5 seconds, and
    /// applies a changed filter. While the file is missing or empty, --log-filter applies.
    #[arg(long, env = "SESSIONKILL_LOG_FILTER_FILE")]
    pub log_filter_file: Option<PathBuf>,
}

/// The form of the logs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text, for reading at a terminal.
    Text,
}

type Apply = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync>;

/// Changes the log filter.
pub struct Logs {
    options: LogOptions,
    apply: Apply,
}

/// Starts logging to `lines`. Fails if the filter is invalid, which clap has checked before.
pub fn start(options: LogOptions, lines: Lines) -> Result<Logs, String> {
    let filter = filter(&options.log_filter)?;
    let builder = tracing_subscriber::fmt().with_writer(move || lines.clone()).with_ansi(false);
    let apply: Apply = match options.log_format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| handle.reload(filter))
        }
        LogFormat::Text => {
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| handle.reload(filter))
        }
    };
    Ok(Logs { options, apply })
}

impl Logs {
    /// Follows the file for ever. Returns at once if no file is set.
    pub async fn follow(self) {
        let Some(file) = &self.options.log_filter_file else { return };
        let mut in_force = self.options.log_filter.clone();
        loop {
            // Treat a missing file, or one that is not text, as empty.
            let said = read(file).await.unwrap_or_default();
            let wanted = if said.trim().is_empty() { &self.options.log_filter } else { said.trim() };
            if in_force != wanted {
                self.change(wanted);
                // Remember an invalid filter too, so that it is logged only once.
                wanted.clone_into(&mut in_force);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn change(&self, wanted: &str) {
        let filter = match filter(wanted) {
            Ok(filter) => filter,
            Err(error) => return tracing::warn!(error, "log filter refused, the one before it stays in force"),
        };
        // Log this with the old filter, so that a change to a quieter one is visible.
        tracing::info!(filter = wanted, "log filter changes");
        if let Err(error) = (self.apply)(filter) {
            tracing::error!(%error, "log filter cannot be changed");
        }
    }
}

async fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(file).await?.take(MAX_FILTER_BYTES).read_to_string(&mut text).await?;
    Ok(text)
}

fn checked(text: &str) -> Result<String, String> {
    filter(text).map(|_| text.to_owned())
}

/// Parses a filter. Refuses a single word that is no level: the filter would take it for a module, and log nothing
/// else.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let text = if text.trim().is_empty() { "info" } else { text };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    for part in &parts {
        let level = part.rsplit_once('=').map_or(*part, |(_, level)| level);
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            let levels = LEVELS.join(", ");
            return Err(format!("log filter {part:?} has no level: use one of {levels}, as in info,sessionkill=debug"));
        }
    }
    EnvFilter::builder().parse(parts.join(",")).map_err(|error| format!("log filter {text:?} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_for_all_or_for_parts() {
        for good in ["", "info", "DEBUG", "off", "info,sessionkill=debug", "warn, kube::client=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["verbose", "info,sessionkill", "sessionkill=loud", "info;debug", "info,"] {
            let error = filter(bad).unwrap_err();
            assert!(error.contains("use one of off, error"), "{error}");
        }
    }
}
