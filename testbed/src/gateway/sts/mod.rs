//! STS, beside `OpenAPI` on the same port.
//!
//! It hands out temporary keys for roles that trust the caller, or the subject of an OIDC token. Tokens are really
//! verified, with the keys of the API server that made them. Keys live as long as asked for, or as briefly as a test
//! needs.
//!
//! ```text
//! AssumeRole, GetCallerIdentity ── admission ── Signer ─────┐
//!                                                           ├─ wanted ─ trust ─ tokens ─ answers
//! AssumeRoleWithOIDC ── oidc ── issuer_keys ─ VerifiedToken ┘
//! ```

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use jiff::Timestamp;
use serde_json::Value;

pub mod answers;
pub mod cli;
pub mod instance;
pub mod issuer_keys;
pub mod oidc;
pub mod refusals;
pub mod roles;
pub mod standard;
pub mod tokens;
pub mod trust;
pub mod wanted;

use super::{
    errors::ApiError,
    identity::{Identity, Signer},
    request::Call,
};
use instance::InstanceRole;
use oidc::{Provider, VerifiedToken};
use refusals::TokenRefusal;
use roles::{OidcProvider, Role};
use tokens::IssuedKeys;
use wanted::Wanted;

/// The version of the API.
const API_VERSION: &str = "2015-04-01";
const WITH_TOKEN: &str = "AssumeRoleWithOIDC";

/// What STS knows. The keys that it hands out end with the gateway: one that starts later does not know them.
#[derive(Clone, Debug, Default)]
pub struct StsOptions {
    /// The roles.
    pub roles: Vec<Role>,
    /// The OIDC providers.
    pub providers: Vec<OidcProvider>,
    /// How long all temporary keys live, whatever is asked for. `None` means as long as asked for. Whole seconds.
    pub lifetime: Option<Duration>,
    /// The role of the instance, with a metadata service that hands out its keys.
    pub instance: Option<InstanceRole>,
}

/// The service.
pub struct Sts {
    roles: Vec<Role>,
    providers: Vec<Provider>,
    issued: Arc<IssuedKeys>,
}

/// Whether a call is for STS.
#[must_use]
pub fn is_for_sts(call: &Call) -> bool {
    call.api_version.as_deref() == Some(API_VERSION)
}

/// Whether a call shows an OIDC token in place of a signature.
#[must_use]
pub fn is_with_token(call: &Call) -> bool {
    call.action.as_deref() == Some(WITH_TOKEN)
}

impl Sts {
    /// Serves these roles and providers. Keys become known in `issued`.
    pub fn new(roles: Vec<Role>, providers: Vec<OidcProvider>, issued: Arc<IssuedKeys>) -> anyhow::Result<Self> {
        for (place, role) in roles.iter().enumerate() {
            ensure!(!roles[..place].iter().any(|it| it.arn == role.arn), "the role {} is there twice", role.arn);
        }
        Ok(Self { roles, providers: providers.into_iter().map(Provider::new).collect(), issued })
    }

    /// Verifies the token of `AssumeRoleWithOIDC`.
    pub async fn verify(&self, call: &Call, now: Timestamp) -> Result<VerifiedToken, ApiError> {
        let (arn, token) = (call.required("OIDCProviderArn")?, call.required("OIDCToken")?);
        let provider = self.providers.iter().find(|provider| provider.of.arn == arn);
        let provider = provider.ok_or(TokenRefusal::NoPermission)?;
        Ok(provider.verify(token, now).await?)
    }

    /// Executes `AssumeRoleWithOIDC`.
    pub fn assume_with(&self, token: &VerifiedToken, call: &Call, now: Timestamp) -> Result<Value, ApiError> {
        let wanted = Wanted::of(call, &self.roles)?;
        if !trust::trusts_subject(wanted.role, &token.provider.arn, &token.claims.sub) {
            return Err(TokenRefusal::NoPermission.into());
        }
        let (role, session_name) = (&wanted.role.arn, wanted.session_name);
        Ok(answers::assumed_with(token, &self.issue(&wanted, now), role, session_name))
    }

    /// Executes a call of somebody with a key.
    pub fn execute(&self, signer: &Signer, call: &Call, now: Timestamp) -> Result<Value, ApiError> {
        match call.action.as_deref() {
            None | Some("") => Err(ApiError::missing("Action")),
            Some("AssumeRole") => self.assume(signer, call, now),
            Some("GetCallerIdentity") => answers::identity(&signer.identity).ok_or_else(ApiError::unknown_access_key),
            Some(_) => Err(ApiError::unknown_action()),
        }
    }

    fn assume(&self, signer: &Signer, call: &Call, now: Timestamp) -> Result<Value, ApiError> {
        let wanted = Wanted::of(call, &self.roles)?;
        let is_trusted = trust::trusts(wanted.role, &signer.identity, call.optional("ExternalId"));
        if !is_trusted || !signer.may("sts:AssumeRole") {
            return Err(refusals::no_permission());
        }
        Ok(answers::assumed(&self.issue(&wanted, now), &wanted.role.arn, wanted.session_name))
    }

    fn issue(&self, wanted: &Wanted<'_>, now: Timestamp) -> tokens::IssuedKey {
        let identity = Identity::AssumedRole {
            role_arn: wanted.role.arn.to_string(),
            session_name: wanted.session_name.to_owned(),
        };
        self.issued.issue(Signer { identity, policy: wanted.policy.clone() }, wanted.duration, now)
    }
}
