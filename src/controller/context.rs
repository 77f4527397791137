//! What every part of the controller shares.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::Store;
use kube::{Api, Client};
use tokio_util::task::TaskTracker;

use super::alone::Alone;
use super::budget::Budget;
use super::cached::Cached;
use super::chores::Chores;
use super::connection_states::ConnectionStates;
use super::credentials::CredentialsCache;
use super::endings::Endings;
use super::events::Events;
use super::guarded::GuardedConnection;
use super::leadership::Leadership;
use super::live_claims::LiveClaims;
use super::observer::Observer;
use super::permits::Permits;
use super::queue::Queue;
use super::unsent;
use super::writes::Aside;
use crate::api::SessionKillReceipt;
use crate::clock::ServerClock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::oceanbase::{self, Addresses, AnswerBudget};
use crate::output::Lines;
use crate::traces::Traces;

/// The most records that are written at once, over all tenants.
const RECORDS_AT_ONCE: usize = 2;
/// The most calls of recovery at once.
const HOUSEKEEPING_AT_ONCE: usize = 8;
/// The most groups that make their claims at once.
const SLOTS: usize = 32;
/// The most groups in memory that the watch cache has no room for, and of one namespace.
const ROOMS: usize = 32;
const ROOMS_OF_NAMESPACE: usize = 2;
/// The most statuses that are written at once.
const WRITES_AT_ONCE: usize = 32;
/// The most statuses of requests that only wait which are being written, or have just been, with the pause after them: thousands of
/// them after a start must leave the API server to kills. So each namespace has one at a time.
const REPORTS_AT_ONCE: usize = 8;

/// What every part of the controller shares.
pub struct Context {
    /// The client of the API server.
    pub client: Client,
    /// The clock of the API server, beside this process's own.
    pub clock: Arc<ServerClock>,
    /// The operator's options.
    pub config: Config,
    /// This process, in claims: the pod's name and a random part, so that a restarted process is another holder.
    pub holder_identity: String,
    /// Whether this process does the work.
    pub leadership: Arc<Leadership>,
    /// The unfinished requests.
    pub requests: Store<Cached>,
    /// The memory for requests in the cache.
    pub budget: Arc<Budget>,
    /// All connections.
    pub connections: Store<GuardedConnection>,
    /// Work that waits for its turn.
    pub queue: Queue,
    /// Ends of requests for which nothing is sent any more.
    pub unsent: Chores<unsent::Key>,
    /// Access keys, for seconds.
    pub credentials: CredentialsCache,
    /// What is known of each connection's gateway.
    pub connection_states: ConnectionStates,
    /// The claims of this process.
    pub live_claims: LiveClaims,
    /// The order in which requests end.
    pub endings: Endings,
    /// For the calls of the kill path. Held from right before a call until its answer, and for nothing else.
    pub calls: Arc<Permits>,
    /// For the calls of recovery, which must not take what kills need.
    pub housekeeping: Arc<Permits>,
    /// For a group on its way from the process list to its claims: more at once would have lists that are too old when their
    /// claims are made. Not held during the call.
    pub slots: Arc<Permits>,
    /// For a group that is not whole in the watch cache, for as long as it is in memory.
    pub rooms: Arc<Permits>,
    /// For one write of how a request goes on or ended.
    pub writes: Arc<Permits>,
    /// For one write of what a request waits for, of which no call was made.
    pub reports: Arc<Permits>,
    /// For one write of the status of a large object: one at a time is not felt by others, two are.
    pub large_writes: Arc<Permits>,
    /// For one write of what is known of a connection, which may be large, too.
    pub connection_reports: Arc<Permits>,
    /// For records, which must leave the API server to the writes that people wait for.
    pub recording: Arc<Permits>,
    /// Writes that do not come to their end.
    pub aside: Aside,
    /// The orphaned claims that get their record.
    pub resolving: Alone,
    /// Process lists, read once for all who wait for one.
    pub observer: Observer,
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
    answers: Arc<AnswerBudget>,
    api_clients: Mutex<HashMap<Addresses, oceanbase::Client>>,
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
    /// See [`Context`].
    pub connections: Store<GuardedConnection>,
    /// See [`Context`].
    pub metrics: Arc<Metrics>,
    /// See [`Context`].
    pub traces: Arc<Traces>,
    /// See [`Context`].
    pub queue: Queue,
    /// See [`Context`].
    pub unsent: Chores<unsent::Key>,
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
        let calls = Permits::new(config.max_concurrent_calls.into());
        let budget = usize::from(config.cache_budget_mib) << 20;
        let holder_identity = format!("{}_{}", config.identity, uuid::Uuid::new_v4());
        let answers = AnswerBudget::new(config.answer_budget_bytes);
        Arc::new(Self {
            answers,
            client,
            clock,
            config,
            holder_identity,
            leadership,
            requests,
            budget: Budget::new(budget),
            connections,
            queue,
            unsent,
            credentials: CredentialsCache::default(),
            connection_states: ConnectionStates::default(),
            live_claims: LiveClaims::default(),
            calls,
            housekeeping: Permits::new(HOUSEKEEPING_AT_ONCE),
            slots: Permits::new(SLOTS),
            rooms: Permits::by_namespace(ROOMS, ROOMS_OF_NAMESPACE),
            writes: Permits::of_writes(WRITES_AT_ONCE),
            reports: Permits::by_namespace(REPORTS_AT_ONCE, 1),
            large_writes: Permits::of_writes(1),
            connection_reports: Permits::of_writes(1),
            recording: Permits::of_quick(RECORDS_AT_ONCE),
            aside: Aside::default(),
            endings: Endings::default(),
            resolving: Alone::default(),
            observer: Observer::default(),
            metrics,
            traces,
            events,
            audit,
            tasks,
            api_clients: Mutex::default(),
        })
    }

    /// The places that the operator works in: namespaces by their names, or none for all of them at once.
    pub fn places(&self) -> Vec<Option<&str>> {
        self.config.watch_namespaces.as_ref().map_or_else(|| vec![None], |only| only.iter().map(Some).collect())
    }

    /// Objects of each of these places.
    pub fn everywhere<K>(&self) -> impl Iterator<Item = Api<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.places().into_iter().map(|place| objects_of(self.client.clone(), place))
    }

    /// Receipts of `namespace`.
    pub fn receipts(&self, namespace: &str) -> Api<SessionKillReceipt> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// For how long after its claim a call may be sent.
    pub fn dispatch_window(&self) -> SignedDuration {
        SignedDuration::from_secs(self.config.dispatch_window_seconds.into())
    }

    /// The API client for those of `namespace` who wait `request_timeout` for an answer, and call these addresses only;
    /// `clock` hears of the gateway's.
    /// There is one for each kind of addresses, as building one reads all certificates.
    pub fn api_client(
        &self,
        namespace: &str,
        request_timeout: Duration,
        addresses: Addresses,
        clock: Arc<ServerClock>,
    ) -> Result<oceanbase::Client, String> {
        let mut clients = self.api_clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.entry(addresses) {
            Entry::Occupied(client) => client.into_mut(),
            Entry::Vacant(place) => {
                let proxy = self.config.proxy.clone();
                let options = oceanbase::ClientOptions { request_timeout, addresses, proxy };
                let client = oceanbase::Client::new(&options);
                place.insert(client.map_err(|error| format!("cannot make an HTTP client: {error}"))?)
            }
        };
        Ok(client.sharing(request_timeout, (&self.answers, namespace), clock))
    }
}

/// Objects of `place`, which is a namespace or, if none, all of them.
pub fn objects_of<K>(client: Client, place: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match place {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}
