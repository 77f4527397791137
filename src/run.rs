//! Wires the watches, the queue and the sweep together, and ends them in order. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::runtime::controller::{Action, Error as ControllerError};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::ServerClock;
use crate::config::Config;
use crate::connections::awaited_secrets::look_at_awaited;
use crate::connections::probe::{Probes, probe_connections};
use crate::connections::stored::{ClusterConnections, Connections};
use crate::connections::watched::Followers;
use crate::health::{Health, Watch};
use crate::kill::clocks::look_at_clocks;
use crate::kill::context::{Context, Parts};
use crate::kill::ends;
use crate::kill::ends::look_at_overdue;
use crate::kill::reconcile::{LOOK_AGAIN, comes_again, look_at, reconcile, take_up_turned_away};
use crate::kill::sweep::sweep;
use crate::kubernetes::api_error::of_watch;
use crate::kubernetes::events::Events;
use crate::kubernetes::lease::election::Election;
use crate::kubernetes::lease::leadership::Leadership;
use crate::kubernetes::old_server::warn_of_an_old_server;
use crate::kubernetes::watch::cached::Cached;
use crate::kubernetes::watch::silent::question;
use crate::kubernetes::watch::streams::{PAGE, watch, watch_cluster};
use crate::metrics::Metrics;
use crate::metrics::labels::Clock;
use crate::output::Lines;
use crate::queue::chores::Chores;
use crate::queue::lanes::Queue;
use crate::traces::Traces;

/// Watch only requests that have not ended, so that memory and start-up time follow the work, not the history.
const UNFINISHED: &str = "status.completionTime=";
/// How long a shutdown waits for calls in flight and their records; less than the deployment's grace period.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(80);

/// Why the operator ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A vital task ended: end the process too, so that it is restarted.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
}

