//! Reads the access key of a connection. GETs one Secret by name: no list and no watch, which would mean reading all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::api_calls::{ApiError, found};
use super::context::Context;
use crate::api::{CREDENTIALS_LABEL, SecretKeys};
use crate::oceanbase::AccessKey;

/// For how long an access key is kept: long enough for a burst, short enough that a rotated key is noticed at once.
const KEPT: Duration = Duration::from_secs(5);

/// For how long it is remembered that there is none: long enough that thousands of requests that wait for one Secret read it
/// once, short enough that nobody waits for a Secret that has come.
const MISSING: Duration = Duration::from_secs(1);

/// For how long it is remembered which version of a Secret was read, to tell that it has changed.
const REMEMBERED: Duration = Duration::from_mins(2);

/// The most access keys that are kept, each of up to ten kilobytes.
const MOST: usize = 500;

/// Secrets that are read at once: each may have a megabyte, of which a key is the least part.
const READ_AT_ONCE: usize = 8;

/// The most characters of an AccessKey ID, of a secret, and of a security token. Alibaba Cloud gives out 24, 30 and some
/// 1,000; for the token it names no limit.
const MAX_ID: usize = 128;
const MAX_SECRET: usize = 256;
const MAX_TOKEN: usize = 8 * 1024;

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

/// Access keys by namespace and keys of a Secret, each kept for seconds; and why there is none.
pub struct CredentialsCache {
    kept: Mutex<HashMap<Named, Kept>>,
    reading: Semaphore,
}

/// A namespace, and the keys of a Secret there.
type Named = (String, SecretKeys);

struct Kept {
    since: Instant,
    version: Version,
    /// None once it was forgotten.
    read: Option<Result<AccessKey, String>>,
}

/// Which version of a Secret was read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    Of { uid: Option<String>, resource_version: Option<String> },
    Missing,
    Refused,
}

/// What a Secret says, and in which version.
type Read = (Version, Result<AccessKey, String>);

impl Kept {
    fn is_fresh(&self) -> bool {
        let kept = self.read.as_ref().map(|read| if read.is_ok() { KEPT } else { MISSING });
        kept.is_some_and(|kept| self.since.elapsed() < kept)
    }
}

impl Default for CredentialsCache {
    fn default() -> Self {
        Self { kept: Mutex::default(), reading: Semaphore::new(READ_AT_ONCE) }
    }
}

impl CredentialsCache {
    fn get(&self, key: &Named) -> Option<Result<AccessKey, String>> {
        self.kept().get(key).filter(|kept| kept.is_fresh()).and_then(|kept| kept.read.clone())
    }

    /// What was read less than this time ago.
    fn read_within(&self, key: &Named, time: Duration) -> bool {
        self.kept().get(key).is_some_and(|kept| kept.read.is_some() && kept.since.elapsed() < time)
    }

    /// Keeps what was read, and tells whether the Secret has changed since it was read before. What is out of date, or else
    /// the oldest, makes room for it.
    fn keep(&self, key: Named, (version, read): Read) -> bool {
        let mut kept = self.kept();
        if kept.len() >= MOST && !kept.contains_key(&key) {
            kept.retain(|_, kept| kept.is_fresh());
        }
        if kept.len() >= MOST
            && !kept.contains_key(&key)
            && let Some(oldest) = kept.iter().min_by_key(|(_, kept)| kept.since).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        let now = Kept { since: Instant::now(), version, read: Some(read) };
        match kept.entry(key) {
            Entry::Occupied(mut place) => {
                let before = place.insert(now);
                before.version != place.get().version
            }
            Entry::Vacant(place) => {
                place.insert(now);
                false
            }
        }
    }

    /// Forgets what a Secret holds: the gateway refused it.
    pub fn forget(&self, namespace: &str, name: &str) {
        let mut kept = self.kept();
        let of_it = kept.iter_mut().filter(|((of, keys), _)| of == namespace && keys.name == name);
        of_it.for_each(|(_, kept)| kept.read = None);
    }

