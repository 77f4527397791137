//! The operator's binary: reads options, picks the TLS provider, runs.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use sessionkill::check::{self, CheckOptions};
use sessionkill::config::Config;
use sessionkill::health::{self, Health};
use sessionkill::metrics::Metrics;
use sessionkill::telemetry::{self, LogOptions};
use sessionkill::traces::Traces;
use sessionkill::{api, api_server, controller};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// glibc's and musl's allocators take more processor time for the many small pieces that JSON is made of.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Ends database sessions of ApsaraDB for OceanBase on request, at most once.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Run {
        #[command(flatten)]
        config: Box<Config>,
        #[command(flatten)]
        logs: LogOptions,
    },
    /// Print the custom resource definitions.
    Crd,
    /// Ask the API server, as the operator, whether the kinds are served and its rights are granted. Changes nothing.
    Check(CheckOptions),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Crd => crd(),
        Command::Run { config, logs } => run(*config, logs),
        Command::Check(options) => check(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("sessionkill-operator: {message}");
            ExitCode::FAILURE
        }
    }
}

fn crd() -> Result<(), String> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    for document in api::manifests().map_err(|error| format!("cannot write the definitions: {error}"))? {
        // A closed pipe is the reader's choice.
        let _ = write!(out, "---\n{document}");
    }
    Ok(())
}

/// One thread does all the work: that takes less processor time than one for each core, and a single kill ends sooner, as
/// nothing is handed from thread to thread; the API server is busy long before this thread is (docs/performance.md).
#[tokio::main(flavor = "current_thread")]
async fn run(config: Config, logs: LogOptions) -> Result<(), String> {
    config.check()?;
    tokio::spawn(telemetry::start(logs)?.follow());
    install_tls_provider()?;
    let client = api_server_client(config.api_server_http1).await?;
    let shutdown = CancellationToken::new();
    on_signal(shutdown.clone())?;
    let health = Arc::new(Health::new(config.places(), config.watch()));
    let metrics = Arc::new(Metrics::default());
    let watches = health.clone();
    metrics.before_scrape(move |gauges| {
        for (watch, age) in watches.watch_ages() {
            gauges.set_watch_age(watch, age);
        }
    });
    let traces = Arc::new(Traces::from_environment()?);
    let serving = health::serve(health.clone(), metrics.clone(), config.health_address).await?;
    let ended = tokio::select! {
        ended = controller::run(client, config, health, metrics, traces.clone(), shutdown) => ended.map_err(|error| error.to_string()),
        () = serving => Err("the health checks ended unexpectedly".to_owned()),
    };
    // In another thread: what is sent needs this one.
    let _ = tokio::task::spawn_blocking(move || traces.end()).await;
    ended
}

#[tokio::main(flavor = "current_thread")]
async fn check(options: CheckOptions) -> Result<(), String> {
    install_tls_provider()?;
    check::check(api_server_client(false).await?, options).await
}

/// Both kube and reqwest are built without a default: with two providers in one binary rustls would refuse to choose.
fn install_tls_provider() -> Result<(), String> {
    let installed = rustls::crypto::ring::default_provider().install_default();
    installed.map_err(|_| "cannot install the TLS provider".to_owned())
}

async fn api_server_client(http1: bool) -> Result<kube::Client, String> {
    let config = kube::Config::infer().await.map_err(|error| {
        format!("no way to reach an API server ({error}): run in a cluster, or set KUBECONFIG to a kubeconfig file")
    })?;
    api_server::client(config, http1).map_err(|error| format!("cannot make a client of the API server: {error}"))
}

/// SIGTERM and SIGINT start an orderly end.
fn on_signal(shutdown: CancellationToken) -> Result<(), String> {
    let on = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down");
        shutdown.cancel();
    });
    Ok(())
}
