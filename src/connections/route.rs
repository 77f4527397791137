//! The route to a connection: its backend with endpoint and credentials. Does I/O: reads the Secret.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::api::{AlibabaCloud, BackendSpec, OceanBaseConnection, WaitReason};
use crate::backends::Backend;
use crate::backends::addresses::Addresses;
#[cfg(feature = "scripted")]
use crate::backends::scripted::Script;
use crate::clock::ServerClock;
use crate::config::Config;
pub use crate::connections::route_error::RouteError;
use crate::connections::secrets::{CredentialsError, Secrets};
use crate::connections::services::Services;
use crate::connections::sql_route::SqlRoutes;
use crate::connections::states::ConnectionStates;
use crate::domain::backend::{CallError, ErrorKind};
use crate::kubernetes::watch::stored_request::GuardedConnection;
use crate::metrics::Metrics;
use crate::metrics::labels::{Call, Code};
use crate::oceanbase::{AllowedEndpoint, AnswerBudget, Client, ClientOptions, Endpoint, Gateway};

/// What is needed to call a connection.
pub struct Route {
    /// The connection.
    pub connection: Arc<OceanBaseConnection>,
    /// What ends its sessions, with its endpoint, which is allowed, its credentials and its time-out.
    pub backend: Backend,
}

/// Makes the routes to all connections.
pub struct Routes {
    connections: Store<GuardedConnection>,
    states: Arc<ConnectionStates>,
    secrets: Arc<Secrets>,
    metrics: Arc<Metrics>,
    allow_endpoints: Vec<Endpoint>,
    proxy: Option<String>,
    answers: Arc<AnswerBudget>,
    api_clients: Mutex<HashMap<Addresses, Client>>,
    sql: SqlRoutes,
}

impl Routes {
    /// Routes to `connections`, as `config` allows. `client` reads Services.
    pub fn new(
        config: &Config,
        client: kube::Client,
        connections: Store<GuardedConnection>,
        states: Arc<ConnectionStates>,
        secrets: Arc<Secrets>,
        metrics: Arc<Metrics>,
    ) -> Self {
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
            proxy: config.proxy.clone(),
            answers: AnswerBudget::new(config.answer_budget_bytes),
            api_clients: Mutex::default(),
        }
    }

    /// The connection of this name in the watch cache; the error says why there is none.
    pub fn connection(&self, namespace: &str, name: &str) -> Result<Arc<OceanBaseConnection>, String> {
        let key = ObjectRef::new(name).within(namespace);
        match self.connections.get(&key).as_deref().map(|guarded| &guarded.0) {
            Some(Ok(connection)) => Ok(connection.clone()),
            Some(Err(invalid)) => Err(format!(
                "OceanBaseConnection {name} cannot be read ({}): replace it by a valid one, or delete it",
                invalid.error
            )),
            None => Err(format!("OceanBaseConnection {name} does not exist in namespace {namespace}: create it")),
        }
    }

    /// All connections, including unreadable ones.
    pub fn stored(&self) -> Vec<Arc<GuardedConnection>> {
        self.connections.state()
    }

    /// The route to `connection`; reads its Secret unless cached.
    pub async fn to(&self, connection: Arc<OceanBaseConnection>) -> Result<Route, RouteError> {
        let backend = match &connection.spec.backend {
            BackendSpec::AlibabaCloud(alibaba_cloud) => {
                Backend::AlibabaCloud(self.gateway(&connection, alibaba_cloud).await?)
            }
            BackendSpec::Sql(sql) => {
                let known = self.states.memory(&connection).sql;
                let timeout = request_timeout(&connection);
                Backend::Sql(self.sql.database(&connection, sql, (known, timeout)).await?)
            }
            #[cfg(feature = "scripted")]
            BackendSpec::Scripted(scripted) => Backend::Scripted(Script {
                address: scripted.address.clone(),
                request_timeout: request_timeout(&connection),
            }),
        };
        Ok(Route { connection, backend })
    }

    /// The gateway of `connection`, which `alibaba_cloud` describes.
    async fn gateway(
        &self,
        connection: &OceanBaseConnection,
        alibaba_cloud: &AlibabaCloud,
    ) -> Result<Gateway, RouteError> {
        let name = connection.name_any();
        let unavailable =
            |reason, text: String| RouteError::Unavailable(reason, format!("OceanBaseConnection {name}: {text}"));
        let allowed = AllowedEndpoint::of(alibaba_cloud, &self.allow_endpoints)
            .map_err(|error| unavailable(WaitReason::EndpointNotAllowed, error.to_string()))?;
        let endpoint = allowed.endpoint();
        let namespace = connection.namespace().unwrap_or_default();
        let clock = self.states.clock(connection);
        let client = self
            .api_client(&namespace, request_timeout(connection), endpoint.addresses(), clock)
            .map_err(|error| unavailable(WaitReason::EndpointUnreachable, error))?;
        let secret = &alibaba_cloud.credentials.secret_ref.name;
        let access_key = match self.secrets.access_key(&namespace, secret, endpoint).await {
            Ok(access_key) => access_key,
            Err(CredentialsError::Api(error)) => return Err(error.into()),
            Err(CredentialsError::Unavailable(message)) => {
                return Err(RouteError::Unavailable(WaitReason::CredentialsUnavailable, message));
            }
        };
        Ok(Gateway {
            client,
            access: allowed.with(access_key),
            key_source: format!("Secret {secret}"),
            kill_operation: alibaba_cloud.kill_operation,
            stored_operation: connection.status.as_ref().and_then(|status| status.operation),
            known: self.states.memory(connection).alibaba,
        })
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

    /// Forgets the credentials, as they were refused.
    pub fn forget_credentials(&self, route: &Route) {
        if let Some(secret) = route.connection.spec.backend.secret_name() {
            self.secrets.forget(&route.connection.namespace().unwrap_or_default(), secret);
        }
    }

    /// The API client for calls of `namespace` to `addresses` only, with `request_timeout`; `clock` learns the
    /// gateway's time. All calls to one kind of addresses share one HTTP client, as building one reads all
    /// certificates.
    fn api_client(
        &self,
        namespace: &str,
        request_timeout: Duration,
        addresses: Addresses,
        clock: Arc<ServerClock>,
    ) -> Result<Client, String> {
        let mut clients = self.api_clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.entry(addresses) {
            Entry::Occupied(client) => client.into_mut(),
            Entry::Vacant(place) => {
                let proxy = self.proxy.clone();
                let options = ClientOptions { request_timeout, addresses, proxy };
                let client = Client::new(&options);
                place.insert(client.map_err(|error| format!("cannot make an HTTP client: {error}"))?)
            }
        };
        Ok(client.sharing(request_timeout, (&self.answers, namespace), clock))
    }
}

fn request_timeout(connection: &OceanBaseConnection) -> Duration {
    Duration::from_secs(u64::try_from(connection.spec.request_timeout_seconds).unwrap_or(1))
}
