//! Whether a namespace may use a connection. Does I/O: GETs one Namespace by name, where a connection selects namespaces by
//! their labels.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{GetParams, Request};
use kube::{Client, Resource as _};
use serde::Deserialize;

use crate::api::WaitReason;
use crate::connections::connection::Connection;
use crate::connections::stored::Connections;
use crate::domain::connection::allowed::{Labels, is_named, is_selected, refusal};
use crate::domain::tenant::TenantKey;
use crate::kubernetes::calls::{ApiError, found};
use crate::queue::permits::Permits;

/// A claim is made only if the labels were read less than 1 s before: they may have been taken away since.
const FRESH: Duration = Duration::from_secs(1);

/// The most Namespaces read at once, in all and for one namespace: the labels of each may take a megabyte.
const READ_AT_ONCE: usize = 8;
const READ_AT_ONCE_OF_ONE: usize = 2;

/// The right to use a connection for requests of one namespace, as it was found just now. Nothing is called without it.
#[derive(Debug)]
pub struct AllowedUse {
    connection: Connection,
    namespace: String,
    began: Instant,
    /// When it was last found out.
    asked: Mutex<Instant>,
}

/// Why a connection cannot be used for requests of a namespace.
#[derive(Debug)]
pub enum NotAllowed {
    /// It does not allow the namespace; the text says what to do.
    Refused(String),
    /// Somebody must change something before it can be told.
    Waits(WaitReason, String),
    /// The API server did not answer.
    Unanswered(ApiError),
}

/// The same right, as old as this one.
impl Clone for AllowedUse {
    fn clone(&self) -> Self {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let Self { connection, namespace, began, .. } = self;
        Self { connection: connection.clone(), namespace: namespace.clone(), began: *began, asked: Mutex::new(asked) }
    }
}

impl AllowedUse {
    /// The use of `connection` by the operator itself, to find out whether it works.
    pub fn by_operator(connection: Connection) -> Self {
        let namespace = connection.home().to_owned();
        Self::new(connection, namespace)
    }

    fn new(connection: Connection, namespace: String) -> Self {
        let began = Instant::now();
        Self { connection, namespace, began, asked: Mutex::new(began) }
    }

    /// The connection.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The namespace whose requests use it. What they take of what is shared counts for this namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// When the use began: all that was read of the other side was read after this.
    pub const fn began(&self) -> Instant {
        self.began
    }
}

/// Finds out who may use which connection.
pub struct Allowances {
    client: Client,
    connections: Connections,
    reads: Arc<Permits>,
}

impl Allowances {
    /// For `connections`; `client` reads Namespaces.
    pub fn new(client: Client, connections: Connections) -> Self {
        Self { client, connections, reads: Permits::by_namespace(READ_AT_ONCE, READ_AT_ONCE_OF_ONE) }
    }

    /// Whether requests of `key` may use the connection that they name, by labels that are read now.
    pub async fn ask(&self, key: &Arc<TenantKey>) -> Result<AllowedUse, NotAllowed> {
        // Before the labels are read.
        let used = AllowedUse::new(self.named_by(key)?, key.namespace().to_owned());
        self.check(&used.connection, key).await?;
        Ok(used)
    }

    /// Whether they still may, by labels that were read less than 1 s ago. `used` is what was found out before.
    pub async fn ask_again(&self, used: &AllowedUse, key: &Arc<TenantKey>) -> Result<(), NotAllowed> {
        if used.connection.allowed_namespaces().is_none() {
            return Ok(());
        }
        let connection = self.named_by(key)?;
        let was_asked = *used.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = connection.generation() == used.connection.generation();
        if is_same && was_asked.elapsed() < FRESH {
            return Ok(());
        }
        let now = Instant::now();
        self.check(&connection, key).await?;
        *used.asked.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(())
    }

