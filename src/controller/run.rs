//! Wires the watch, the queue and the sweep together, and ends them in order. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, select_all};
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

use super::beside::{beside_others, empty_list};
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
        requests: requests.clone(),
        connections,
        tasks: tasks.clone(),
    });

    let connection_watch = watch::<DeserializeGuard<OceanBaseConnection>>(
        context.everywhere(),
        &watcher::Config::default().timeout(WATCH_SECONDS),
        connection_writer,
        &health,
        Watch::Connections,
    );
    let request_watch = watch::<Guarded>(
        context.everywhere(),
        &watcher::Config::default().timeout(WATCH_SECONDS).fields(UNFINISHED),
        request_writer,
        &health,
        Watch::Requests,
    );
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

/// Watches that fill `writer` together, and tell `health` how they fare.
fn watch<K>(
    places: Vec<(Option<String>, Api<K>)>,
    config: &watcher::Config,
    writer: reflector::store::Writer<K>,
    health: &Arc<Health>,
    kind: fn(usize) -> Watch,
) -> impl futures::Stream<Item = Result<K, watcher::Error>> + Send + use<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let first = if places.iter().all(|(namespace, _)| namespace.is_some()) { empty_list().into() } else { vec![] };
    let watches = places.into_iter().enumerate().map(|(place, (namespace, api))| {
        let events = watch_of(api, config.clone(), health.clone(), kind(place));
        match namespace {
            Some(namespace) => beside_others(events, namespace, writer.as_reader()).boxed(),
            None => events.boxed(),
        }
    });
    let watches = select_all(watches.collect::<Vec<_>>());
    stream::iter(first)
        .chain(watches)
        .map_ok(|event| event.modify(|object| object.managed_fields_mut().clear()))
        .reflect(writer)
        .applied_objects()
}

/// One watch, which begins when it may.
fn watch_of<K>(
    api: Api<K>,
    config: watcher::Config,
    health: Arc<Health>,
    watch: Watch,
) -> impl futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let before = health.clone();
    let events = watcher(api, config).backoff(WatchPause).inspect(move |event| match event {
        Ok(watcher::Event::InitDone) => health.watch_synced(watch),
        Ok(_) => health.watch_works(watch),
        Err(error) => {
            tracing::warn!(%error, watch = watch.as_str(), "watch failed, trying again");
            // No restart brings rights back, and one namespace that is gone must not stop the operator for the others.
            if is_forbidden(error) {
                health.watch_works(watch);
            } else {
                health.watch_fails(watch);
            }
        }
    });
    async move {
        // A request must not be told that its connection does not exist because the cache is still empty.
        if let Watch::Requests(place) = watch {
            before.synced(Watch::Connections(place)).await;
        }
        events
    }
    .flatten_stream()
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.is_forbidden(),
        _ => false,
    }
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
