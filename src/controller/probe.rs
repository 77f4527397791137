//! Asks each connection's gateway, without ending anything, whether it offers the operation and takes the access key: so
//! that a connection that does not work is seen before it is needed. Does I/O, once an hour for one that works, if this
//! process leads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::dispatch::wire;
use super::refusal::refusal;
use super::route::{Route, RouteError};
use crate::api::{KillOperation, OceanBaseConnection, Operation};
use crate::domain::connection_status::probe_due;
use crate::metrics::labels::Call;
use crate::oceanbase::{CallError, ErrorKind};

/// Connections that are probed at once.
const CONCURRENT: usize = 8;

/// A process that stands by is told when it leads.
const STANDING_BY: Duration = Duration::from_hours(1);

/// When each connection was last tried, by UID, whatever came of it.
type Tried = HashMap<String, (i64, Timestamp)>;

/// Probes the connections that are due, until `shutdown`; looks again when one of them has `changed`, or who leads.
pub async fn probe_connections(context: Arc<Context>, changed: Arc<Notify>, shutdown: CancellationToken) {
    let mut tried = Tried::new();
    loop {
        let leads = context.leadership.leads();
        let pause = if leads { probe_those_due(&context, &mut tried).await } else { STANDING_BY };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Probes what is due and returns the time until the next is.
async fn probe_those_due(context: &Arc<Context>, tried: &mut Tried) -> Duration {
    let connections: Vec<OceanBaseConnection> =
        context.connections.state().iter().filter_map(|guarded| guarded.0.as_ref().ok().cloned()).collect();
    let uids: HashSet<String> = connections.iter().filter_map(ResourceExt::uid).collect();
    let exists = |uid: &str| uids.contains(uid);
    tried.retain(|uid, _| exists(uid));
    context.connection_states.retain(exists);

    let now = Timestamp::now();
    let (due, later): (Vec<_>, Vec<_>) =
        connections.iter().partition(|connection| due(context, connection, tried) <= now);
    let mut next = later.iter().map(|connection| due_in(context, connection, tried, now)).collect::<Vec<_>>();
    for connection in &due {
        let generation = connection.metadata.generation.unwrap_or_default();
        tried.insert(connection.uid().unwrap_or_default(), (generation, now));
    }
    futures::stream::iter(&due).for_each_concurrent(CONCURRENT, |connection| probe(context, connection)).await;
    next.extend(due.iter().map(|connection| due_in(context, connection, tried, now)));
    next.into_iter().min().unwrap_or(Duration::from_hours(1))
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

async fn probe(context: &Arc<Context>, connection: &OceanBaseConnection) {
    let states = &context.connection_states;
    let route = match Route::of(context, connection.clone()).await {
        Ok(route) => route,
        Err(RouteError::Unavailable(reason, message)) => {
            return states.failed(context, connection, reason, &message);
        }
        Err(RouteError::Api(error)) => {
            return tracing::warn!(%error, connection = connection.name_any(), "connection not probed");
        }
    };
    let (operation, answer) = ask(context, &route).await;
    let Err(error) = answer else { return states.probed(context, connection, operation) };
    let Some((reason, message)) = refusal(&route, operation.as_str(), "its instances", &error) else {
        return tracing::info!(%error, connection = connection.name_any(), "probe not answered for certain");
    };
    states.failed(context, connection, reason, &message);
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
