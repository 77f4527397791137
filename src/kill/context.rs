//! What every part of the kill path shares.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::runtime::reflector::Store;
use kube::{Api, Client};
use tokio_util::task::TaskTracker;

use crate::api::SessionKillReceipt;
use crate::clock::ServerClock;
use crate::config::Config;
use crate::connections::call_permits::CallPermits;
use crate::connections::process_lists::ProcessLists;
use crate::connections::report::ConnectionReports;
use crate::connections::route::Routes;
use crate::connections::secrets::Secrets;
use crate::connections::states::ConnectionStates;
use crate::kill::live_claims::LiveClaims;
use crate::kubernetes::events::Events;
use crate::kubernetes::lease::leadership::Leadership;
use crate::kubernetes::watch::budget::Budget;
use crate::kubernetes::watch::cached::Cached;
use crate::kubernetes::watch::scope::Scope;
use crate::kubernetes::watch::stored_request::GuardedConnection;
use crate::metrics::Metrics;
use crate::output::Lines;
use crate::queue::alone::Alone;
use crate::queue::chores::Chores;
use crate::queue::ending_order::Endings;
use crate::queue::item::ItemKey;
use crate::queue::lanes::Queue;
use crate::queue::permits::Permits;
use crate::queue::write_slots::WriteSlots;
use crate::traces::Traces;

/// The most records that are written at once, over all tenants.
const RECORDS_AT_ONCE: usize = 2;
/// The most groups in memory that the watch cache has no room for, and of one namespace.
const ROOMS: usize = 32;
const ROOMS_OF_NAMESPACE: usize = 2;
/// The most statuses that are written at once.
const WRITES_AT_ONCE: usize = 32;
/// The most statuses of requests that only wait which are being written, or have just been, with the pause after them: thousands of
/// them after a start must leave the API server to kills. So each namespace has one at a time.
const REPORTS_AT_ONCE: usize = 8;

/// What every part of the kill path shares.
pub struct Context {
    /// The client of the API server.
    pub client: Client,
    /// The clock of the API server, beside this process's own.
    pub clock: Arc<ServerClock>,
    /// The operator's options.
    pub config: Config,
    /// This process, in claims: the pod's name and a random part, so that a restarted process is another holder.
    pub holder_identity: String,
    /// Where this process works.
    pub scope: Scope,
    /// Whether this process does the work.
    pub leadership: Arc<Leadership>,
    /// The unfinished requests.
    pub requests: Store<Cached>,
    /// The memory for requests in the cache.
    pub budget: Arc<Budget>,
    /// Work that waits for its turn.
    pub queue: Arc<Queue>,
    /// Ends of requests for which nothing is sent any more.
    pub unsent: Chores<ItemKey>,
    /// The ways to all connections.
    pub routes: Arc<Routes>,
    /// The Secrets of connections.
    pub secrets: Arc<Secrets>,
    /// What is known of each connection's gateway.
    pub connection_states: Arc<ConnectionStates>,
    /// Where it is told what is learned of connections.
    pub connection_reports: ConnectionReports,
    /// Process lists, read once for all who wait for one.
    pub process_lists: Arc<ProcessLists>,
    /// For the calls of gateways.
    pub call_permits: Arc<CallPermits>,
    /// For a group on its way from the process list to its claims.
    pub slots: Arc<Permits>,
    /// The claims of this process.
    pub live_claims: LiveClaims,
    /// The order in which requests end.
    pub endings: Endings,
    /// For a group that is not whole in the watch cache, for as long as it is in memory.
    pub rooms: Arc<Permits>,
    /// For one write of how a request goes on or ended.
    pub writes: Arc<Permits>,
    /// For one write of what a request waits for, of which no call was made.
    pub reports: Arc<Permits>,
    /// For one write of the status of a large object: one at a time is not felt by others, two are.
    pub large_writes: Arc<Permits>,
    /// For records, which must leave the API server to the writes that people wait for.
    pub recording: Arc<Permits>,
    /// How many writes of a tenant are on their way.
    pub write_slots: WriteSlots,
    /// The orphaned claims that get their record.
    pub resolving: Alone,
    /// Numbers for those who watch the operator.
    pub metrics: Arc<Metrics>,
    /// The traces of the requests.
    pub traces: Arc<Traces>,
    /// Events, off the path of the kill.
    pub events: Events,
    /// Where audit lines go.
    pub audit: Lines,
    /// Tasks that a shutdown waits for.
    pub tasks: TaskTracker,
}

/// What [`Context::new`] is given.
pub struct Parts {
    /// See [`Context`].
    pub client: Client,
    /// See [`Context`].
    pub clock: Arc<ServerClock>,
    /// See [`Context`].
    pub config: Config,
    /// See [`Context`].
    pub leadership: Arc<Leadership>,
    /// See [`Context`].
    pub requests: Store<Cached>,
    /// All connections.
    pub connections: Store<GuardedConnection>,
    /// See [`Context`].
    pub metrics: Arc<Metrics>,
    /// See [`Context`].
    pub traces: Arc<Traces>,
    /// See [`Context`].
    pub queue: Arc<Queue>,
    /// See [`Context`].
    pub unsent: Chores<ItemKey>,
    /// See [`Context`].
    pub events: Events,
    /// See [`Context`].
    pub audit: Lines,
    /// See [`Context`].
    pub tasks: TaskTracker,
}

impl Context {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            client,
            clock,
            config,
            leadership,
            requests,
            connections,
            metrics,
            traces,
            queue,
            unsent,
            events,
            audit,
            tasks,
        } = parts;
        let states = Arc::new(ConnectionStates::default());
        let secrets = Arc::new(Secrets::new(client.clone(), connections.clone(), states.clone(), queue.clone()));
        let routes =
            Arc::new(Routes::new(&config, connections.clone(), states.clone(), secrets.clone(), metrics.clone()));
        let call_permits = Arc::new(CallPermits::new(config.max_concurrent_calls.into(), connections));
        let namespaces = config.watch_namespaces.as_ref().map(|only| only.iter().map(str::to_owned).collect());
        Arc::new(Self {
            holder_identity: format!("{}_{}", config.identity, uuid::Uuid::new_v4()),
            scope: Scope::new(client.clone(), namespaces),
            budget: Budget::new(usize::from(config.cache_budget_mib) << 20),
            connection_reports: ConnectionReports::new(states.clone(), queue.clone(), client.clone(), tasks.clone()),
            process_lists: Arc::new(ProcessLists::new(routes.clone(), states.clone(), call_permits.clone())),
            write_slots: WriteSlots::new(queue.clone(), tasks.clone()),
            slots: call_permits.slots.clone(),
            connection_states: states,
            routes,
            secrets,
            call_permits,
            client,
            clock,
            config,
            leadership,
            requests,
            queue,
            unsent,
            live_claims: LiveClaims::default(),
            rooms: Permits::by_namespace(ROOMS, ROOMS_OF_NAMESPACE),
            writes: Permits::of_writes(WRITES_AT_ONCE),
            reports: Permits::by_namespace(REPORTS_AT_ONCE, 1),
            large_writes: Permits::of_writes(1),
            recording: Permits::of_quick(RECORDS_AT_ONCE),
            endings: Endings::default(),
            resolving: Alone::default(),
            metrics,
            traces,
            events,
            audit,
            tasks,
        })
    }

    /// Receipts of `namespace`.
    pub fn receipts(&self, namespace: &str) -> Api<SessionKillReceipt> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// For how long after its claim a call may be sent.
    pub fn dispatch_window(&self) -> SignedDuration {
        SignedDuration::from_secs(self.config.dispatch_window_seconds.into())
    }
}
