//! Issues keys: the first one from its source, and then the one of a role that is assumed with it. Does I/O.
//!
//! A source that fails is not replaced by another one.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::advice::refused;
use super::errors::{StsAction, TOKEN_EXPIRED, Unavailable};
use super::issue::{Issue, Issued, Watch};
use super::metadata::Metadata;
use super::oidc_token::OidcToken;
use super::operator_identity::{self, OperatorToken};
use super::service_account::{self, ServiceAccountTokens};
use super::source::{Base, Identity};
use super::sts::{Federated, Sts};
use crate::alibaba::{Endpoint, Transports};

/// Issues keys.
pub struct Issuer {
    sts: Sts,
    metadata: Metadata,
    operator: Option<OperatorToken>,
    tokens: Arc<dyn ServiceAccountTokens>,
}

/// Whose token it is.
#[derive(Clone, Copy)]
enum TokenOf<'a> {
    /// Of the `ServiceAccount` with this name, in the namespace of the identity.
    Account(&'a str),
    /// Of the operator's own.
    Operator(&'a OperatorToken),
}

impl Issuer {
    /// Issues keys by `transports`. `operator` is the operator's own identity, if its Pod has one, and `metadata` the
    /// address of the metadata service, if whoever runs the operator names another one.
    #[must_use]
    pub fn new(
        transports: Arc<Transports>,
        tokens: Arc<dyn ServiceAccountTokens>,
        operator: Option<OperatorToken>,
        metadata: Option<&Endpoint>,
        watch: Arc<dyn Watch>,
    ) -> Self {
        Self { sts: Sts::new(transports, watch), metadata: Metadata::new(metadata), operator, tokens }
    }

    /// The first key of `identity`.
    async fn first(&self, identity: &Identity) -> Result<Issued, Unavailable> {
        match &identity.base {
            Base::Secret(secret) => {
                // It has no end that is known.
                Ok(Issued { key: secret.key().clone(), lifetime: Duration::MAX, since: Instant::now() })
            }
            Base::Instance => self.metadata.issue().await,
            Base::ServiceAccount(account) => {
                let federated = Federated { role_arn: &account.role_arn, provider_arn: &account.oidc_provider_arn };
                self.by_token(identity, federated, TokenOf::Account(&account.name)).await
            }
            Base::Operator(operator) => {
                let own = self.operator.as_ref().ok_or_else(operator_identity::missing)?;
                let federated = Federated { role_arn: &operator.role_arn, provider_arn: &own.provider_arn };
                self.by_token(identity, federated, TokenOf::Operator(own)).await
            }
        }
    }

    /// The key that STS gives for a token. One that has expired on the way is replaced once.
    async fn by_token(
        &self,
        identity: &Identity,
        federated: Federated<'_>,
        of: TokenOf<'_>,
    ) -> Result<Issued, Unavailable> {
        let mut issued = self.sts.assume_role_with_oidc(identity, federated, &self.token(identity, of).await?).await;
        if issued.as_ref().is_err_and(|error| error.code == TOKEN_EXPIRED) {
            issued = self.sts.assume_role_with_oidc(identity, federated, &self.token(identity, of).await?).await;
        }
        issued.map_err(|error| refused(identity, StsAction::AssumeRoleWithOidc, federated.role_arn, &error))
    }

    async fn token(&self, identity: &Identity, of: TokenOf<'_>) -> Result<OidcToken, Unavailable> {
        match of {
            TokenOf::Account(name) => service_account::token(&*self.tokens, &identity.namespace, name).await,
            TokenOf::Operator(own) => own.token().await,
        }
    }

    /// The key that signs the calls of `identity`.
    async fn last(&self, identity: &Identity) -> Result<Issued, Unavailable> {
        let first = self.first(identity).await?;
        let Some(role) = &identity.role else { return Ok(first) };
        let issued = self.sts.assume_role(identity, role, &first.key).await;
        issued.map_err(|error| refused(identity, StsAction::AssumeRole, &role.arn, &error))
    }
}

impl Issue for Issuer {
    fn issue<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Issued, Unavailable>> {
        self.last(identity).boxed()
    }
}
