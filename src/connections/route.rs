//! The route to a connection: its client, its endpoint, its access key. Does I/O: reads the Secret.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::api::{AlibabaCloud, Network, OceanBaseConnection, SignatureMethod, WaitReason};
use crate::clock::ServerClock;
use crate::config::Config;
use crate::connections::secrets::{CredentialsError, Secrets};
use crate::connections::states::ConnectionStates;
use crate::domain::backend::{CallError, ErrorKind};
use crate::kubernetes::calls::ApiError;
use crate::kubernetes::watch::stored_request::GuardedConnection;
use crate::metrics::Metrics;
use crate::metrics::labels::{Call, Code};
use crate::oceanbase::endpoint::EndpointError;
use crate::oceanbase::{Access, Addresses, AnswerBudget, Client, ClientOptions, Endpoint, TimeSource};

/// What is needed to call a connection.
pub struct Route {
    /// The connection.
    pub connection: Arc<OceanBaseConnection>,
    /// The API client, with the connection's time-out.
    pub client: Client,
    /// The endpoint, which is allowed, and the access key.
    pub access: Access,
}

/// Why a connection cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Not until somebody changes something: the text says what.
    #[error("{1}")]
    Unavailable(WaitReason, String),
    /// The API server did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
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
}

impl Routes {
    /// Routes to `connections`, as `config` allows.
    pub fn new(
        config: &Config,
        connections: Store<GuardedConnection>,
        states: Arc<ConnectionStates>,
        secrets: Arc<Secrets>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
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
        let name = connection.name_any();
        let unavailable =
            |reason, text: String| RouteError::Unavailable(reason, format!("OceanBaseConnection {name}: {text}"));
        let alibaba_cloud = connection.spec.alibaba_cloud();
        let endpoint = endpoint(alibaba_cloud, &self.allow_endpoints)
            .map_err(|error| unavailable(WaitReason::EndpointNotAllowed, error.to_string()))?;
        let signature_v1 = alibaba_cloud.signature_method == SignatureMethod::HmacSha1;
        if signature_v1 && !endpoint.is_named_by_flag() {
            return Err(unavailable(WaitReason::EndpointNotAllowed, unsafe_signature(&endpoint)));
        }
        let seconds = u64::try_from(connection.spec.request_timeout_seconds).unwrap_or(1);
        let namespace = connection.namespace().unwrap_or_default();
        let client = self
            .api_client(&namespace, Duration::from_secs(seconds), endpoint.addresses(), self.states.clock(&connection))
            .map_err(|error| unavailable(WaitReason::EndpointUnreachable, error))?;
        let secret = &alibaba_cloud.credentials.secret_ref.name;
        let access_key = match self.secrets.access_key(&namespace, secret, &endpoint).await {
            Ok(access_key) => access_key,
            Err(CredentialsError::Api(error)) => return Err(error.into()),
            Err(CredentialsError::Unavailable(message)) => {
                return Err(RouteError::Unavailable(WaitReason::CredentialsUnavailable, message));
            }
        };
        Ok(Route { access: Access { endpoint, access_key, signature_v1 }, client, connection })
    }

    /// Makes a call that changes nothing, stamped by the gateway's clock if known; once more if the gateway refuses the
    /// time stamp and tells its time. A refused access key is forgotten.
    pub async fn read<'a, T>(
        &self,
        route: &Route,
        operation: Call,
        call: impl Fn(SignedDuration) -> BoxFuture<'a, Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let call = async |lead| {
            let started = Instant::now();
            let answer = call(lead).await;
            if let Some(code) = answer.as_ref().map_or_else(Code::of, |_| Some(Code::Ok)) {
                self.metrics.called(operation, code, started.elapsed(), None);
            }
            answer
        };
        let lead = match self.states.time_source(&route.connection) {
            TimeSource::CurrentTime { gateway_lead } => gateway_lead,
            TimeSource::DispatchDeadline => SignedDuration::ZERO,
        };
        let mut answer = call(lead).await;
        if let Err(CallError { kind: ErrorKind::TimeStampRefused { gateway_time: Some(gateway_time) }, .. }) = answer {
            answer = call(gateway_time.duration_since(Timestamp::now())).await;
        }
        if answer.as_ref().is_err_and(|error| error.kind == ErrorKind::CredentialsRejected) {
            self.forget_access_key(route);
        }
        answer
    }

    /// Forgets the access key, as the gateway refused it.
    pub fn forget_access_key(&self, route: &Route) {
        let secret = &route.connection.spec.alibaba_cloud().credentials.secret_ref.name;
        self.secrets.forget(&route.connection.namespace().unwrap_or_default(), secret);
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

fn endpoint(alibaba_cloud: &AlibabaCloud, allowed: &[Endpoint]) -> Result<Endpoint, EndpointError> {
    let vpc = alibaba_cloud.network == Network::Vpc;
    match &alibaba_cloud.endpoint {
        Some(custom) => Endpoint::custom(custom, vpc, allowed),
        None => Endpoint::regional(&alibaba_cloud.region_id, vpc, allowed),
    }
}

/// Why HMAC-SHA1 is refused: the receiver could replay the request at another gateway that knows the key.
fn unsafe_signature(endpoint: &Endpoint) -> String {
    format!(
        "signatureMethod HMAC-SHA1 does not cover the host {}: set it to ACS3-HMAC-SHA256, or have the operator started with \
         --allow-endpoint for this endpoint",
        endpoint.host_header()
    )
}
