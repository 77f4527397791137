//! The operator's binary: reads options, picks the TLS provider, runs. Does I/O.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sessionkill::check::{self, CheckOptions};
use sessionkill::clock::ServerClock;
use sessionkill::config::Config;
use sessionkill::health::Health;
use sessionkill::health_port::{self, Vitals};
use sessionkill::kubernetes::{client, kubeconfig};
use sessionkill::metrics::Metrics;
use sessionkill::metrics::labels::Output;
use sessionkill::output::Lines;
use sessionkill::pulse::Pulse;
use sessionkill::signals::Signals;
use sessionkill::telemetry::{self, LogOptions};
use sessionkill::traces::Traces;
use sessionkill::{api, core_dumps, descriptors, run};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Not the allocator of glibc or musl: JSON makes many small allocations, for which they take more processor time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A Kubernetes operator that ends database sessions of ApsaraDB for OceanBase on request, at most once.
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
    /// Check, with the operator's credentials, that the API server is new enough, serves the kinds and grants the
    /// rights. Changes nothing.
    Check(CheckOptions),
}

/// The most bytes of logs that wait to be read from standard error: 1 MiB.
const LOG_BYTES: usize = 1 << 20;
/// How long the operator waits at its end for unread audit lines, and then for unread logs.
const LAST_LINES: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // Listen for signals before the command line is parsed, so that none is lost.
    let (runtime, signals) = match listen() {
        Ok(listening) => listening,
        Err(message) => return failed(&mut std::io::stderr(), &message),
    };
    let result = match Cli::parse().command {
        Command::Run { config, logs } => return run(*config, logs, runtime, signals),
        Command::Crd => on_this_thread(runtime, unless_asked_to_end(signals, print_definitions())),
        Command::Check(options) => on_this_thread(runtime, unless_asked_to_end(signals, check(options))),
    };
    result.map_or_else(|message| failed(&mut std::io::stderr(), &message), |()| ExitCode::SUCCESS)
}

/// Makes the event loop, and starts to listen for signals.
fn listen() -> Result<(Runtime, Signals), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot make an event loop: {error}"))?;
    let inside = runtime.enter();
    let signals = Signals::listen().map_err(|error| format!("cannot listen for signals: {error}"))?;
    drop(inside);
    Ok((runtime, signals))
}

/// Does `work` until a signal asks to end. `work` can be interrupted at any time.
async fn unless_asked_to_end(signals: Signals, work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::select! {
        done = work => done,
        () = signals.asked_to_end() => Err("asked to end before it was done".to_owned()),
    }
}

/// Writes why the program ends.
fn failed(to: &mut impl Write, message: &str) -> ExitCode {
    let _ = to.write_all(format!("sessionkill-operator: {message}\n").as_bytes());
    ExitCode::FAILURE
}

/// Prints in another thread, as the reader may be slow.
async fn print_definitions() -> Result<(), String> {
    tokio::task::spawn_blocking(crd).await.unwrap_or_else(|ended| Err(ended.to_string()))
}

fn crd() -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    for document in api::manifests().map_err(|error| format!("cannot write the definitions: {error}"))? {
        // Ignore a closed pipe: that is the reader's choice.
        let _ = write!(out, "---\n{document}");
    }
    Ok(())
}

/// Runs the operator, then flushes its outputs for a limited time, so that unread lines do not keep it from ending.
fn run(config: Config, options: LogOptions, runtime: Runtime, signals: Signals) -> ExitCode {
    if let Err(error) = core_dumps::forbid() {
        return failed(
            &mut std::io::stderr(),
            &format!("cannot switch core dumps off, which would hold keys: {error}"),
        );
    }
    let metrics = Arc::new(Metrics::default());
    let lost = |output| metrics.lines_lost(output);
    let logs = Lines::start(std::io::stderr(), LOG_BYTES, lost(Output::Logs));
    let most_audit_bytes = usize::try_from(config.audit_bytes).unwrap_or(usize::MAX);
    let audit = Lines::start(std::io::stdout(), most_audit_bytes, lost(Output::Audit));
    let (mut logs, audit) = match (logs, audit) {
        (Ok(logs), Ok(audit)) => (logs, audit),
        (Err(error), _) | (_, Err(error)) => {
            return failed(&mut std::io::stderr(), &format!("cannot start a thread that writes lines: {error}"));
        }
    };
    let ended = on_this_thread(runtime, operate(config, options, signals, metrics, [&logs, &audit]));
    let code = ended.map_or_else(|message| failed(&mut logs, &message), |()| ExitCode::SUCCESS);
    audit.flush(LAST_LINES);
    logs.flush(LAST_LINES);
    code
}

