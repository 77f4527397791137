//! How a connection is called: its client, its endpoint, its access key. Does I/O: reads the Secret.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::api_calls::ApiError;
use super::context::Context;
use super::credentials::{CredentialsError, access_key};
use crate::api::{Network, OceanBaseConnection, OceanBaseConnectionSpec, SignatureMethod, WaitReason};
use crate::metrics::labels::{Call, Code};
use crate::oceanbase::endpoint::EndpointError;
use crate::oceanbase::{Access, CallError, Client, Endpoint, ErrorKind, TimeSource};

/// How a connection is called.
pub struct Route {
    /// The connection.
    pub connection: Arc<OceanBaseConnection>,
    /// With the connection's time-out.
    pub client: Client,
    /// Where it is called, which is allowed, and as whom.
    pub access: Access,
}

/// Why a connection cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Until somebody changes something: the text says what.
    #[error("{1}")]
    Unavailable(WaitReason, String),
    /// The API server did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Route {
    /// How `connection` is called.
    pub async fn of(context: &Context, connection: Arc<OceanBaseConnection>) -> Result<Self, RouteError> {
        let name = connection.name_any();
        let unavailable =
            |reason, text: String| RouteError::Unavailable(reason, format!("OceanBaseConnection {name}: {text}"));
        let spec = &connection.spec;
        let endpoint = endpoint(spec, &context.config.allow_endpoints)
            .map_err(|error| unavailable(WaitReason::EndpointNotAllowed, error.to_string()))?;
        let signature_v1 = spec.signature_method == SignatureMethod::HmacSha1;
        if signature_v1 && !endpoint.is_named_by_flag() {
            return Err(unavailable(WaitReason::EndpointNotAllowed, unsafe_signature(&endpoint)));
        }
        let seconds = u64::try_from(spec.request_timeout_seconds).unwrap_or(1);
        let namespace = connection.namespace().unwrap_or_default();
        let client = context
            .api_client(
                &namespace,
                Duration::from_secs(seconds),
                endpoint.addresses(),
                context.connection_states.clock(&connection),
            )
            .map_err(|error| unavailable(WaitReason::EndpointUnreachable, error))?;
        let secret = &spec.credentials.secret_ref.name;
        let access_key = match access_key(context, &namespace, secret, &endpoint).await {
            Ok(access_key) => access_key,
            Err(CredentialsError::Api(error)) => return Err(error.into()),
            Err(CredentialsError::Unavailable(message)) => {
                return Err(RouteError::Unavailable(WaitReason::CredentialsUnavailable, message));
            }
        };
        Ok(Self { access: Access { endpoint, access_key, signature_v1 }, client, connection })
    }

    /// Makes a call that changes nothing, stamped by the gateway's clock as far as it is known; once more if that turns out
    /// to be another. A refused access key is forgotten.
    pub async fn read<'a, T>(
        &self,
        context: &Context,
        operation: Call,
        call: impl Fn(SignedDuration) -> BoxFuture<'a, Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let call = async |lead| {
            let started = Instant::now();
            let answer = call(lead).await;
            if let Some(code) = answer.as_ref().map_or_else(Code::of, |_| Some(Code::Ok)) {
                context.metrics.called(operation, code, started.elapsed(), None);
            }
            answer
        };
        let lead = match context.connection_states.time_source(&self.connection) {
            TimeSource::CurrentTime { gateway_lead } => gateway_lead,
            TimeSource::DispatchDeadline => SignedDuration::ZERO,
        };
        let mut answer = call(lead).await;
        if let Err(CallError { kind: ErrorKind::TimeStampRefused { gateway_time: Some(gateway_time) }, .. }) = answer {
            answer = call(gateway_time.duration_since(Timestamp::now())).await;
        }
        if answer.as_ref().is_err_and(|error| error.kind == ErrorKind::CredentialsRejected) {
            self.forget_access_key(context);
        }
        answer
    }

    /// Forgets the access key: the gateway refused it.
    pub fn forget_access_key(&self, context: &Context) {
        let secret = &self.connection.spec.credentials.secret_ref.name;
        context.credentials.forget(&self.connection.namespace().unwrap_or_default(), secret);
    }
}

/// The connection of this name, as the watch shows it; the error says why there is none.
pub fn connection(context: &Context, namespace: &str, name: &str) -> Result<Arc<OceanBaseConnection>, String> {
    let key = ObjectRef::new(name).within(namespace);
    match context.connections.get(&key).as_deref().map(|guarded| &guarded.0) {
        Some(Ok(connection)) => Ok(connection.clone()),
        Some(Err(invalid)) => Err(format!(
            "OceanBaseConnection {name} cannot be read ({}): delete it and create a valid one",
            invalid.error
        )),
        None => Err(format!("OceanBaseConnection {name} does not exist in namespace {namespace}: create it")),
    }
}

fn endpoint(connection: &OceanBaseConnectionSpec, allowed: &[Endpoint]) -> Result<Endpoint, EndpointError> {
    let vpc = connection.network == Network::Vpc;
    match &connection.endpoint {
        Some(custom) => Endpoint::custom(custom, vpc, allowed),
        None => Endpoint::regional(&connection.region_id, vpc, allowed),
    }
}

/// Who receives a request that is signed so could send it on to another gateway that knows the key.
fn unsafe_signature(endpoint: &Endpoint) -> String {
    format!(
        "signatureMethod HMAC-SHA1 does not cover the host {}: set it to ACS3-HMAC-SHA256, or have the operator started with \
         --allow-endpoint for this endpoint",
        endpoint.host_header()
    )
}