    /// Forgets what is out of date, so that no unused key stays in memory.
    pub fn prune(&self) {
        let mut all = self.kept();
        all.retain(|_, kept| kept.since.elapsed() < REMEMBERED);
        all.values_mut().filter(|kept| !kept.is_fresh()).for_each(|kept| kept.read = None);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Named, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access key that `keys` names in `namespace`.
pub async fn access_key(context: &Context, namespace: &str, keys: &SecretKeys) -> Result<AccessKey, CredentialsError> {
    let cache = &context.credentials;
    let key = (namespace.to_owned(), keys.clone());
    if let Some(read) = cache.get(&key) {
        return read.map_err(CredentialsError::Unavailable);
    }
    let _turn = cache.reading.acquire().await;
    // Somebody who had a turn before may have read it.
    let read = match cache.get(&key) {
        Some(read) => read,
        None => read_anew(context, key).await?,
    };
    read.map_err(CredentialsError::Unavailable)
}

/// Reads the Secret again that requests wait for, unless somebody just has.
pub async fn look_again(context: &Context, namespace: &str, keys: &SecretKeys) -> Result<(), ApiError> {
    let key = (namespace.to_owned(), keys.clone());
    let _turn = context.credentials.reading.acquire().await;
    if !context.credentials.read_within(&key, MISSING) {
        let _read = read_anew(context, key).await?;
    }
    Ok(())
}

/// Reads the Secret and keeps what it says. Whoever sees that it has changed wakes all that wait for it.
async fn read_anew(context: &Context, key: Named) -> Result<Result<AccessKey, String>, ApiError> {
    let (namespace, name) = (key.0.clone(), key.1.name.clone());
    let (version, read) = get(context, &key.0, &key.1).await?;
    if context.credentials.keep(key, (version, read.clone())) {
        wake(context, &namespace, &name);
    }
    Ok(read)
}

/// Wakes all that wait for a connection whose Secret this is.
fn wake(context: &Context, namespace: &str, secret: &str) {
    for guarded in context.connections.state() {
        let Ok(connection) = &guarded.0 else { continue };
        let is_of_it = connection.spec.credentials.secret_ref.name == secret;
        if is_of_it && connection.metadata.namespace.as_deref() == Some(namespace) {
            context.connection_states.unblock(connection);
            context.queue.wake(namespace, &connection.name_any());
        }
    }
}

/// Reads the Secret. The inner error says why there is no access key in it; the outer one, that nobody can tell.
async fn get(context: &Context, namespace: &str, keys: &SecretKeys) -> Result<Read, ApiError> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let name = &keys.name;
    match found("read Secret", secrets.get(name)).await {
        Ok(Some(secret)) => {
            let version = Version::Of { uid: secret.uid(), resource_version: secret.resource_version() };
            Ok((version, read(&secret, keys)))
        }
        Ok(None) => {
            let why = format!("secret {name} does not exist: create it in namespace {namespace}");
            Ok((Version::Missing, Err(why)))
        }
        Err(error) if error.is_refused() => {
            let why = format!(
                "secret {name} may not be read ({error}): let the operator's service account get it in namespace \
                 {namespace}"
            );
            Ok((Version::Refused, Err(why)))
        }
        Err(error) => Err(error),
    }
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
    let required = |key: &str, max| {
        value(secret, key, max)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("secret {name} has no key {key}: add it"))
    };
    let token = value(secret, &keys.security_token_key, MAX_TOKEN)?;
    Ok(AccessKey {
        id: required(&keys.access_key_id_key, MAX_ID)?,
        secret: SecretString::from(required(&keys.access_key_secret_key, MAX_SECRET)?),
        security_token: token.filter(|text| !text.is_empty()).map(SecretString::from),
    })
}

