//! Makes tokens of `ServiceAccounts` for STS. Does I/O: reads one by name, and makes a token of it.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use secrecy::SecretString;

use crate::api::CREDENTIALS_LABEL;
use crate::backends::credentials::{ServiceAccountTokens, TokenError};
use crate::kubernetes::calls::{bounded, found};

/// Whom the tokens are for. The API server takes no token that is for nobody else, so it is worth nothing in Kubernetes.
const AUDIENCE: &str = "sts.aliyuncs.com";

/// How many seconds a token lives: the least that the API server grants. It is used once, at once.
const LIFETIME: i64 = 600;

/// Makes tokens by the operator's own client.
pub struct Tokens {
    client: Client,
}

impl Tokens {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Succeeds if the `ServiceAccount` exists, the operator may read it, and it is labelled. Otherwise says what to do.
    pub async fn check(&self, namespace: &str, name: &str) -> Result<(), TokenError> {
        let account = match found("read ServiceAccount", self.accounts(namespace).get(name)).await {
            Ok(account) => account.ok_or_else(|| {
                TokenError::Refused(format!("ServiceAccount {name} does not exist: create it in namespace {namespace}"))
            })?,
            Err(error) if error.is_refused() => {
                let what = format!("it may not be read ({error})");
                return Err(TokenError::Refused(ungranted(namespace, name, &what)));
            }
            Err(error) => return Err(TokenError::NoAnswer(error.to_string())),
        };
        if account.metadata.labels.is_none_or(|labels| labels.get(CREDENTIALS_LABEL).is_none_or(|it| it != "true")) {
            return Err(TokenError::Refused(format!(
                "ServiceAccount {name} is not labelled for this use: kubectl label serviceaccount {name} --namespace {namespace} \
                 {CREDENTIALS_LABEL}=true"
            )));
        }
        Ok(())
    }

    async fn make(&self, namespace: &str, name: &str) -> Result<SecretString, TokenError> {
        // Before a token is made: whoever may write connections could otherwise act as any ServiceAccount.
        self.check(namespace, name).await?;
        let spec = TokenRequestSpec {
            audiences: vec![AUDIENCE.to_owned()],
            expiration_seconds: Some(LIFETIME),
            bound_object_ref: None,
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let params = PostParams::default();
        let accounts = self.accounts(namespace);
        let made = accounts.create_token_request(name, &params, &request);
        match bounded("make a token of ServiceAccount", made).await {
            Ok(made) => Ok(made.status.map(|status| status.token).unwrap_or_default().into()),
            Err(error) if error.is_not_found() => {
                Err(TokenError::Refused(format!("ServiceAccount {name} does not exist any more: create it")))
            }
            Err(error) if error.is_refused() => {
                let what = format!("no token of it may be made ({error})");
                Err(TokenError::Refused(ungranted(namespace, name, &what)))
            }
            Err(error) => Err(TokenError::NoAnswer(error.to_string())),
        }
    }

    fn accounts(&self, namespace: &str) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// A sentence about a right on a `ServiceAccount` that is missing, and how to grant it.
pub fn ungranted(namespace: &str, name: &str, what: &str) -> String {
    format!(
        "ServiceAccount {name}: {what}: let the operator's own ServiceAccount do that in namespace {namespace}, by \
         rbac.serviceAccountTokens of the chart or by a RoleBinding there"
    )
}

impl ServiceAccountTokens for Tokens {
    fn token<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<SecretString, TokenError>> {
        self.make(namespace, name).boxed()
    }
}
