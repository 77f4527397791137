//! The operator's binary: reads options, picks the TLS provider, runs.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use sessionkill::config::Config;
use sessionkill::health::{self, Health};
use sessionkill::metrics::Metrics;
use sessionkill::telemetry::{self, LogFormat};
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
        /// The form of the logs on standard error.
        #[arg(long, env = "SESSIONKILL_LOG_FORMAT", value_enum, default_value = "json")]
        log_format: LogFormat,
    },
    /// Print the custom resource definitions.
    Crd,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Crd => crd(),
        Command::Run { config, log_format } => {
            telemetry::start(log_format);
            run(*config)
        }
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
async fn run(config: Config) -> Result<(), String> {
    // Both kube and reqwest are built without a default: with two providers in one binary rustls would refuse to choose.
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "cannot install the TLS provider")?;
    let client = api_server_client(config.api_server_http1).await?;
    let shutdown = CancellationToken::new();
    on_signal(shutdown.clone())?;
    let health = Arc::new(Health::new(config.watch()));
    let metrics = Arc::new(Metrics::default());
    let serving = health::serve(health.clone(), metrics.clone(), config.health_address).await?;
    tokio::select! {
        ended = controller::run(client, config, health, metrics, shutdown) => ended.map_err(|error| error.to_string()),
        () = serving => Err("the health checks ended unexpectedly".to_owned()),
    }
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