    fn named_by(&self, key: &TenantKey) -> Result<Connection, NotAllowed> {
        let found = self.connections.get(&key.connection_key());
        found.map_err(|error| NotAllowed::Waits(WaitReason::ConnectionNotFound, error))
    }

    async fn check(&self, connection: &Connection, key: &Arc<TenantKey>) -> Result<(), NotAllowed> {
        let Some(allowed) = connection.allowed_namespaces() else { return Ok(()) };
        let namespace = key.namespace();
        if is_named(allowed, namespace) || allowed.selector.is_some() && is_selected(allowed, &self.labels(key).await?)
        {
            return Ok(());
        }
        Err(NotAllowed::Refused(refusal(&connection.to_string(), namespace)))
    }

    /// The labels of the namespace of `key`. One that is gone has none.
    async fn labels(&self, key: &Arc<TenantKey>) -> Result<Labels, NotAllowed> {
        let (namespace, _permit) = (key.namespace(), self.reads.acquire(key).await);
        let read = async {
            let request = Request::new(Namespace::url_path(&(), None));
            let request = request.get_metadata(namespace, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
            self.client.request::<Labelled>(request).await
        };
        match found("read Namespace", read).await {
            Ok(found) => Ok(found.and_then(|found| found.metadata.labels).unwrap_or_default()),
            Err(error) if error.is_refused() => Err(NotAllowed::Waits(
                WaitReason::Pending,
                format!(
                    "the labels of namespace {namespace} cannot be read ({error}), and {} allows namespaces by their labels: \
                     let the operator's service account get namespaces",
                    key.connection_key()
                ),
            )),
            Err(error) => Err(NotAllowed::Unanswered(error)),
        }
    }
}

/// The only part of a Namespace that is kept.
#[derive(Deserialize)]
struct Labelled {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    labels: Option<Labels>,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response, StatusCode};
    use kube::client::Body;
    use kube::runtime::reflector;
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;
    use crate::connections::stored::ClusterConnections;
    use crate::domain::test_objects::{cluster_connection, of_cluster, request};
    use crate::kubernetes::watch::stored_request::GuardedClusterConnection;

    /// An API server whose one namespace has labels, and a connection.
    struct Scene {
        allowances: Allowances,
        /// The answer to each read of the namespace.
        answer: Arc<Mutex<(StatusCode, Value)>>,
        reads: Arc<AtomicUsize>,
        cache: Mutex<Writer<GuardedClusterConnection>>,
    }

    impl Scene {
        fn new(allowed: &Value) -> Self {
            let answer = Arc::new(Mutex::new((StatusCode::OK, json!({"metadata": {}}))));
            let reads = Arc::<AtomicUsize>::default();
            let (answers, counted) = (answer.clone(), reads.clone());
            let service = tower::service_fn(move |request: Request<Body>| {
                assert_eq!(request.uri().path(), "/api/v1/namespaces/dba");
                counted.fetch_add(1, Ordering::Relaxed);
                let (status, body) = answers.lock().unwrap().clone();
                let answer = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
                std::future::ready(answer)
            });
            let (stored, writer) = reflector::store();
            let (namespaced, _) = reflector::store();
            let cluster = ClusterConnections { stored, refusal: Arc::default(), home: "system".into() };
            let connections = Connections::new(namespaced, Some(cluster));
            let allowances = Allowances::new(Client::new(service, "default"), connections);
            let scene = Self { allowances, answer, reads, cache: Mutex::new(writer) };
            scene.put(allowed, 1);
            scene
        }

        /// Stores the connection in this generation.
        fn put(&self, allowed: &Value, generation: i64) {
            let mut connection = serde_json::to_value(cluster_connection(allowed)).unwrap();
            connection["metadata"]["generation"] = generation.into();
            let connection: GuardedClusterConnection = serde_json::from_value(connection).unwrap();
            let mut cache = self.cache.lock().unwrap();
            cache.apply_watcher_event(&Event::Apply(connection));
        }

