//! The state shared by the whole kill path. No I/O.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::runtime::reflector::Store;
use kube::{Api, Client};
use tokio_util::task::TaskTracker;

use crate::api::SessionKillReceipt;
use crate::clock::ServerClock;
use crate::config::Config;
use crate::connections::allowed_use::Allowances;
use crate::connections::call_permits::CallPermits;
use crate::connections::process_lists::ProcessLists;
use crate::connections::report::ConnectionReports;
use crate::connections::route::Routes;
use crate::connections::secrets::Secrets;
use crate::connections::states::ConnectionStates;
use crate::connections::stored::Connections;
use crate::kill::live_claims::LiveClaims;
use crate::kill::shared_sessions::SharedSessions;
use crate::kubernetes::events::Events;
use crate::kubernetes::lease::leadership::Leadership;
use crate::kubernetes::watch::budget::Budget;
use crate::kubernetes::watch::cached::Cached;
use crate::kubernetes::watch::scope::Scope;
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

/// The most records written at once, over all tenants.
const RECORDS_AT_ONCE: usize = 2;
/// The most batches in memory that do not fit into the watch cache: in total, and per namespace.
const ROOMS: usize = 32;
const ROOMS_OF_NAMESPACE: usize = 2;
/// The most statuses written at once.
const WRITES_AT_ONCE: usize = 32;
/// The most statuses of waiting requests in progress at once, each with a pause after it; one per namespace. After a
/// start there may be thousands of them, and kills must come first.
const REPORTS_AT_ONCE: usize = 8;

/// The state shared by the whole kill path.
pub struct Context {
    /// The client of the API server.
    pub client: Client,
    /// The API server's clock, compared with our own.
    pub clock: Arc<ServerClock>,
    /// The operator's options.
    pub config: Config,
    /// This process in claims: the Pod's name and a random part, so that a restarted process is another holder.
    pub holder_identity: String,
    /// The namespaces that this process works in.
    pub scope: Scope,
    /// Whether this process leads, and so does the work.
    pub leadership: Arc<Leadership>,
    /// The unfinished requests.
    pub requests: Store<Cached>,
    /// The memory budget of the watch cache.
    pub budget: Arc<Budget>,
    /// The queue of requests.
    pub queue: Arc<Queue>,
    /// The ends of requests that must not be sent any more.
    pub unsent: Chores<ItemKey>,
    /// Which namespaces may use which connection.
    pub allowances: Arc<Allowances>,
    /// The routes to all connections.
    pub routes: Arc<Routes>,
    /// The Secrets of connections.
    pub secrets: Arc<Secrets>,
    /// The known facts about each connection's gateway.
    pub connection_states: Arc<ConnectionStates>,
    /// Receives what is learned about connections.
    pub connection_reports: ConnectionReports,
    /// The process lists; concurrent readers share one read.
    pub process_lists: Arc<ProcessLists>,
    /// Permits for calls to gateways.
    pub call_permits: Arc<CallPermits>,
    /// The claims of this process.
    pub live_claims: LiveClaims,
    /// The sessions that calls through connections of no namespace name.
    pub shared_sessions: SharedSessions,
    /// The order in which a tenant's requests end.
    pub endings: Endings,
    /// Permits for a batch that is not whole in the watch cache, while it is in memory.
    pub rooms: Arc<Permits>,
    /// Permits for a status write after a call or at an end.
    pub writes: Arc<Permits>,
    /// Permits for a status write of a waiting request without a call.
    pub reports: Arc<Permits>,
    /// The permit for a status write of a large object: a single one at a time goes unnoticed, two do not.
    pub large_writes: Arc<Permits>,
    /// Permits for records, which must come after the writes that people wait for.
    pub recording: Arc<Permits>,
    /// The limit on writes in flight per tenant.
    pub write_slots: WriteSlots,
    /// A mutex per orphaned claim that is being resolved.
    pub resolving: Alone,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The traces of the requests.
    pub traces: Arc<Traces>,
    /// The Events, written outside the kill path.
    pub events: Events,
    /// The output for audit lines.
    pub audit: Lines,
    /// Tasks that a shutdown waits for.
    pub tasks: TaskTracker,
}

/// The arguments of [`Context::new`].
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
    /// The connections in the watch caches.
    pub connections: Connections,
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
    /// Builds the context from its parts.
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
        let routes = Arc::new(Routes::new(
            &config,
            client.clone(),
            connections.clone(),
            states.clone(),
            secrets.clone(),
            metrics.clone(),
        ));
        let allowances = Arc::new(Allowances::new(client.clone(), connections.clone()));
        let call_permits = Arc::new(CallPermits::new(config.max_concurrent_calls.into(), connections));
        let namespaces = config.watch_namespaces.as_ref().map(|only| only.iter().map(str::to_owned).collect());
        Arc::new(Self {
            holder_identity: format!("{}_{}", config.identity, uuid::Uuid::new_v4()),
            scope: Scope::new(client.clone(), namespaces),
            budget: Budget::new(usize::from(config.cache_budget_mib) << 20),
            connection_reports: ConnectionReports::new(
                states.clone(),
                queue.clone(),
                leadership.clone(),
                client.clone(),
                tasks.clone(),
            ),
            process_lists: Arc::new(ProcessLists::new(
                routes.clone(),
                allowances.clone(),
                states.clone(),
                call_permits.clone(),
            )),
            write_slots: WriteSlots::new(queue.clone(), tasks.clone()),
            connection_states: states,
            allowances,
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
            shared_sessions: SharedSessions::default(),
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

    /// The receipts in `namespace`.
    pub fn receipts(&self, namespace: &str) -> Api<SessionKillReceipt> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// How long after its claim a call may be sent.
    pub fn dispatch_window(&self) -> SignedDuration {
        SignedDuration::from_secs(self.config.dispatch_window_seconds.into())
    }
}
