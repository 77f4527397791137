//! The client of the Security Token Service: two actions that issue keys. Does I/O.
//!
//! No token and no secret is in a URL, and no redirect is followed.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use sessionkill_core::backend::{CallError, ErrorKind};
use sessionkill_core::credentials::lifetime;
use tokio::time::Instant;
use uuid::Uuid;

use super::answer::{MAX_BYTES, of_sts};
use super::errors::StsAction;
use super::issue::{Issued, Watch};
use super::oidc_token::OidcToken;
use super::source::{Identity, OIDC_DURATION, Role};
use crate::access_key::AccessKey;
use crate::alibaba::shares::Shares;
use crate::alibaba::signed_request::SignedRequest;
use crate::alibaba::transport::Transport;
use crate::alibaba::{Access, Stamp, Transports};

/// The longest that a call may take in total.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The most calls at once, over all namespaces: STS answers 100 in a second. One namespace alone gets half of them.
const AT_ONCE: usize = 4;

/// The client.
pub struct Sts {
    transports: Arc<Transports>,
    turns: Arc<Shares>,
    watch: Arc<dyn Watch>,
}

/// What an OIDC token is sent for.
#[derive(Clone, Copy)]
pub struct Federated<'a> {
    /// The ARN of the role.
    pub role_arn: &'a str,
    /// The ARN of the OIDC provider that RAM has for the cluster.
    pub provider_arn: &'a str,
}

impl Sts {
    /// A client that sends by `transports`.
    #[must_use]
    pub fn new(transports: Arc<Transports>, watch: Arc<dyn Watch>) -> Self {
        Self { transports, turns: Shares::new(AT_ONCE), watch }
    }

    /// A key of `role`, which `key` assumes for `identity`. Signed as all calls through the connection are.
    pub async fn assume_role(&self, identity: &Identity, role: &Role, key: &AccessKey) -> Result<Issued, CallError> {
        let access = Access {
            endpoint: identity.sts.endpoint.clone(),
            access_key: key.clone(),
            signature_v1: identity.sts.signature_v1,
        };
        let (action, form) = (StsAction::AssumeRole, assume_role_form(identity, role));
        let sign = |stamp: &Stamp| SignedRequest::of_sts(action.as_str(), &form, stamp, &access);
        self.issue(identity, action, sign, (role.duration, key)).await
    }

    /// A key of the role that `token` opens for `identity`. Not signed: the token is all that is needed.
    pub async fn assume_role_with_oidc(
        &self,
        identity: &Identity,
        federated: Federated<'_>,
        token: &OidcToken,
    ) -> Result<Issued, CallError> {
        let (action, form) = (StsAction::AssumeRoleWithOidc, oidc_form(identity, federated, token));
        let endpoint = &identity.sts.endpoint;
        let prepare = |stamp: &Stamp| Ok(SignedRequest::unsigned(action.as_str(), &form, stamp, endpoint));
        // The token takes the place of a key in what the answer must not repeat.
        let secret = AccessKey { id: String::new(), secret: "".into(), security_token: Some(token.secret().clone()) };
        self.issue(identity, action, prepare, (OIDC_DURATION, &secret)).await
    }

    /// Sends the request that `prepare` makes with a stamp; once more if STS refused its time and told the right one.
    async fn issue(
        &self,
        identity: &Identity,
        action: StsAction,
        prepare: impl Fn(&Stamp) -> Result<SignedRequest, CallError> + Send + Sync,
        (asked_for, secret): (Duration, &AccessKey),
    ) -> Result<Issued, CallError> {
        let _turn = self.turns.take(&identity.namespace.as_str().into()).await;
        let transport = self.transports.to(identity.sts.endpoint.addresses());
        let transport = transport.map_err(|error| CallError::local(ErrorKind::Unreachable, "Unreachable", error))?;
        let once = async |lead: SignedDuration| {
            let stamp = Stamp::of_read(lead, Timestamp::now(), Uuid::new_v4());
            let request = transport.prepare(prepare(&stamp)?)?;
            let since = Instant::now();
            let issued = exchange(&transport, request, (asked_for, secret), since).await;
            self.watch.called(action, since.elapsed());
            issued
        };
        match once(SignedDuration::ZERO).await {
            Err(CallError { kind: ErrorKind::ClockRefused { server_time: Some(time) }, .. }) => {
                once(time.duration_since(Timestamp::now())).await
            }
            answer => answer,
        }
    }
}

/// Sends `request` at `since`, and reads the key in the answer.
async fn exchange(
    transport: &Transport,
    request: reqwest::Request,
    (asked_for, secret): (Duration, &AccessKey),
    since: Instant,
) -> Result<Issued, CallError> {
    let (head, body) = transport.exchange(request, TIMEOUT, MAX_BYTES).await?.split();
    let body = body.whole().await?;
    let read = of_sts(head.with(body.as_slice()), secret)?;
    // By the clock of STS if its answer tells it: the operator's may be wrong.
    let now = head.gateway_time.unwrap_or_else(Timestamp::now);
    let lifetime = lifetime(read.expiration, now, Some(asked_for)).ok_or_else(|| {
        let message = "the access key that came has expired already: check the clock of the operator's node";
        CallError::local(ErrorKind::Ambiguous, "ExpiredAnswer", message)
    })?;
    Ok(Issued { key: read.key, lifetime, since })
}

/// The parameters of `AssumeRole`. Unset ones are left out, as the official clients do.
#[must_use]
pub fn assume_role_form(identity: &Identity, role: &Role) -> Vec<(&'static str, String)> {
    let mut form = vec![("DurationSeconds", role.duration.as_secs().to_string())];
    form.extend(role.external_id.clone().map(|id| ("ExternalId", id)));
    form.extend(identity.policy.clone().map(|policy| ("Policy", policy)));
    form.push(("RoleArn", role.arn.clone()));
    form.push(("RoleSessionName", identity.session_name.clone()));
    form
}

/// The parameters of `AssumeRoleWithOIDC`. A policy limits the last key only: the first one of two needs the right to
/// assume the other role.
fn oidc_form(identity: &Identity, federated: Federated<'_>, token: &OidcToken) -> Vec<(&'static str, String)> {
    let mut form = vec![
        ("DurationSeconds", OIDC_DURATION.as_secs().to_string()),
        ("OIDCProviderArn", federated.provider_arn.to_owned()),
        ("OIDCToken", token.secret().expose_secret().to_owned()),
    ];
    let policy = identity.policy.clone().filter(|_| identity.role.is_none());
    form.extend(policy.map(|policy| ("Policy", policy)));
    form.push(("RoleArn", federated.role_arn.to_owned()));
    form.push(("RoleSessionName", identity.session_name.clone()));
    form
}