/// Runs all work on one thread. That takes less processor time than one per core, and ends a single kill sooner, as
/// nothing moves between threads; the API server is busy long before this thread (docs/performance.md). Other threads
/// write lines and serve the health port, so that neither can delay this one.
fn on_this_thread<T>(runtime: Runtime, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let done = runtime.block_on(work);
    // Do not wait for a DNS lookup that still runs.
    runtime.shutdown_background();
    done
}

async fn operate(
    config: Config,
    options: LogOptions,
    signals: Signals,
    metrics: Arc<Metrics>,
    [logs, audit]: [&Lines; 2],
) -> Result<(), String> {
    config.check()?;
    tokio::spawn(telemetry::start(options, logs.clone())?.follow());
    let limit = descriptors::raise_limit();
    let descriptors = descriptors::left_by(limit, config.max_concurrent_calls);
    if descriptors == 0 {
        tracing::warn!(limit, "fewer file descriptors than all calls may need: raise the limit of open files");
    }
    install_tls_provider()?;
    let clock = Arc::new(ServerClock::default());
    let client = api_server_client(config.api_server_http1, clock.clone()).await?;
    let shutdown = CancellationToken::new();
    tokio::spawn(end_when_asked(signals, shutdown.clone()));
    let health = Health::new(config.places(), config.watch());
    let health = Arc::new(if config.uses_cluster_connections() { health.with_cluster_connections() } else { health });
    let longest_stall = Duration::from_secs(config.lease_duration_seconds.into());
    let vitals = Vitals { pulse: Pulse::start(), longest_stall, audit: audit.clone() };
    measure(&metrics, &health, &vitals, logs);
    let traces = Arc::new(Traces::from_environment()?);
    health_port::serve(
        health_port::routes(health.clone(), metrics.clone(), vitals),
        config.health_address,
        descriptors,
    )?;
    let work = run::run((client, clock), config, health, metrics, traces.clone(), audit.clone(), shutdown);
    let ended = Box::pin(work).await;
    // End traces in another thread, as sending them needs this one.
    let _ = tokio::task::spawn_blocking(move || traces.end()).await;
    ended.map_err(|error| error.to_string())
}

/// Sets the gauges outside the kill path before each scrape.
fn measure(metrics: &Metrics, health: &Arc<Health>, vitals: &Vitals, logs: &Lines) {
    let (health, vitals, logs) = (health.clone(), vitals.clone(), logs.clone());
    metrics.before_scrape(move |gauges| {
        for (watch, age) in health.watch_ages() {
            gauges.set_watch_age(watch, age);
        }
        gauges.set_stall(vitals.pulse.longest());
        gauges.set_output_stuck(Output::Logs, logs.stuck_for());
        gauges.set_output_stuck(Output::Audit, vitals.audit.stuck_for());
    });
}

async fn check(options: CheckOptions) -> Result<(), String> {
    install_tls_provider()?;
    let clock = Arc::new(ServerClock::default());
    check::check(api_server_client(false, clock.clone()).await?, &clock, options).await
}

/// Sets rustls's provider. kube and reqwest are built without one, as rustls refuses to choose between two.
fn install_tls_provider() -> Result<(), String> {
    let installed = rustls::crypto::ring::default_provider().install_default();
    installed.map_err(|_| "cannot install the TLS provider".to_owned())
}

async fn api_server_client(http1: bool, clock: Arc<ServerClock>) -> Result<kube::Client, String> {
    let config = kubeconfig::infer().await.map_err(|error| error.to_string())?;
    client::client(config, http1, clock).map_err(|error| format!("cannot make a client of the API server: {error}"))
}

/// Starts an orderly shutdown at SIGTERM or SIGINT.
async fn end_when_asked(signals: Signals, shutdown: CancellationToken) {
    signals.asked_to_end().await;
    tracing::info!("shutting down");
    shutdown.cancel();
}
