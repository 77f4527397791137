//! The source `serviceAccountRef`: a token of a `ServiceAccount`, which whoever knows Kubernetes makes. No I/O of its own.

use futures::future::BoxFuture;
use secrecy::SecretString;
use sessionkill_api::WaitReason;

use super::errors::Unavailable;
use super::oidc_token::OidcToken;

/// Makes tokens of `ServiceAccounts`.
pub trait ServiceAccountTokens: Send + Sync {
    /// A new token of the `ServiceAccount` `name` in `namespace`, for the audience `sts.aliyuncs.com` alone, that lives for
    /// 600 s. It must refuse a `ServiceAccount` without the label before it makes one. The token is used once and dropped.
    fn token<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<SecretString, TokenError>>;
}

/// Why there is no token. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The `ServiceAccount` is missing or not labelled, or the operator may not make tokens of it.
    #[error("{0}")]
    Refused(String),
    /// The API server did not answer.
    #[error("{0}")]
    NoAnswer(String),
}

/// A new token of the `ServiceAccount` `name` in `namespace`.
pub(super) async fn token(
    tokens: &dyn ServiceAccountTokens,
    namespace: &str,
    name: &str,
) -> Result<OidcToken, Unavailable> {
    let unavailable = |message| Unavailable::for_now(WaitReason::ServiceAccountUnavailable, message);
    let text = tokens.token(namespace, name).await.map_err(|error| match error {
        TokenError::Refused(message) => unavailable(message),
        TokenError::NoAnswer(message) => {
            unavailable(format!("no token of ServiceAccount {name} came from the API server ({message}): trying again"))
        }
    })?;
    OidcToken::new(&text).map_err(|what| {
        unavailable(format!(
            "the API server gave {what} for ServiceAccount {name}: check --api-audiences and what changes its answers"
        ))
    })
}
