//! Probes each connection's gateway, without ending anything: does it offer the operation and accept the access key? So
//! a broken connection is seen before it is needed. Reports unreadable ones. Does I/O if this process leads, hourly for
//! one that works.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::Operation;
use crate::connections::allowed_use::AllowedUse;
use crate::connections::connection::Connection;
use crate::connections::report::ConnectionReports;
use crate::connections::route::{Purpose, Route, RouteError, Routes};
use crate::connections::states::ConnectionStates;
use crate::connections::stored::UnreadableConnection;
use crate::domain::backend::{CallError, ErrorKind};
use crate::domain::connection::status::probe_due;
use crate::domain::tenant::ConnectionKey;
use crate::kubernetes::lease::leadership::Leadership;
use crate::metrics::labels::Call;
use crate::queue::chores::{Chores, Limits};

/// A connection that does not answer holds its slot for seconds: only its namespace's others wait for it.
const LIMITS: Limits = Limits { at_once: 16, at_once_of_one: 4, waiting: 10_000, waiting_of_one: 2_500 };

/// The sleep of a process that stands by: it is woken when it leads.
const STANDING_BY: Duration = Duration::from_hours(1);

/// The generation and time of each connection's last probe, by UID, whatever the result.
type Tried = HashMap<String, (i64, Timestamp)>;

/// UID and generation: an edited connection is probed anew, without waiting for a probe of what it was.
type Key = (String, i64);

/// What a probe needs.
pub struct Probes {
    /// The routes to the connections.
    pub routes: Arc<Routes>,
    /// What is learned about them.
    pub states: Arc<ConnectionStates>,
    /// Where to report the results.
    pub reports: ConnectionReports,
    /// Whether this process leads.
    pub leadership: Arc<Leadership>,
    /// Tasks that a shutdown waits for.
    pub tasks: TaskTracker,
}

/// Probes due connections until `shutdown`; checks again after a connection has `changed`, or the leader has. A probe
/// waits for others of its namespace only.
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

/// Starts the due probes, and returns the time until the next is due.
fn probe_those_due(
    probes: &Arc<Probes>,
    tried: &mut Tried,
    chores: &Chores<Key>,
    shutdown: &CancellationToken,
) -> Duration {
    let stored = probes.routes.stored();
    let unreadable = stored.unreadable.iter().filter_map(|connection| probes.reports.unreadable(connection)).min();
    let readable = stored.readable.iter().map(Connection::uid);
    let uids: HashSet<&str> = readable.chain(stored.unreadable.iter().map(UnreadableConnection::uid)).collect();
    let exists = |uid: &str| uids.contains(uid);
    tried.retain(|uid, _| exists(uid));
    probes.states.retain(exists);

    let now = Timestamp::now();
    for connection in &stored.readable {
        if due(probes, connection, tried) > now {
            continue;
        }
        let key = (connection.uid().to_owned(), connection.generation().unwrap_or_default());
        tried.insert(key.0.clone(), (key.1, now));
        let (task_probes, named, shutdown) = (probes.clone(), connection.key(), shutdown.clone());
        chores.add(connection.home(), key.clone(), move || async move {
            // A probe changes nothing, so that a shutdown need not wait for it.
            shutdown.run_until_cancelled(probe_if_unchanged(&task_probes, &named, &key)).await;
        });
    }
    let next = stored.readable.iter().map(|connection| due_in(probes, connection, tried, now));
    next.chain(unreadable).min().unwrap_or(Duration::from_hours(1))
}

fn due_in(probes: &Probes, connection: &Connection, tried: &Tried, now: Timestamp) -> Duration {
    Duration::try_from(due(probes, connection, tried).duration_since(now)).unwrap_or_default()
}

/// When the next probe of `connection` is due.
fn due(probes: &Probes, connection: &Connection, tried: &Tried) -> Timestamp {
    let generation = connection.generation().unwrap_or_default();
    let last_try = tried.get(connection.uid()).filter(|(of, _)| *of == generation);
    let status = probes.states.status(connection);
    probe_due(status.as_ref(), generation, last_try.map(|(_, time)| *time))
}

/// Probes the connection after its wait, unless it changed or another replica leads by now.
async fn probe_if_unchanged(probes: &Probes, named: &ConnectionKey, key: &Key) {
    let is_leading = probes.leadership.leads();
    if let Some(connection) = unchanged(probes, named, key).filter(|_| is_leading) {
        probe(probes, named, key, connection).await;
    }
}

fn unchanged(probes: &Probes, named: &ConnectionKey, (uid, generation): &Key) -> Option<Connection> {
    let connection = probes.routes.connection(named).ok()?;
    let is_it = connection.uid() == uid && connection.generation() == Some(*generation);
    is_it.then_some(connection)
}

async fn probe(probes: &Probes, named: &ConnectionKey, key: &Key, connection: Connection) {
    let reports = &probes.reports;
    let route = match probes.routes.to(AllowedUse::by_operator(connection.clone()), Purpose::Kills).await {
        Ok(route) => route,
        Err(RouteError::Unavailable(reason, message)) => {
            return reports.failed(&connection, reason, &message);
        }
        Err(RouteError::Api(error)) => {
            tracing::warn!(%error, connection = named.name(), "connection not probed");
            return reports.unread(&connection, &format!("not probed, {error}: asked again in a minute"));
        }
    };
    let (mut operation, mut answer) = ask(&probes.routes, &route).await;
    if let Err(error) = &answer
        && let Some(renewed) = probes.routes.renewed(&route, operation.as_str(), error).await
    {
        (operation, answer) = ask(&probes.routes, &renewed).await;
    }
    // A result for an older generation says nothing of the present one, and would overwrite a newer probe's.
    if unchanged(probes, named, key).is_none() {
        return;
    }
    let Err(error) = answer else { return reports.probed(&connection, operation) };
    let Some((reason, message)) = route.backend.refusal(operation.as_str(), "its instances", &error) else {
        tracing::info!(%error, connection = named.name(), "probe not answered for certain");
        let endpoint = route.backend.endpoint();
        let message = format!(
            "no certain answer to the probe, {error}: asked again in a minute; if that goes on, see whether {endpoint} works"
        );
        return reports.unanswered(&connection, &message);
    };
    reports.failed(&connection, reason, &message);
}

/// Probes the operation that the connection names; if it leaves the choice, the other one where the first does not exist.
pub async fn ask(routes: &Routes, route: &Route) -> (Operation, Result<(), CallError>) {
    let asked = async |operation| {
        let probe = |server_time| route.backend.probe(operation, server_time).boxed();
        (operation, routes.read(route, Call::Probe, probe).await)
    };
    let (first, other) = route.backend.probed();
    let answer = asked(first).await;
    match (&answer.1, other) {
        (Err(error), Some(other)) if error.kind == ErrorKind::OperationNotFound => asked(other).await,
        _ => answer,
    }
}
