//! Reads the access key of a connection. GETs one Secret by name: no list and no watch, which would mean reading all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use secrecy::SecretString;

use super::api_calls::{ApiError, found};
use super::context::Context;
use crate::api::{CREDENTIALS_LABEL, SecretKeys};
use crate::oceanbase::AccessKey;

/// For how long an access key is kept: long enough for a burst, short enough that a rotated key is noticed at once.
const KEPT: Duration = Duration::from_secs(5);

/// Why there is no access key.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The Secret is missing, may not be read, is not labelled, or lacks a key: the text says what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The API server did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Access keys by namespace and keys of a Secret, each kept for seconds.
#[derive(Default)]
pub struct CredentialsCache(Mutex<HashMap<(String, SecretKeys), (Instant, AccessKey)>>);

impl CredentialsCache {
    fn get(&self, key: &(String, SecretKeys)) -> Option<AccessKey> {
        let kept = self.kept();
        kept.get(key).filter(|(since, _)| since.elapsed() < KEPT).map(|(_, access_key)| access_key.clone())
    }

    /// Forgets what a Secret holds: the gateway refused it.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.kept().retain(|(of, keys), _| of != namespace || keys.name != name);
    }

    /// Forgets what is out of date, so that no unused key stays in memory.
    pub fn prune(&self) {
        self.kept().retain(|_, (since, _)| since.elapsed() < KEPT);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<(String, SecretKeys), (Instant, AccessKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access key that `keys` names in `namespace`.
pub async fn access_key(context: &Context, namespace: &str, keys: &SecretKeys) -> Result<AccessKey, CredentialsError> {
    let key = (namespace.to_owned(), keys.clone());
    if let Some(access_key) = context.credentials.get(&key) {
        return Ok(access_key);
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let name = &keys.name;
    let secret = match found("read Secret", secrets.get(name)).await {
        Ok(found) => found.ok_or_else(|| format!("secret {name} does not exist: create it in namespace {namespace}")),
        Err(error) if error.is_refused() => Err(format!(
            "secret {name} may not be read ({error}): let the operator's service account get it in namespace {namespace}"
        )),
        Err(error) => return Err(error.into()),
    };
    let secret = secret.map_err(CredentialsError::Unavailable)?;
    let access_key = read(&secret, keys).map_err(CredentialsError::Unavailable)?;
    context.credentials.kept().insert(key, (Instant::now(), access_key.clone()));
    Ok(access_key)
}

/// Takes the access key out of `secret`. The label is checked before the data is looked at: without it, a connection could
/// make the operator send any Secret of its namespace to an endpoint.
fn read(secret: &Secret, keys: &SecretKeys) -> Result<AccessKey, String> {
    let name = &keys.name;
    let label = secret.metadata.labels.as_ref().and_then(|labels| labels.get(CREDENTIALS_LABEL));
    if label.map(String::as_str) != Some("true") {
        return Err(format!(
            "secret {name} is not labelled for this use: kubectl label secret {name} {CREDENTIALS_LABEL}=true"
        ));
    }
    let required = |key: &str| {
        value(secret, key)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("secret {name} has no key {key}: add it"))
    };
    Ok(AccessKey {
        id: required(&keys.access_key_id_key)?,
        secret: SecretString::from(required(&keys.access_key_secret_key)?),
        security_token: value(secret, &keys.security_token_key)?.filter(|t| !t.is_empty()).map(SecretString::from),
    })
}

/// The text under `key`, without the line break that `base64` and editors leave at the end.
fn value(secret: &Secret, key: &str) -> Result<Option<String>, String> {
    let Some(ByteString(bytes)) = secret.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map(str::trim).unwrap_or_default();
    if bytes.is_empty() || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())) {
        return Ok(Some(text.to_owned()));
    }
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    Err(format!("key {key} of secret {name} does not hold a key of Alibaba Cloud: it has blanks or other characters"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    fn keys() -> SecretKeys {
        serde_json::from_value(json!({"name": "ak"})).unwrap()
    }

    fn secret(labelled: bool, data: &[(&str, &str)]) -> Secret {
        let mut secret: Secret = serde_json::from_value(json!({"metadata": {"name": "ak"}})).unwrap();
        if labelled {
            secret.metadata.labels = Some([(CREDENTIALS_LABEL.to_owned(), "true".to_owned())].into());
        }
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        secret.data = Some(data.collect());
        secret
    }

    #[test]
    fn an_unlabelled_secret_is_not_read() {
        let error = read(&secret(false, &[("accessKeyID", "id"), ("accessKeySecret", "s")]), &keys()).unwrap_err();
        assert!(error.contains("kubectl label secret ak sessionkill.dev/credentials=true"), "{error}");
    }

    #[test]
    fn line_breaks_at_the_end_are_dropped() {
        let data = [("accessKeyID", "id\n"), ("accessKeySecret", "s\r\n"), ("securityToken", "t\n")];
        let key = read(&secret(true, &data), &keys()).unwrap();
        assert_eq!((key.id.as_str(), key.secret.expose_secret()), ("id", "s"));
        assert_eq!(key.security_token.unwrap().expose_secret(), "t");
    }

    #[test]
    fn missing_and_malformed_keys_are_named_without_their_values() {
        let error = read(&secret(true, &[("accessKeyID", "id")]), &keys()).unwrap_err();
        assert_eq!(error, "secret ak has no key accessKeySecret: add it");
        let error = read(&secret(true, &[("accessKeyID", "i d"), ("accessKeySecret", "s")]), &keys()).unwrap_err();
        assert!(error.contains("accessKeyID") && !error.contains("i d"), "{error}");
    }

    #[test]
    fn an_empty_token_means_a_long_term_key() {
        let data = [("accessKeyID", "id"), ("accessKeySecret", "s"), ("securityToken", "")];
        assert!(read(&secret(true, &data), &keys()).unwrap().security_token.is_none());
    }
}
