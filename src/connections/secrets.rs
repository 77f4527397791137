//! Reads the credentials of a connection. Does I/O: GETs one Secret by name, as a list or watch would read all.

use std::pin::pin;
use std::sync::Arc;

use futures::{AsyncBufRead, AsyncBufReadExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::core::Request;
use kube::{Client, Resource as _};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::connections::secret_cache::{Cache, Held, MISSING, Named, Read, Version, identity};
use crate::connections::sql_secret::SqlSecret;
use crate::connections::states::ConnectionStates;
use crate::connections::stored::Connections;
use crate::kubernetes::calls::{ApiError, found};
use crate::oceanbase::{AccessKey, Endpoint};
use crate::queue::lanes::Queue;

/// The most Secrets read at once: each may hold 1 MB, far more than an access key.
const READ_AT_ONCE: usize = 8;

/// The most bytes read of a Secret: the API server stores at most 1 MiB of data, base64 adds a third, and metadata may
/// take as much again.
const MAX_BODY: usize = 4 << 20;

/// Initial buffer, in bytes: enough for a Secret with only an access key.
const USUAL_BODY: usize = 8 << 10;

/// Why there is no access key.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The Secret is missing, unreadable or not labelled, or lacks a key: the text says what to do.
    #[error("{0}")]
    Unavailable(String),
    /// The API server did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Reads the Secrets of connections, and caches them for seconds.
pub struct Secrets {
    client: Client,
    connections: Connections,
    states: Arc<ConnectionStates>,
    queue: Arc<Queue>,
    cache: Cache,
    reading: Semaphore,
}

impl Secrets {
    /// Reads the Secrets of `connections`; wakes the requests in `queue` that wait for a changed one.
    pub fn new(client: Client, connections: Connections, states: Arc<ConnectionStates>, queue: Arc<Queue>) -> Self {
        Self { client, connections, states, queue, cache: Cache::default(), reading: Semaphore::new(READ_AT_ONCE) }
    }

    /// The access key in the Secret `name` of `namespace`, if it may be used at `endpoint`.
    pub async fn access_key(
        &self,
        namespace: &str,
        name: &str,
        endpoint: &Endpoint,
    ) -> Result<AccessKey, CredentialsError> {
        let held = self.held(namespace, name).await?;
        let stored = held.and_then(|held| held.access_key);
        stored.and_then(|stored| stored.for_endpoint(name, endpoint)).map_err(CredentialsError::Unavailable)
    }

    /// What the Secret `name` of `namespace` holds for a connection to a database.
    pub async fn sql(&self, namespace: &str, name: &str) -> Result<SqlSecret, CredentialsError> {
        let held = self.held(namespace, name).await?;
        held.and_then(|held| held.sql).map_err(CredentialsError::Unavailable)
    }

    /// Forgets the access key, as the gateway refused it.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.cache.forget(namespace, name);
    }

    /// Drops expired entries, so that no unused key stays in memory.
    pub fn prune(&self) {
        self.cache.prune();
    }

    /// Reads a Secret again that requests wait for, unless it was read within the last 1 s.
    pub async fn look_again(&self, namespace: &str, name: &str) -> Result<(), ApiError> {
        let key = (namespace.to_owned(), name.to_owned());
        let _turn = self.reading.acquire().await;
        if !self.cache.read_within(&key, MISSING) {
            let _read = self.read_anew(key).await?;
        }
        Ok(())
    }

    /// The Secrets that requests wait for, by namespace and name.
    pub fn awaited(&self) -> Vec<(String, String)> {
        let connections = self.connections.readable().into_iter();
        let awaited = connections.filter(|connection| self.states.is_secret_awaited(connection));
        let secrets = awaited.flat_map(|connection| {
            let home = connection.home().to_owned();
            let names: Vec<String> = connection.spec().backend.secret_names().into_iter().map(str::to_owned).collect();
            names.into_iter().map(move |name| (home.clone(), name))
        });
        secrets.collect()
    }

    /// The content of the Secret, read unless cached. The inner error says why there is none; the outer, that no answer
    /// came.
    async fn held(&self, namespace: &str, name: &str) -> Result<Result<Held, String>, ApiError> {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(read) = self.cache.get(&key) {
            return Ok(read);
        }
        let _turn = self.reading.acquire().await;
        // The previous holder of the permit may have read it.
        if let Some(read) = self.cache.get(&key) {
            return Ok(read);
        }
        self.read_anew(key).await
    }

    /// Reads and caches the Secret. The read that sees a change wakes all that wait for the Secret.
    async fn read_anew(&self, key: Named) -> Result<Result<Held, String>, ApiError> {
        let (namespace, name) = key.clone();
        let (version, read) = get(&self.client, &namespace, &name).await?;
        if self.cache.keep(key, (version, read.clone())) {
            self.wake(&namespace, &name);
        }
        Ok(read)
    }

    /// Wakes all that wait for a connection with this Secret.
    fn wake(&self, namespace: &str, secret: &str) {
        for connection in self.connections.readable() {
            if connection.spec().backend.secret_names().contains(&secret) && connection.home() == namespace {
                self.states.unblock(&connection);
                self.queue.wake(&connection.key());
            }
        }
    }
}

/// Reads the Secret; a missing or refused one is a result too, not an error.
async fn get(client: &Client, namespace: &str, name: &str) -> Result<Read, ApiError> {
    match found("read Secret", body(client, namespace, name)).await {
        Ok(Some(body)) => Ok((Version::Of(identity(&body)), Ok(Held::read(name, &body)))),
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

/// The Secret as the API server sends it: kube's own `get` would leave copies in memory, as text and decoded.
async fn body(client: &Client, namespace: &str, name: &str) -> Result<Zeroizing<Vec<u8>>, kube::Error> {
    let request = Request::new(Secret::url_path(&(), Some(namespace)));
    let request = request.get(name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
    cleared(client.request_stream(request).await?).await.map_err(|error| kube::Error::Service(error.into()))
}

/// The whole body, in memory that is cleared on drop; an outgrown buffer is cleared too.
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
