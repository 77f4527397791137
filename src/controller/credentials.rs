//! Reads the access key of a connection. GETs one Secret by name: no list and no watch, which would mean reading all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{AsyncBufRead, AsyncBufReadExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::core::Request;
use kube::{Client, Resource as _, ResourceExt as _};
use serde::Deserialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::api_calls::{ApiError, found};
use super::context::Context;
use super::secret::Stored;
use crate::oceanbase::{AccessKey, Endpoint};

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

/// The bytes that are read of a Secret: the API server stores no more than 1 MiB of data, a third more as base64, and as
/// much again of metadata.
const MAX_BODY: usize = 4 << 20;

/// Room for a Secret with nothing but an access key.
const USUAL_BODY: usize = 8 << 10;

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

/// Access keys by namespace and name of a Secret, each kept for seconds; and why there is none.
pub struct CredentialsCache {
    kept: Mutex<HashMap<Named, Kept>>,
    reading: Semaphore,
}

/// A namespace, and the name of a Secret there.
type Named = (String, String);

struct Kept {
    since: Instant,
    version: Version,
    /// None once it was forgotten.
    read: Option<Result<Stored, String>>,
}

/// Which version of a Secret was read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    Of(Identity),
    Missing,
    Refused,
}

/// What tells one version of a Secret from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// What a Secret says, and in which version.
type Read = (Version, Result<Stored, String>);

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
    fn get(&self, key: &Named) -> Option<Result<Stored, String>> {
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
        if let Some(kept) = self.kept().get_mut(&(namespace.to_owned(), name.to_owned())) {
            kept.read = None;
        }
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

/// The access key in the Secret `name` of `namespace`, if it may be used at `endpoint`.
pub async fn access_key(
    context: &Context,
    namespace: &str,
    name: &str,
    endpoint: &Endpoint,
) -> Result<AccessKey, CredentialsError> {
    let stored = stored(context, namespace, name).await?;
    stored.and_then(|stored| stored.for_endpoint(name, endpoint)).map_err(CredentialsError::Unavailable)
}

/// What the Secret holds, read if it is not known. The inner error says why there is no access key in it; the outer one,
/// that nobody can tell.
async fn stored(context: &Context, namespace: &str, name: &str) -> Result<Result<Stored, String>, ApiError> {
    let cache = &context.credentials;
    let key = (namespace.to_owned(), name.to_owned());
    if let Some(read) = cache.get(&key) {
        return Ok(read);
    }
    let _turn = cache.reading.acquire().await;
    // Somebody who had a turn before may have read it.
    if let Some(read) = cache.get(&key) {
        return Ok(read);
    }
    read_anew(context, key).await
}

/// Reads the Secret again that requests wait for, unless somebody just has.
pub async fn look_again(context: &Context, namespace: &str, name: &str) -> Result<(), ApiError> {
    let key = (namespace.to_owned(), name.to_owned());
    let _turn = context.credentials.reading.acquire().await;
    if !context.credentials.read_within(&key, MISSING) {
        let _read = read_anew(context, key).await?;
    }
    Ok(())
}

/// Reads the Secret and keeps what it says. Whoever sees that it has changed wakes all that wait for it.
async fn read_anew(context: &Context, key: Named) -> Result<Result<Stored, String>, ApiError> {
    let (namespace, name) = key.clone();
    let (version, read) = get(&context.client, &namespace, &name).await?;
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

/// Reads the Secret.
async fn get(client: &Client, namespace: &str, name: &str) -> Result<Read, ApiError> {
    match found("read Secret", body(client, namespace, name)).await {
        Ok(Some(body)) => Ok((Version::Of(identity(&body)), Stored::read(name, &body))),
        Ok(None) => {
            let why = format!("secret {name} does not exist: create it in namespace {namespace}");
            Ok((Version::Missing, Err(why)))
        }
        Err(error) if error.is_refused() => {
            let why = format!(
                "secret {name} may not be read ({error}): let the operator's service account get it in namespace \
                 {namespace}, by rbac.secretsNamespaces of the chart or by a RoleBinding there"
            );
            Ok((Version::Refused, Err(why)))
        }
        Err(error) => Err(error),
    }
}

fn identity(body: &[u8]) -> Identity {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Identified {
        metadata: Identity,
    }
    serde_json::from_slice::<Identified>(body).unwrap_or_default().metadata
}

/// The Secret as the API server sends it. kube's own `get` would leave copies of it in memory, as text and decoded.
async fn body(client: &Client, namespace: &str, name: &str) -> Result<Zeroizing<Vec<u8>>, kube::Error> {
    let request = Request::new(Secret::url_path(&(), Some(namespace)));
    let request = request.get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
    cleared(client.request_stream(request).await?).await.map_err(|error| kube::Error::Service(error.into()))
}

/// All that comes, in memory that is cleared, also where it becomes too small.
async fn cleared(from: impl AsyncBufRead) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut from = pin!(from);
    let mut body = Zeroizing::new(Vec::with_capacity(USUAL_BODY));
    loop {
        let piece = from.fill_buf().await?;
        let (come, needed) = (piece.len(), body.len() + piece.len());
        if come == 0 {
            return Ok(body);
        }
        if needed > MAX_BODY {
            return Err(std::io::Error::other("it is larger than any Secret"));
        }
        if needed > body.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * needed));
            larger.extend_from_slice(&body);
            body = larger;
        }
        body.extend_from_slice(piece);
        from.consume_unpin(come);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        let body = r#"{"metadata": {"labels": {"sessionkill.dev/credentials": "true"}},
            "data": {"accessKeyID": "aWQ=", "accessKeySecret": "cw=="}}"#;
        Stored::read("ak", body.as_bytes()).unwrap()
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_the_newest_stays() {
        let cache = CredentialsCache::default();
        let named = |number: usize| (format!("ns-{number}"), "ak".to_owned());
        for number in 0..2 * MOST {
            let read = if number % 2 == 0 { Ok(stored()) } else { Err("missing".to_owned()) };
            cache.keep(named(number), (Version::Missing, read));
            assert!(cache.kept().len() <= MOST);
        }
        assert!(cache.get(&named(2 * MOST - 1)).unwrap().is_err() && cache.get(&named(2 * MOST - 2)).unwrap().is_ok());
        assert!(cache.get(&named(0)).is_none());
    }

    #[test]
    fn that_there_is_none_is_remembered_for_a_shorter_time() {
        let cache = CredentialsCache::default();
        let of = |name: &str| ("ns".to_owned(), name.to_owned());
        cache.keep(of("there"), (Version::Missing, Ok(stored())));
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
        let key = || ("ns".to_owned(), "ak".to_owned());
        let version = |number: u32| {
            let body = format!(r#"{{"metadata": {{"uid": "u", "resourceVersion": "{number}"}}, "data": {{}}}}"#);
            Version::Of(identity(body.as_bytes()))
        };
        assert!(!cache.keep(key(), (Version::Missing, Err("missing".to_owned()))), "nobody has waited for it yet");
        assert!(!cache.keep(key(), (Version::Missing, Err("missing".to_owned()))));
        assert!(cache.keep(key(), (version(1), Err("not labelled".to_owned()))));
        assert!(cache.keep(key(), (version(2), Ok(stored()))));
        cache.forget("ns", "ak");
        assert!(cache.get(&key()).is_none() && !cache.read_within(&key(), KEPT), "the gateway refused it");
        assert!(!cache.keep(key(), (version(2), Ok(stored()))), "as it was");
        cache.forget("ns", "ak");
        cache.prune();
        assert!(cache.keep(key(), (version(3), Ok(stored()))));
        assert!(cache.keep(key(), (Version::Refused, Err("forbidden".to_owned()))));
    }

    #[tokio::test]
    async fn what_comes_in_pieces_is_read_whole_and_what_is_larger_than_any_secret_is_not() {
        for size in [0, 1, USUAL_BODY, USUAL_BODY + 1, 300_000, MAX_BODY] {
            let sent = vec![7_u8; size];
            let read = cleared(futures::io::BufReader::with_capacity(16_000, sent.as_slice())).await.unwrap();
            assert!(*read == sent, "{size}");
        }
        assert!(cleared(vec![7_u8; MAX_BODY + 1].as_slice()).await.is_err());
    }
}
