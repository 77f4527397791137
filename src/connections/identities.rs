//! Whose access keys sign the calls of a connection. Does I/O: reads Secrets, and has other keys issued.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{AlibabaCloud, CredentialSource, IdentitySpec, Network, WaitReason};
use crate::backends::credentials::{Calls, Identity, Issuer, Keys, Place, Unavailable, Watch};
use crate::config::Config;
use crate::connections::connection::Connection;
use crate::connections::renewals::Renewals;
use crate::connections::route_error::RouteError;
use crate::connections::secrets::{CredentialsError, Secrets};
use crate::connections::service_account_tokens::Tokens;
use crate::domain::connection::lent::Lent;
use crate::metrics::Metrics;
use crate::oceanbase::{AccessKey, Endpoint, Transports};

/// Gives the access keys of identities.
pub struct Identities {
    secrets: Arc<Secrets>,
    keys: Keys,
    lent: Vec<Lent>,
    cluster: Option<String>,
    sts_endpoint: Option<Endpoint>,
}

/// Whose calls are signed, and with which access key.
pub struct Signer {
    pub identity: Identity,
    pub access_key: AccessKey,
}

/// The calls that an identity signs.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    pub connection: &'a Connection,
    pub alibaba_cloud: &'a AlibabaCloud,
    /// Where the calls go.
    pub endpoint: &'a Endpoint,
    /// The longest that a call may take.
    pub request_timeout: Duration,
}

impl Identities {
    /// Keys are issued as `config` says, by `transports`; `client` makes tokens.
    pub fn new(
        config: &Config,
        client: kube::Client,
        secrets: Arc<Secrets>,
        transports: Arc<Transports>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let watch: Arc<dyn Watch> = Arc::new(Renewals(metrics.clone()));
        let own = &config.keys.own;
        let tokens = Arc::new(Tokens::new(client));
        let issuer =
            Issuer::new(transports, tokens, own.token(), config.keys.metadata_endpoint.as_ref(), watch.clone());
        Self {
            secrets,
            keys: Keys::new(Arc::new(issuer), watch),
            lent: own.allow_identities.clone(),
            cluster: own.cluster_name.clone(),
            sts_endpoint: config.keys.sts_endpoint.clone(),
        }
    }

    /// The identity that `spec` describes, with an access key for `calls` that outlives each of them.
    pub async fn signer(&self, spec: &IdentitySpec, calls: Calls, signed: Signed<'_>) -> Result<Signer, RouteError> {
        let Signed { connection, alibaba_cloud, request_timeout, .. } = signed;
        let namespace = connection.home();
        self.may_use(spec, connection)?;
        let place = Place {
            namespace,
            connection: connection.name(),
            cluster: self.cluster.as_deref(),
            sts_endpoint: self.sts_endpoint.as_ref(),
        };
        let secret_key = self.secret_key(spec, signed).await?;
        let unavailable =
            |Unavailable { reason, message, .. }| RouteError::Unavailable(reason, format!("{connection}: {message}"));
        let identity = Identity::of(spec, calls, alibaba_cloud, &place, secret_key).map_err(unavailable)?;
        match self.keys.access_key(&identity, request_timeout).await {
            Ok(access_key) => Ok(Signer { identity, access_key }),
            Err(error) => {
                if let (WaitReason::CredentialsRejected, Some(secret)) = (error.reason, spec.secret_name()) {
                    // A corrected Secret is used at once.
                    self.secrets.forget(namespace, secret);
                }
                Err(unavailable(error))
            }
        }
    }

    /// Forgets the keys of `identities` that are `key`, as a call was refused as if it had expired. Returns whether a new
    /// attempt is worth while now, with another key.
    pub fn rejected(&self, identities: &[Identity], key: &AccessKey) -> bool {
        // Each must hear of it.
        identities.iter().filter(|identity| self.keys.rejected(identity, key)).count() > 0
    }

    /// What is left of the key that expires first; `None` if none is in use.
    pub fn least_left(&self) -> Option<Duration> {
        self.keys.least_left()
    }

    /// Drops keys that have expired and are not needed any more.
    pub fn prune(&self) {
        self.keys.prune();
    }

    /// Refuses rights that nobody in the namespace holds, unless the operator's own flags lend them to it.
    fn may_use(&self, spec: &IdentitySpec, connection: &Connection) -> Result<(), RouteError> {
        let namespace = connection.home();
        let Some(wanted) = Lent::wanted(namespace, &spec.source) else { return Ok(()) };
        if self.lent.contains(&wanted) {
            return Ok(());
        }
        Err(RouteError::Unavailable(
            WaitReason::IdentityNotAllowed,
            format!(
                "{connection}: the operator does not lend this identity to namespace {namespace}: have it run \
                 with --allow-identity {wanted}, or use secretRef or serviceAccountRef"
            ),
        ))
    }

    /// The access key of the Secret that `spec` names, if it names one.
    async fn secret_key(&self, spec: &IdentitySpec, signed: Signed<'_>) -> Result<Option<AccessKey>, RouteError> {
        let CredentialSource::Secret(secret) = &spec.source else { return Ok(None) };
        let sts = match &spec.assume_role {
            Some(_) => Some(self.sts_endpoint(signed.alibaba_cloud)?),
            None => None,
        };
        match self
            .secrets
            .access_key(signed.connection.home(), &secret.name, sts.as_ref().unwrap_or(signed.endpoint))
            .await
        {
            Ok(access_key) => Ok(Some(access_key)),
            Err(CredentialsError::Api(error)) => Err(error.into()),
            Err(CredentialsError::Unavailable(message)) => {
                Err(RouteError::Unavailable(WaitReason::CredentialsUnavailable, message))
            }
        }
    }
}

impl Identities {
    /// Where the access key of a Secret goes if a role is assumed with it.
    fn sts_endpoint(&self, alibaba_cloud: &AlibabaCloud) -> Result<Endpoint, RouteError> {
        let is_vpc = alibaba_cloud.network == Network::Vpc;
        let endpoint = Endpoint::sts(&alibaba_cloud.region_id, is_vpc, self.sts_endpoint.as_ref());
        endpoint.map_err(|error| RouteError::Unavailable(WaitReason::EndpointNotAllowed, error.to_string()))
    }
}
