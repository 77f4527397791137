//! Asks each connection's gateway, without ending anything, whether it offers the operation and takes the access key: so
//! that a connection that does not work is seen before it is needed. Does I/O, once an hour for one that works, if this
//! process leads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::chores::{Chores, Limits};
use super::context::Context;
use super::dispatch::wire;
use super::refusal::refusal;
use super::route::{Route, RouteError, connection};
use super::settle::Target;
use crate::api::{KillOperation, OceanBaseConnection, Operation};
use crate::domain::connection_status::probe_due;
use crate::metrics::labels::Call;
use crate::oceanbase::{CallError, ErrorKind};

/// A connection that does not answer holds its turn for seconds: its namespace's others wait for it, and nobody else's.
const LIMITS: Limits = Limits { at_once: 16, at_once_of_one: 4, waiting: 10_000, waiting_of_one: 2_500 };

/// A process that stands by is told when it leads.
const STANDING_BY: Duration = Duration::from_hours(1);

/// When each connection was last tried, by UID, whatever came of it.
type Tried = HashMap<String, (i64, Timestamp)>;

/// A connection as it is: one that is edited is probed anew, and not after a probe of what it was.
type Key = (String, i64);

/// Has the connections probed that are due, until `shutdown`; looks again when one of them has `changed`, or who leads. None
/// waits for the probe of another, but for those of its namespace.
pub async fn probe_connections(context: Arc<Context>, changed: Arc<Notify>, shutdown: CancellationToken) {
    let probes = Chores::<Key>::new(LIMITS, context.tasks.clone(), shutdown.clone());
    let mut tried = Tried::new();
    loop {
        let leads = context.leadership.leads();
        let pause = if leads { probe_those_due(&context, &mut tried, &probes, &shutdown) } else { STANDING_BY };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Has those probed that are due, and returns the time until the next is.
fn probe_those_due(
    context: &Arc<Context>,
    tried: &mut Tried,
    probes: &Chores<Key>,
    shutdown: &CancellationToken,
) -> Duration {
    let guarded = context.connections.state();
    let connections: Vec<&Arc<OceanBaseConnection>> =
        guarded.iter().filter_map(|guarded| guarded.0.as_ref().ok()).collect();
    let uids: HashSet<String> = connections.iter().filter_map(|connection| connection.uid()).collect();
    let exists = |uid: &str| uids.contains(uid);
    tried.retain(|uid, _| exists(uid));
    context.connection_states.retain(exists);

    let now = Timestamp::now();
    for connection in &connections {
        if due(context, connection, tried) > now {
            continue;
        }
        let key = (connection.uid().unwrap_or_default(), connection.metadata.generation.unwrap_or_default());
        tried.insert(key.0.clone(), (key.1, now));
        let (context, target, shutdown) = (context.clone(), Target::of(connection.as_ref()), shutdown.clone());
        let namespace = target.namespace.clone();
        probes.add(&namespace, key.clone(), move || async move {
            // It changes nothing, so that a shutdown need not wait for it.
            shutdown.run_until_cancelled(probe_if_unchanged(&context, &target, &key)).await;
        });
    }
    let next = connections.iter().map(|connection| due_in(context, connection, tried, now)).min();
    next.unwrap_or(Duration::from_hours(1))
}

fn due_in(context: &Context, connection: &OceanBaseConnection, tried: &Tried, now: Timestamp) -> Duration {
    Duration::try_from(due(context, connection, tried).duration_since(now)).unwrap_or_default()
}

/// When `connection` is to be probed.
fn due(context: &Context, connection: &OceanBaseConnection, tried: &Tried) -> Timestamp {
    let generation = connection.metadata.generation.unwrap_or_default();
    let last_try = tried.get(&connection.uid().unwrap_or_default()).filter(|(of, _)| *of == generation);
    let status = context.connection_states.status(connection);
    probe_due(status.as_ref(), generation, last_try.map(|(_, time)| *time))
}

/// Probes the connection, which waited for its turn, if it is still what it was and nobody else leads by now.
async fn probe_if_unchanged(context: &Arc<Context>, target: &Target, key: &Key) {
    let is_leading = context.leadership.leads();
    if let Some(connection) = unchanged(context, target, key).filter(|_| is_leading) {
        probe(context, target, key, connection).await;
    }
}

fn unchanged(context: &Context, target: &Target, (uid, generation): &Key) -> Option<Arc<OceanBaseConnection>> {
    let connection = connection(context, &target.namespace, &target.name).ok()?;
    let is_it = connection.uid().as_ref() == Some(uid) && connection.metadata.generation == Some(*generation);
    is_it.then_some(connection)
}

async fn probe(context: &Arc<Context>, target: &Target, key: &Key, connection: Arc<OceanBaseConnection>) {
    let states = &context.connection_states;
    let route = match Route::of(context, connection.clone()).await {
        Ok(route) => route,
        Err(RouteError::Unavailable(reason, message)) => {
            return states.failed(context, &connection, reason, &message);
        }
        Err(RouteError::Api(error)) => {
            tracing::warn!(%error, connection = target.name, "connection not probed");
            return states.unread(context, &connection, &format!("not probed, {error}: asked again in a minute"));
        }
    };
    let (operation, answer) = ask(context, &route).await;
    // What is learned of a connection as it was says nothing of it as it is, and would overwrite what another probe has.
    if unchanged(context, target, key).is_none() {
        return;
    }
    let Err(error) = answer else { return states.probed(context, &connection, operation) };
    let Some((reason, message)) = refusal(&route, operation.as_str(), "its instances", &error) else {
        tracing::info!(%error, connection = target.name, "probe not answered for certain");
        let endpoint = &route.access.endpoint;
        let message = format!(
            "no certain answer to the probe, {error}: asked again in a minute; if that goes on, see whether {endpoint} works"
        );
        return states.unanswered(context, &connection, &message);
    };
    states.failed(context, &connection, reason, &message);
}

/// Asks for the operation that the connection names; for `Auto`, for the one that it prefers first.
pub(super) async fn ask(context: &Context, route: &Route) -> (Operation, Result<(), CallError>) {
    let asked = async |operation| {
        let probe = |lead| route.client.probe(wire(operation), lead, &route.access).boxed();
        (operation, route.read(context, Call::Probe, probe).await)
    };
    match route.connection.spec.kill_operation {
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
