//! The route to a connection: its backend with endpoint and credentials. Does I/O: reads the Secret.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::api::{AlibabaCloud, BackendSpec, Credentials, WaitReason};
use crate::backends::Backend;
use crate::backends::addresses::Addresses;
use crate::backends::credentials::{Calls, Identity};
#[cfg(feature = "scripted")]
use crate::backends::scripted::Script;
use crate::clock::ServerClock;
use crate::config::Config;
use crate::connections::allowed_use::AllowedUse;
use crate::connections::connection::Connection;
use crate::connections::identities::{Identities, Signed, Signer};
pub use crate::connections::route_error::RouteError;
use crate::connections::secrets::Secrets;
use crate::connections::services::Services;
use crate::connections::sql_route::SqlRoutes;
use crate::connections::states::ConnectionStates;
use crate::connections::stored::{Connections, Stored};
use crate::domain::backend::{CallError, ErrorKind};
use crate::domain::tenant::ConnectionKey;
use crate::metrics::Metrics;
use crate::metrics::labels::{Call, Code};
use crate::oceanbase::{AllowedEndpoint, AnswerBudget, Caller, Callers, Client, Endpoint, Gateway, Transports};

/// What a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Kills, and lists on the way to them.
    Kills,
    /// Lists only. If the connection has an access key of its own for them, no other one is asked for.
    Lists,
}

/// What is needed to call a connection.
pub struct Route {
    /// The right to use the connection.
    pub used: AllowedUse,
    /// What it is for.
    purpose: Purpose,
    /// What ends its sessions, with its endpoint, which is allowed, its credentials and its time-out.
    pub backend: Backend,
    /// Whose access keys sign its calls; none if the backend has no such.
    identities: Vec<Identity>,
}

impl Route {
    /// The connection.
    pub const fn connection(&self) -> &Connection {
        self.used.connection()
    }

    /// Whether its answers say nothing of kills, which have another access key.
    pub fn is_for_lists_alone(&self) -> bool {
        self.purpose == Purpose::Lists && lists_apart(self.connection())
    }
}

/// Whether lists of the connection are signed by another access key than kills.
pub fn lists_apart(connection: &Connection) -> bool {
    match &connection.spec().backend {
        BackendSpec::AlibabaCloud(alibaba_cloud) => alibaba_cloud.credentials.observe.is_some(),
        BackendSpec::Sql(_) => false,
        #[cfg(feature = "scripted")]
        BackendSpec::Scripted(_) => false,
    }
}

/// Makes the routes to all connections.
pub struct Routes {
    connections: Connections,
    states: Arc<ConnectionStates>,
    secrets: Arc<Secrets>,
    metrics: Arc<Metrics>,
    allow_endpoints: Vec<Endpoint>,
    transports: Arc<Transports>,
    identities: Identities,
    answers: Arc<AnswerBudget>,
    sql: SqlRoutes,
}

impl Routes {
    /// Routes to `connections`, as `config` allows. `client` reads Services.
    pub fn new(
        config: &Config,
        client: kube::Client,
        connections: Connections,
        states: Arc<ConnectionStates>,
        secrets: Arc<Secrets>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let transports = Arc::new(Transports::new(config.proxy.clone()));
        let identities = Identities::new(config, client.clone(), secrets.clone(), transports.clone(), &metrics);
        let sql = SqlRoutes {
            services: Services::new(client),
            secrets: secrets.clone(),
            allowed: config.allow_sql_hosts.clone(),
            api_server: std::env::var("KUBERNETES_SERVICE_HOST")
                .ok()
                .and_then(|it| it.parse().ok())
                .into_iter()
                .collect(),
            configs: Mutex::default(),
        };
        Self {
            sql,
            connections,
            states,
            secrets,
            metrics,
            allow_endpoints: config.allow_endpoints.clone(),
            transports,
            identities,
            answers: AnswerBudget::new(config.answer_budget_bytes),
        }
    }

    /// The connection with this key in the watch cache; the error says why there is none.
    pub fn connection(&self, key: &ConnectionKey) -> Result<Connection, String> {
        self.connections.get(key)
    }

    /// All connections.
    pub fn stored(&self) -> Stored {
        self.connections.all()
    }

    /// The route to the connection that may be used; reads its Secret unless cached.
    pub async fn to(&self, used: AllowedUse, purpose: Purpose) -> Result<Route, RouteError> {
        let connection = used.connection();
        let mut identities = vec![];
        let backend = match &connection.spec().backend {
            BackendSpec::AlibabaCloud(alibaba_cloud) => {
                let gateway;
                (gateway, identities) = self.gateway(&used, purpose, alibaba_cloud).await?;
                Backend::AlibabaCloud(gateway)
            }
            BackendSpec::Sql(sql) => {
                let known = self.states.memory(connection).sql;
                let timeout = request_timeout(connection);
                Backend::Sql(self.sql.database(connection, sql, (known, timeout)).await?)
            }
            #[cfg(feature = "scripted")]
            BackendSpec::Scripted(scripted) => Backend::Scripted(Script {
                address: scripted.address.clone(),
                request_timeout: request_timeout(connection),
            }),
        };
        Ok(Route { used, purpose, backend, identities })
    }

