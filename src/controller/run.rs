//! Wires the watch, the queue and the sweep together, and ends them in order. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Error as ControllerError};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::utils::Backoff;
use kube::runtime::{Controller, WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::context::{Context, Guarded, Parts};
use super::events::Events;
use super::probe::probe_connections;
use super::queue::Queue;
use super::reconcile::reconcile;
use super::sweep::sweep;
use crate::api::OceanBaseConnection;
use crate::api_server::WATCH_SECONDS;
use crate::config::Config;
use crate::health::{Health, Watch};
use crate::metrics::Metrics;
use crate::traces::Traces;

/// Only requests that have not ended are watched: memory and start-up follow the work, not the history.
const UNFINISHED: &str = "status.completionTime=";
/// How long a shutdown waits for calls in flight and their records; less than the deployment's grace period.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(80);

/// Why the operator ended on its own.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A vital task ended: the process must too, to be restarted.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// Runs the operator until `shutdown`; then starts no new work, and lets calls in flight finish and be recorded.
pub async fn run(
    client: Client,
    config: Config,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    traces: Arc<Traces>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let tasks = TaskTracker::new();
    let (again, looked_at_again) = mpsc::unbounded_channel();
    let (requests, request_writer) = reflector::store();
    let (connections, connection_writer) = reflector::store();
    let context = Context::new(Parts {
        queue: Queue::new(config.max_concurrent_calls.into(), again, shutdown.clone()),
        events: Events::start(client.clone(), config.identity.clone()),
        client,
        config,
        metrics,
        traces,
        requests: requests.clone(),
        connections,
        tasks: tasks.clone(),
    });

    let measured = Arc::downgrade(&context);
    context.metrics.before_scrape(move |gauges| {
        if let Some(context) = measured.upgrade() {
            gauges.set_unfinished(context.requests.len());
            gauges.set_stages(&context.queue.stages());
            gauges.set_limits(context.connection_states.limits());
        }
    });

    let connection_watch = watch::<DeserializeGuard<OceanBaseConnection>>(
        context.everywhere(),
        watcher::Config::default().timeout(WATCH_SECONDS),
        connection_writer,
        health.clone(),
        Watch::Connections,
    );
    let request_watch = watch::<Guarded>(
        context.everywhere(),
        watcher::Config::default().timeout(WATCH_SECONDS).fields(UNFINISHED),
        request_writer,
        health.clone(),
        Watch::Requests,
    );
    // A request must not be told that its connection does not exist because the cache is still empty.
    let connections_known = health.clone();
    let request_watch = async move {
        connections_known.synced(Watch::Connections).await;
        request_watch
    }
    .flatten_stream();

    let again = futures::stream::unfold(looked_at_again, |mut receiver| async move {
        let object: ObjectRef<Guarded> = receiver.recv().await?;
        Some((object, receiver))
    });
    let controller = Controller::for_stream(request_watch, requests)
        .reconcile_on(again)
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_mins(1)), context.clone())
        .for_each(|result| {
            log_problem(result);
            std::future::ready(())
        });

    let sweeping = sweep(context.clone(), shutdown.clone());
    let changed = Arc::new(Notify::new());
    let connections_change = connection_watch.for_each(|_| {
        changed.notify_one();
        std::future::ready(())
    });
    let probing = probe_connections(context.clone(), changed.clone(), shutdown.clone());
    let ended = tokio::select! {
        () = controller => "the watch of SessionKills",
        () = connections_change => "the watch of OceanBaseConnections",
        () = probing => "the probe",
        () = sweeping => "the sweep",
        () = shutdown.cancelled() => "",
    };
    let in_order = shutdown.is_cancelled();
    shutdown.cancel();
    tasks.close();
    tracing::info!(tasks = tasks.len(), "finishing what is in flight");
    if tokio::time::timeout(SHUTDOWN_LIMIT, tasks.wait()).await.is_err() {
        tracing::error!(tasks = tasks.len(), "ended with work in flight: its claims resolve after their deadlines");
    }
    if in_order { Ok(()) } else { Err(RunError::Ended(ended)) }
}

/// The pause after each failure of a watch. The client's default doubles up to 30 s, so that after a short outage of the API
/// server requests waited for half a minute more; two watches of one operator are no load.
struct WatchPause;

impl Iterator for WatchPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }
}

impl Backoff for WatchPause {
    fn reset(&mut self) {}
}

/// A watch that fills `writer` and tells `health` how it fares.
fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    writer: reflector::store::Writer<K>,
    health: Arc<Health>,
    name: Watch,
) -> impl futures::Stream<Item = Result<K, watcher::Error>> + Send + 'static
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, config)
        .backoff(WatchPause)
        .inspect(move |event| match event {
            Ok(watcher::Event::InitDone) => health.watch_synced(name),
            Ok(_) => health.watch_works(name),
            Err(error) => {
                tracing::warn!(%error, watch = name.as_str(), "watch failed, trying again");
                health.watch_fails(name);
            }
        })
        .map_ok(|event| event.modify(|object| object.managed_fields_mut().clear()))
        .reflect(writer)
        .applied_objects()
}

/// Says what the controller's stream reports; nothing of it is swallowed.
fn log_problem<T>(result: Result<T, ControllerError<std::convert::Infallible, watcher::Error>>) {
    match result {
        Ok(_) => {}
        Err(ControllerError::ObjectNotFound(object)) => tracing::debug!(%object, "request ended meanwhile"),
        Err(ControllerError::ReconcilerFailed(error, _)) => match error {},
        // The watch itself logs its failures.
        Err(error) => tracing::debug!(%error, at = %Timestamp::now(), "controller stream"),
    }
}