/// Runs the operator until `shutdown`, with a client of the API server and the clock learned from its answers. Then
/// starts no new work and lets another replica lead, while calls in flight finish and are recorded.
pub async fn run(
    (client, clock): (Client, Arc<ServerClock>),
    config: Config,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    traces: Arc<Traces>,
    audit: Lines,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let tasks = TaskTracker::new();
    let (again, looked_at_again) = mpsc::unbounded_channel();
    let (requests, request_writer) = reflector::store();
    let (connections, connection_writer) = reflector::store();
    let (cluster_connections, cluster_writer) = reflector::store();
    let cluster = ClusterConnections {
        stored: cluster_connections.clone(),
        refusal: Arc::default(),
        home: config.cluster_resource_namespace.as_deref().unwrap_or(client.default_namespace()).into(),
    };
    let refusal = cluster.refusal.clone();
    let has_cluster = config.uses_cluster_connections();
    let elected = config.leader_election;
    let leadership = Arc::new(if elected { Leadership::elected() } else { Leadership::unelected() });
    let context = Context::new(Parts {
        queue: Arc::new(Queue::new(again, leadership.clone(), shutdown.clone())),
        unsent: Chores::new(ends::LIMITS, tasks.clone(), shutdown.clone()),
        events: Events::start(client.clone(), config.identity.clone(), metrics.clone()),
        client,
        clock,
        config,
        leadership,
        metrics,
        traces,
        audit,
        requests: requests.clone(),
        connections: Connections::new(connections.clone(), has_cluster.then_some(cluster)),
        tasks: tasks.clone(),
    });

    tokio::spawn(warn_of_an_old_server(context.client.clone()));
    show_gauges(&context);
    let length = context.config.watch();
    let every = watcher::Config::default().timeout(context.config.watch_seconds).page_size(PAGE);
    let (scope, client) = (&context.scope, &context.client);
    let connection_watch = watch((scope, length), &every, connection_writer, &health, Watch::Connections, |it| it);
    let cluster_watch = has_cluster.then(|| watch_cluster((client, length), &every, cluster_writer, &health, refusal));
    let unfinished = every.clone().fields(UNFINISHED);
    let kept = within_budget(&context);
    let request_watch = watch((scope, length), &unfinished, request_writer, &health, Watch::Requests, kept);
    let heard = context.clone();
    let request_watch =
        request_watch.try_filter_map(move |event| std::future::ready(Ok(changed_object(event, &heard))));

    let again = futures::stream::unfold(looked_at_again, |mut receiver| async move {
        let object: ObjectRef<Cached> = receiver.recv().await?;
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
    let followers = followers(&context, &changed);
    let connections_change = followers.clone().follow(connection_watch);
    let cluster_connections_change = async {
        match cluster_watch {
            Some(events) => followers.follow(events).await,
            None => std::future::pending().await,
        }
    };
    let places = scope.places();
    let questioning = futures::future::join3(
        question((client, &places, length), &health, &every, &connections, Watch::Connections),
        question((client, &places, length), &health, &unfinished, &context.requests, Watch::Requests),
        // Never silent if there is no such watch.
        question((client, &[None], length), &health, &every, &cluster_connections, |_| Watch::ClusterConnections),
    );
    let probing = probe_connections(probes(&context), changed.clone(), shutdown.clone());
    let looking = look_after(&context, &changed, &shutdown);
    let electing = elected.then(|| tokio::spawn(election(&context).run(shutdown.clone())));
    let ended = tokio::select! {
        () = controller => "the watch of SessionKills",
        () = connections_change => "the watch of OceanBaseConnections",
        () = cluster_connections_change => "the watch of ClusterOceanBaseConnections",
        () = probing => "the probe",
        () = sweeping => "the sweep",
        _ = questioning => "the questioning of watches",
        () = looking => "the look at all requests",
        () = shutdown.cancelled() => "",
    };
    let in_order = shutdown.is_cancelled();
    shutdown.cancel();
    tasks.close();
    tracing::info!(tasks = tasks.len(), "finishing what is in flight");
    let finishing = tokio::time::timeout(SHUTDOWN_LIMIT, tasks.wait());
    let (finished, _) = tokio::join!(finishing, futures::future::OptionFuture::from(electing));
    if finished.is_err() {
        tracing::error!(tasks = tasks.len(), "ended with work in flight: its claims resolve after their deadlines");
    }
    if in_order { Ok(()) } else { Err(RunError::Ended(ended)) }
}

/// Decides what the cache keeps of each request that comes.
fn within_budget(context: &Context) -> impl Fn(Cached) -> Cached + Send + use<> {
    let (budget, cache) = (context.budget.clone(), context.requests.clone());
    move |request| {
        let known = cache.get(&ObjectRef::from_obj(&request));
        request.kept(&budget, known.as_deref())
    }
}

/// Runs all periodic tasks.
async fn look_after(context: &Arc<Context>, changed: &Notify, shutdown: &CancellationToken) {
    let shutdown = || shutdown.clone();
    futures::future::join5(
        look(context, changed),
        look_at_overdue(context.clone(), shutdown()),
        look_at_awaited(context.secrets.clone(), context.leadership.clone(), shutdown()),
        look_at_clocks(context.clone(), shutdown()),
        take_up_turned_away(context.clone(), shutdown()),
    )
    .await;
}

/// Whenever this process begins to lead, looks at all requests that came while it stood by, and probes connections.
/// Besides, looks at all requests periodically: one timer, instead of one per request.
async fn look(context: &Arc<Context>, connections: &Notify) {
    loop {
        if let Ok(()) = tokio::time::timeout(LOOK_AGAIN, context.leadership.gained()).await {
            connections.notify_one();
        }
        look_at_all(context);
    }
}

/// Decides on the object of a watch event; objects of a list are decided on once the list is complete in the cache.
/// Only those to look at again later go to the controller: it could decide on all, but a moment later, as its scheduler
/// counts whole milliseconds, and with a timer and a task for each.
fn changed_object(event: watcher::Event<Cached>, context: &Arc<Context>) -> Option<Cached> {
    match event {
        watcher::Event::Apply(object) => return Some(object).filter(|object| comes_again(object, context)),
        watcher::Event::InitDone => look_at_all(context),
        watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Delete(_) => {}
    }
    None
}

/// Decides on all requests that have not ended.
fn look_at_all(context: &Arc<Context>) {
    look_at(context, context.requests.state());
}

fn followers(context: &Context, changed: &Arc<Notify>) -> Followers {
    Followers {
        states: context.connection_states.clone(),
        permits: context.call_permits.clone(),
        queue: context.queue.clone(),
        changed: changed.clone(),
    }
}

fn probes(context: &Context) -> Arc<Probes> {
    Arc::new(Probes {
        routes: context.routes.clone(),
        states: context.connection_states.clone(),
        reports: context.connection_reports.clone(),
        leadership: context.leadership.clone(),
        tasks: context.tasks.clone(),
    })
}

fn election(context: &Context) -> Election {
    let Context { client, config, .. } = context;
    let own = client.default_namespace();
    Election {
        leases: Api::namespaced(client.clone(), config.leader_election_namespace.as_deref().unwrap_or(own)),
        name: config.lease_name.clone(),
        identity: context.holder_identity.clone(),
        duration: Duration::from_secs(config.lease_duration_seconds.into()),
        leadership: context.leadership.clone(),
    }
}

/// Sets, before each scrape, the gauges that are counted in the context.
fn show_gauges(context: &Arc<Context>) {
    let measured = Arc::downgrade(context);
    context.metrics.before_scrape(move |gauges| {
        if let Some(context) = measured.upgrade() {
            gauges.set_unfinished(context.requests.len());
            gauges.set_cache(context.budget.held());
            gauges.set_stages(&context.queue.stages());
            gauges.set_limits(context.connection_states.limits());
            gauges.set_leader(context.leadership.leads());
            gauges.set_credentials_left(context.routes.least_left());
            gauges.set_clock_lead(Clock::ApiServer, context.clock.lead());
            gauges.set_clock_lead(Clock::Gateway, context.connection_states.widest_lead());
        }
    });
}

/// Logs whatever the controller's stream reports.
fn log_problem<T>(result: Result<T, ControllerError<std::convert::Infallible, watcher::Error>>) {
    match result {
        Ok(_) => {}
        Err(ControllerError::ObjectNotFound(object)) => tracing::debug!(%object, "request ended meanwhile"),
        Err(ControllerError::ReconcilerFailed(error, _)) => match error {},
        // The watch itself logs its failures.
        Err(ControllerError::QueueError(error)) => {
            tracing::debug!(error = of_watch(&error), at = %Timestamp::now(), "controller stream");
        }
        Err(ControllerError::RunnerError(error)) => {
            tracing::debug!(%error, at = %Timestamp::now(), "controller stream");
        }
    }
}
