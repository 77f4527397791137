//! Asks each connection's gateway, without ending anything, whether it offers the operation and takes the access key: so
//! that a connection that does not work is seen before it is needed. Has it told of one that cannot be read. Does I/O, once an
//! hour for one that works, if this process leads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{KillOperation, OceanBaseConnection, Operation};
use crate::connections::refusal::refusal;
use crate::connections::report::ConnectionReports;
use crate::connections::route::{Route, RouteError, Routes};
use crate::connections::states::ConnectionStates;
use crate::domain::backend::{CallError, ErrorKind};
use crate::domain::connection::status::probe_due;
use crate::kubernetes::lease::leadership::Leadership;
use crate::kubernetes::status_patch::Target;
use crate::metrics::labels::Call;
use crate::queue::chores::{Chores, Limits};

/// A connection that does not answer holds its turn for seconds: its namespace's others wait for it, and nobody else's.
const LIMITS: Limits = Limits { at_once: 16, at_once_of_one: 4, waiting: 10_000, waiting_of_one: 2_500 };

/// A process that stands by is told when it leads.
const STANDING_BY: Duration = Duration::from_hours(1);

/// When each connection was last tried, by UID, whatever came of it.
type Tried = HashMap<String, (i64, Timestamp)>;

/// A connection as it is: one that is edited is probed anew, and not after a probe of what it was.
type Key = (String, i64);

/// What a probe needs.
pub struct Probes {
    /// The ways to the connections.
    pub routes: Arc<Routes>,
    /// What is known of them.
    pub states: Arc<ConnectionStates>,
    /// Where it is told what a probe came to.
    pub reports: ConnectionReports,
    /// Whether this process does the work.
    pub leadership: Arc<Leadership>,
    /// Tasks that a shutdown waits for.
    pub tasks: TaskTracker,
}

/// Has the connections probed that are due, until `shutdown`; looks again when one of them has `changed`, or who leads. None
/// waits for the probe of another, but for those of its namespace.
pub async fn probe_connections(probes: Arc<Probes>, changed: Arc<Notify>, shutdown: CancellationToken) {
    let chores = Chores::<Key>::new(LIMITS, probes.tasks.clone(), shutdown.clone());
    let mut tried = Tried::new();
    loop {
        let leads = probes.leadership.leads();
        let pause = if leads { probe_those_due(&probes, &mut tried, &chores, &shutdown) } else { STANDING_BY };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Has those probed that are due, and returns the time until the next is.
fn probe_those_due(
    probes: &Arc<Probes>,
    tried: &mut Tried,
    chores: &Chores<Key>,
    shutdown: &CancellationToken,
) -> Duration {
    let stored = probes.routes.stored();
    for connection in &stored {
        probes.reports.unreadable(connection);
    }
    let connections: Vec<_> = stored.iter().filter_map(|guarded| guarded.0.as_ref().ok().cloned()).collect();
    let uids: HashSet<String> = stored.iter().filter_map(|connection| connection.uid()).collect();
    let exists = |uid: &str| uids.contains(uid);
    tried.retain(|uid, _| exists(uid));
    probes.states.retain(exists);

    let now = Timestamp::now();
    for connection in &connections {
        if due(probes, connection, tried) > now {
            continue;
        }
        let key = (connection.uid().unwrap_or_default(), connection.metadata.generation.unwrap_or_default());
        tried.insert(key.0.clone(), (key.1, now));
        let (task_probes, target, shutdown) = (probes.clone(), Target::of(connection.as_ref()), shutdown.clone());
        let namespace = target.namespace.clone();
        chores.add(&namespace, key.clone(), move || async move {
            // It changes nothing, so that a shutdown need not wait for it.
            shutdown.run_until_cancelled(probe_if_unchanged(&task_probes, &target, &key)).await;
        });
    }
    let next = connections.iter().map(|connection| due_in(probes, connection, tried, now)).min();
    next.unwrap_or(Duration::from_hours(1))
}

fn due_in(probes: &Probes, connection: &OceanBaseConnection, tried: &Tried, now: Timestamp) -> Duration {
    Duration::try_from(due(probes, connection, tried).duration_since(now)).unwrap_or_default()
}

/// When `connection` is to be probed.
fn due(probes: &Probes, connection: &OceanBaseConnection, tried: &Tried) -> Timestamp {
    let generation = connection.metadata.generation.unwrap_or_default();
    let last_try = tried.get(&connection.uid().unwrap_or_default()).filter(|(of, _)| *of == generation);
    let status = probes.states.status(connection);
    probe_due(status.as_ref(), generation, last_try.map(|(_, time)| *time))
}

/// Probes the connection, which waited for its turn, if it is still what it was and nobody else leads by now.
async fn probe_if_unchanged(probes: &Probes, target: &Target, key: &Key) {
    let is_leading = probes.leadership.leads();
    if let Some(connection) = unchanged(probes, target, key).filter(|_| is_leading) {
        probe(probes, target, key, connection).await;
    }
}

fn unchanged(probes: &Probes, target: &Target, (uid, generation): &Key) -> Option<Arc<OceanBaseConnection>> {
    let connection = probes.routes.connection(&target.namespace, &target.name).ok()?;
    let is_it = connection.uid().as_ref() == Some(uid) && connection.metadata.generation == Some(*generation);
    is_it.then_some(connection)
}

async fn probe(probes: &Probes, target: &Target, key: &Key, connection: Arc<OceanBaseConnection>) {
    let reports = &probes.reports;
    let route = match probes.routes.to(connection.clone()).await {
        Ok(route) => route,
        Err(RouteError::Unavailable(reason, message)) => {
            return reports.failed(&connection, reason, &message);
        }
        Err(RouteError::Api(error)) => {
            tracing::warn!(%error, connection = target.name, "connection not probed");
            return reports.unread(&connection, &format!("not probed, {error}: asked again in a minute"));
        }
    };
    let (operation, answer) = ask(&probes.routes, &route).await;
    // What is learned of a connection as it was says nothing of it as it is, and would overwrite what another probe has.
    if unchanged(probes, target, key).is_none() {
        return;
    }
    let Err(error) = answer else { return reports.probed(&connection, operation) };
    let Some((reason, message)) = refusal(&route, operation.as_str(), "its instances", &error) else {
        tracing::info!(%error, connection = target.name, "probe not answered for certain");
        let endpoint = &route.access.endpoint;
        let message = format!(
            "no certain answer to the probe, {error}: asked again in a minute; if that goes on, see whether {endpoint} works"
        );
        return reports.unanswered(&connection, &message);
    };
    reports.failed(&connection, reason, &message);
}

/// Asks for the operation that the connection names; for `Auto`, for the one that it prefers first.
pub async fn ask(routes: &Routes, route: &Route) -> (Operation, Result<(), CallError>) {
    let asked = async |operation| {
        let probe = |lead| route.client.probe(operation, lead, &route.access).boxed();
        (operation, routes.read(route, Call::Probe, probe).await)
    };
    match route.connection.spec.alibaba_cloud().kill_operation {
        KillOperation::KillProcessList => asked(Operation::KillProcessList).await,
        KillOperation::BatchKillProcessList => asked(Operation::BatchKillProcessList).await,
        KillOperation::Auto => match asked(Operation::KillProcessList).await {
            (_, Err(error)) if error.kind == ErrorKind::OperationNotFound => {
                asked(Operation::BatchKillProcessList).await
            }
            answer => answer,
        },
    }
}