    /// The gateway of the connection that is `used`, which `alibaba_cloud` describes, and whose access keys sign its calls.
    async fn gateway(
        &self,
        used: &AllowedUse,
        purpose: Purpose,
        alibaba_cloud: &AlibabaCloud,
    ) -> Result<(Gateway, Vec<Identity>), RouteError> {
        let connection = used.connection();
        let unavailable = |reason, text: String| RouteError::Unavailable(reason, format!("{connection}: {text}"));
        let allowed = AllowedEndpoint::of(alibaba_cloud, &self.allow_endpoints)
            .map_err(|error| unavailable(WaitReason::EndpointNotAllowed, error.to_string()))?;
        let endpoint = allowed.endpoint();
        let clock = self.states.clock(connection);
        let client = self
            .api_client(used.namespace(), request_timeout(connection), endpoint.addresses(), clock)
            .map_err(|error| unavailable(WaitReason::EndpointUnreachable, error))?;
        let signed = Signed { connection, alibaba_cloud, endpoint, request_timeout: request_timeout(connection) };
        let (callers, identities) = self.callers(purpose, &allowed, signed).await?;
        let gateway = Gateway {
            client,
            callers,
            kill_operation: alibaba_cloud.kill_operation,
            stored_operation: connection.status().and_then(|status| status.operation),
            known: self.states.memory(connection).alibaba,
        };
        Ok((gateway, identities))
    }

    /// Who makes the calls that are `signed`, for this purpose, at the endpoint that is `allowed`; and whose access keys they
    /// have.
    async fn callers(
        &self,
        purpose: Purpose,
        allowed: &AllowedEndpoint,
        signed: Signed<'_>,
    ) -> Result<(Callers, Vec<Identity>), RouteError> {
        let caller = async |spec, calls| {
            let Signer { identity, access_key } = self.identities.signer(spec, calls, signed).await?;
            let key_source = identity.to_string();
            Ok::<_, RouteError>((Caller { access: allowed.clone().with(access_key), key_source }, identity))
        };
        let Credentials { identity, observe } = &signed.alibaba_cloud.credentials;
        let Some(observe) = observe else {
            let (all, identity) = caller(identity, Calls::All).await?;
            return Ok((Callers::Same(all), vec![identity]));
        };
        if purpose == Purpose::Lists {
            let (lists, observer) = caller(observe, Calls::Lists).await?;
            return Ok((Callers::Lists(lists), vec![observer]));
        }
        let (kills, killer) = caller(identity, Calls::Kills).await?;
        let (lists, observer) = caller(observe, Calls::Lists).await?;
        Ok((Callers::Apart { kills, lists }, vec![killer, observer]))
    }

    /// Makes a call that changes nothing; once more if it was refused for its time and the answer told the right one, which
    /// `call` then gets. Refused credentials are forgotten.
    pub async fn read<'a, T>(
        &self,
        route: &Route,
        operation: Call,
        call: impl Fn(Option<Timestamp>) -> BoxFuture<'a, Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let timed = async |server_time| {
            let started = Instant::now();
            let answer = call(server_time).await;
            if let Some(code) = answer.as_ref().map_or_else(Code::of, |_| Some(Code::Ok)) {
                self.metrics.called(operation, code, started.elapsed(), None);
            }
            answer
        };
        let mut answer = timed(None).await;
        if let Err(CallError { kind: ErrorKind::ClockRefused { server_time: Some(time) }, .. }) = answer {
            answer = timed(Some(time)).await;
        }
        if answer.as_ref().is_err_and(|error| error.kind == ErrorKind::CredentialsRejected) {
            self.forget_credentials(route);
        }
        answer
    }

    /// A new route, with a new access key, if `error` of the call of `action` may mean that the temporary key that signed it
    /// has expired: the call was refused before it was executed, so that a new attempt is safe. `None` if it means something
    /// else, or if a new key was refused as well.
    pub async fn renewed(&self, route: &Route, action: &str, error: &CallError) -> Option<Route> {
        let is_worth_while = self.renews(route, action, error);
        if is_worth_while { self.to(route.used.clone(), route.purpose).await.ok() } else { None }
    }

    /// Like [`Self::renewed`], for callers that make their next route themselves.
    pub fn renews(&self, route: &Route, action: &str, error: &CallError) -> bool {
        let key = route.backend.expired_key(action, error);
        key.is_some_and(|key| self.identities.rejected(&route.identities, key))
    }

    /// What is left of the access key that expires first; `None` if no temporary one is in use.
    pub fn least_left(&self) -> Option<Duration> {
        self.identities.least_left()
    }

    /// Drops access keys that have expired and are not needed any more.
    pub fn prune(&self) {
        self.identities.prune();
    }

    /// Forgets the credentials, as they were refused.
    pub fn forget_credentials(&self, route: &Route) {
        let connection = route.connection();
        for secret in connection.spec().backend.secret_names() {
            self.secrets.forget(connection.home(), secret);
        }
    }

    /// The API client for calls of `namespace` to `addresses` only, with `request_timeout`; `clock` learns the
    /// gateway's time.
    fn api_client(
        &self,
        namespace: &str,
        request_timeout: Duration,
        addresses: Addresses,
        clock: Arc<ServerClock>,
    ) -> Result<Client, String> {
        let transport = self.transports.to(addresses)?;
        Ok(Client::over(transport, request_timeout, (&self.answers, namespace), clock))
    }
}

fn request_timeout(connection: &Connection) -> Duration {
    Duration::from_secs(u64::try_from(connection.spec().request_timeout_seconds).unwrap_or(1))
}