        fn label(&self, labels: &Value) {
            *self.answer.lock().unwrap() = (StatusCode::OK, json!({"metadata": {"labels": labels}}));
        }

        fn reads(&self) -> usize {
            self.reads.load(Ordering::Relaxed)
        }

        async fn ask(&self) -> Result<AllowedUse, NotAllowed> {
            self.allowances.ask(&key()).await
        }
    }

    fn key() -> Arc<TenantKey> {
        Arc::new(TenantKey::of(&of_cluster(request())))
    }

    fn by_label() -> Value {
        json!({"selector": {"matchLabels": {"team": "payments"}}})
    }

    fn is_refused<T>(asked: &Result<T, NotAllowed>) -> bool {
        matches!(asked, Err(NotAllowed::Refused(words)) if words.contains("ClusterOceanBaseConnection prod-ob does not allow namespace dba"))
    }

    #[tokio::test]
    async fn a_namespace_that_is_named_needs_no_read() {
        let scene = Scene::new(&json!({"names": ["dba"], "selector": {"matchLabels": {"team": "payments"}}}));
        let used = scene.ask().await.unwrap();
        assert_eq!((used.namespace(), used.connection().home()), ("dba", "system"));
        assert_eq!(scene.reads(), 0);
        let others = Scene::new(&json!({"names": ["shop"]}));
        assert!(is_refused(&others.ask().await));
        assert_eq!(others.reads(), 0);
    }

    #[tokio::test]
    async fn labels_are_read_for_each_use() {
        let scene = Scene::new(&by_label());
        assert!(is_refused(&scene.ask().await));
        scene.label(&json!({"team": "payments"}));
        assert!(scene.ask().await.is_ok());
        scene.label(&json!({"team": "ledger"}));
        assert!(is_refused(&scene.ask().await));
        assert_eq!(scene.reads(), 3);
    }

    #[tokio::test]
    async fn a_label_that_is_taken_away_during_a_use_is_seen_before_a_claim_that_comes_later() {
        let scene = Scene::new(&by_label());
        scene.label(&json!({"team": "payments"}));
        let used = scene.ask().await.unwrap();
        scene.allowances.ask_again(&used, &key()).await.unwrap();
        assert_eq!(scene.reads(), 1, "read just now");
        scene.label(&json!({}));
        *used.asked.lock().unwrap() = Instant::now().checked_sub(FRESH).unwrap();
        assert!(is_refused(&scene.allowances.ask_again(&used, &key()).await));
        assert_eq!(scene.reads(), 2);
    }

    #[tokio::test]
    async fn an_edit_of_the_connection_counts_at_once() {
        let scene = Scene::new(&json!({"names": ["dba"]}));
        let used = scene.ask().await.unwrap();
        scene.put(&json!({"names": []}), 2);
        assert!(is_refused(&scene.allowances.ask_again(&used, &key()).await));
    }

    #[tokio::test]
    async fn labels_that_cannot_be_read_allow_nothing_and_refuse_nothing() {
        let scene = Scene::new(&by_label());
        let status = |code: u16, reason: &str| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "no"});
        *scene.answer.lock().unwrap() = (StatusCode::FORBIDDEN, status(403, "Forbidden"));
        match scene.ask().await {
            Err(NotAllowed::Waits(WaitReason::Pending, words)) => {
                assert!(words.contains("let the operator's service account get namespaces"), "{words}");
            }
            other => panic!("{other:?}"),
        }
        *scene.answer.lock().unwrap() = (StatusCode::SERVICE_UNAVAILABLE, status(503, "ServiceUnavailable"));
        assert!(matches!(scene.ask().await, Err(NotAllowed::Unanswered(_))));
        *scene.answer.lock().unwrap() = (StatusCode::NOT_FOUND, status(404, "NotFound"));
        assert!(is_refused(&scene.ask().await), "one that is gone has no labels");
    }
}