/// The text under `key`, of `max` characters at most, without the line break that `base64` and editors leave at the end.
fn value(secret: &Secret, key: &str, max: usize) -> Result<Option<String>, String> {
    let Some(ByteString(bytes)) = secret.data.as_ref().and_then(|data| data.get(key)) else { return Ok(None) };
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let trimmed = bytes.trim_ascii();
    if trimmed.len() > max {
        let length = trimmed.len();
        return Err(format!(
            "key {key} of secret {name} does not hold a key of Alibaba Cloud: it has {length} characters, and {max} at most \
             may be there: write nothing else into it"
        ));
    }
    let text = std::str::from_utf8(trimmed).unwrap_or_default();
    if bytes.is_empty() || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())) {
        return Ok(Some(text.to_owned()));
    }
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

    #[test]
    fn what_is_larger_than_any_key_is_refused_without_its_value() {
        let long = "x".repeat(700_000);
        let good = [("accessKeyID", "id"), ("accessKeySecret", "s"), ("securityToken", "t")];
        for (place, key) in ["accessKeyID", "accessKeySecret", "securityToken"].into_iter().enumerate() {
            let mut data = good;
            data[place].1 = &long;
            let error = read(&secret(true, &data), &keys()).unwrap_err();
            assert!(
                error.contains(&format!("key {key} of secret ak")) && error.contains("700000 characters"),
                "{error}"
            );
            assert!(error.len() < 300, "{error}");
        }
        let longest = [("accessKeyID", &long[..MAX_ID]), ("accessKeySecret", &long[..MAX_SECRET])];
        let longest = [longest[0], longest[1], ("securityToken", &long[..MAX_TOKEN])];
        assert!(read(&secret(true, &longest), &keys()).is_ok());
    }

    fn access_key(id: &str) -> AccessKey {
        AccessKey { id: id.to_owned(), secret: "s".into(), security_token: None }
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_the_newest_stays() {
        let cache = CredentialsCache::default();
        let named = |number: usize| (format!("ns-{number}"), keys());
        for number in 0..2 * MOST {
            let read = if number % 2 == 0 { Ok(access_key("id")) } else { Err("missing".to_owned()) };
            cache.keep(named(number), (Version::Missing, read));
            assert!(cache.kept().len() <= MOST);
        }
        assert!(cache.get(&named(2 * MOST - 1)).unwrap().is_err() && cache.get(&named(2 * MOST - 2)).unwrap().is_ok());
        assert!(cache.get(&named(0)).is_none());
    }

    #[test]
    fn that_there_is_none_is_remembered_for_a_shorter_time() {
        let cache = CredentialsCache::default();
        let of = |name: &str| ("ns".to_owned(), SecretKeys { name: name.to_owned(), ..keys() });
        cache.keep(of("there"), (Version::Missing, Ok(access_key("id"))));
        cache.keep(of("missing"), (Version::Missing, Err("missing".to_owned())));
        assert!(cache.get(&of("missing")).unwrap().is_err());
        let ages = |age: Duration| cache.kept().values_mut().for_each(|kept| kept.since -= age);
        ages(MISSING);
        assert!(cache.get(&of("missing")).is_none() && cache.get(&of("there")).is_some());
        cache.prune();
        let holds_key = |name| cache.kept().get(&of(name)).is_some_and(|kept| kept.read.is_some());
        assert!(holds_key("there") && !holds_key("missing"));
        ages(KEPT);
        assert!(cache.get(&of("there")).is_none());
        cache.prune();
        assert!(!holds_key("there"), "no unused key stays in memory");
        ages(REMEMBERED);
        cache.prune();
        assert!(cache.kept().is_empty());
    }

    #[test]
    fn a_secret_that_has_come_or_changed_is_noticed_by_whoever_reads_it_next() {
        let cache = CredentialsCache::default();
        let key = || ("ns".to_owned(), keys());
        let version =
            |number: &str| Version::Of { uid: Some("u".to_owned()), resource_version: Some(number.to_owned()) };
        assert!(!cache.keep(key(), (Version::Missing, Err("missing".to_owned()))), "nobody has waited for it yet");
        assert!(!cache.keep(key(), (Version::Missing, Err("missing".to_owned()))));
        assert!(cache.keep(key(), (version("1"), Err("not labelled".to_owned()))));
        assert!(cache.keep(key(), (version("2"), Ok(access_key("id")))));
        cache.forget("ns", "ak");
        assert!(cache.get(&key()).is_none() && !cache.read_within(&key(), KEPT), "the gateway refused it");
        assert!(!cache.keep(key(), (version("2"), Ok(access_key("id")))), "as it was");
        cache.forget("ns", "ak");
        cache.prune();
        assert!(cache.keep(key(), (version("3"), Ok(access_key("id")))));
        assert!(cache.keep(key(), (Version::Refused, Err("forbidden".to_owned()))));
    }
}
