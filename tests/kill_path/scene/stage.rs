//! The environment of one test: a namespace, a gateway, and the operators that work there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::Method;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use testbed::gateway::{Backend, CallRecord, Fault, Gateway, GatewayOptions, StsOptions};
use testbed::oceanbase::Engine;
use testbed::operator::Operator;
use testbed::port;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::cluster::Cluster;
use super::relay::{At, Hold, Relay};
use super::{SERVER_IP, access_keys, session, session_id};

/// At most 6 scenes at a time: more would only slow each other down.
static STAGES: Semaphore = Semaphore::const_new(6);

/// The environment of one test. [`Scene::end`] must be called: it checks what no test may leave behind.
pub struct Scene {
    pub cluster: Arc<Cluster>,
    pub client: Client,
    pub namespace: String,
    pub(super) gateway: Option<Gateway>,
    pub(super) gateway_options: GatewayOptions,
    pub(super) operators: Mutex<Vec<Arc<Operator>>>,
    pub(super) directory: PathBuf,
    pub(super) ended: AtomicBool,
    _stage: SemaphorePermit<'static>,
}

impl Scene {
    pub const CONNECTION: &'static str = "prod-ob";
    pub const SECRET: &'static str = "aliyun-ak";
    pub const INSTANCE: &'static str = "ob317v4uif0001";
    pub const TENANT: &'static str = "t4louaeei0001";
    pub const OWN_ACCOUNT: &'static str = "operator";

    /// A namespace, and a gateway with sessions 1 to 60 in memory. No Secret, no connection, no operator.
    pub async fn bare(name: &str) -> Self {
        Self::on(Cluster::shared().await, name, memory()).await
    }

    /// Like `set`, and with a running operator.
    pub async fn ready(name: &str) -> Self {
        let scene = Self::set(name).await;
        scene.operator().await;
        scene
    }

    /// Like `bare`, and with a good Secret and a connection to the gateway. No operator.
    pub async fn set(name: &str) -> Self {
        let scene = Self::bare(name).await;
        scene.good_secret().await;
        scene.connection(json!({})).await;
        scene
    }

    /// Like `set`, but the connection goes through a relay in front of the gateway. No operator.
    pub async fn relayed(name: &str, request_timeout_seconds: u32) -> (Self, Relay) {
        let scene = Self::bare(name).await;
        let relay = scene.gateway_relay().await;
        let timeout = request_timeout_seconds;
        scene.good_secret().await;
        scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": timeout})).await;
        (scene, relay)
    }

    /// A namespace with a good Secret and a connection to a gateway in front of `engine`. No operator.
    pub async fn set_on(engine: &Engine, name: &str) -> Self {
        let backend = Backend::OceanBase { url: engine.url() };
        let scene = Self::on(Cluster::shared().await, name, backend).await;
        scene.good_secret().await;
        scene.connection(json!({})).await;
        scene
    }

    /// A namespace of `cluster` and a gateway in front of `backend`.
    pub async fn on(cluster: Arc<Cluster>, name: &str, backend: Backend) -> Self {
        let stage = STAGES.acquire().await.unwrap();
        let client = cluster.control_plane.client().await.unwrap();
        let namespace = Namespace { metadata: named(name), ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let gateway_options = GatewayOptions {
            // A port below the ephemeral ports, so that no other process takes it while the gateway is stopped.
            listen: ([127, 0, 0, 1], port::free().unwrap()).into(),
            backend,
            access_keys: access_keys(),
            instance: Self::INSTANCE.into(),
            tenant: Self::TENANT.into(),
            ..GatewayOptions::default()
        };
        Self {
            gateway: Some(Gateway::start(gateway_options.clone()).await.unwrap()),
            gateway_options,
            operators: Mutex::default(),
            directory: cluster.directory.join(name),
            cluster,
            client,
            namespace: name.into(),
            ended: AtomicBool::new(false),
            _stage: stage,
        }
    }

    /// The gateway that operators call.
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// The base URL of the gateway, valid even while it is stopped.
    pub fn gateway_url(&self) -> String {
        format!("http://{}", self.gateway_options.listen)
    }

    /// The address of the metadata service of the gateway.
    pub fn metadata_url(&self) -> String {
        format!("http://{}", self.gateway().metadata_address().unwrap())
    }

    /// The directory of the scene's files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Lets the gateway be STS too.
    pub async fn with_sts(mut self, sts: StsOptions) -> Self {
        self.stop_gateway().await;
        self.gateway_options.sts = Some(sts);
        self.start_gateway().await;
        self
    }

    /// Stops the gateway.
    pub async fn stop_gateway(&mut self) {
        self.gateway.take().unwrap().stop().await;
    }

    /// Starts the gateway again on the same port, with all sessions and an empty ledger.
    pub async fn start_gateway(&mut self) {
        self.gateway = Some(Gateway::start(self.gateway_options.clone()).await.unwrap());
    }

    /// Starts a relay in front of the gateway, for a connection to use as its endpoint.
    pub async fn gateway_relay(&self) -> Relay {
        Relay::start(&self.gateway_url(), None).await
    }

    /// Makes calls that name sessions fail with `fault`.
    pub fn inject(&self, fault: Fault) {
        self.gateway().inject(fault.on_kills());
    }

    /// Makes reads of the process list fail with `fault`.
    pub fn inject_list(&self, fault: Fault) {
        self.gateway().inject(fault.on("DescribeProcessStatsComposition"));
    }

    /// Holds every call that names sessions at a relay in front of the gateway.
    pub fn hold_call(relay: &Relay, at: At) -> Hold {
        relay.hold_body(at, Method::POST, "SessionList")
    }

    /// Holds every read of the process list at a relay in front of the gateway.
    pub fn hold_read(relay: &Relay, at: At) -> Hold {
        relay.hold_action(at, "DescribeProcessStatsComposition")
    }

    /// The calls that reached the gateway and named sessions.
    pub fn kill_calls(&self) -> Vec<CallRecord> {
        self.gateway().calls().into_iter().filter(|call| !call.sessions.is_empty()).collect()
    }

    /// The calls that reached the gateway and named the session `number`.
    pub fn calls_for(&self, number: i64) -> Vec<CallRecord> {
        let names = |call: &CallRecord| call.sessions.iter().any(|it| it.session_id == session_id(number));
        self.kill_calls().into_iter().filter(names).collect()
    }

    /// Checks that exactly these sessions were killed, each of them once.
    pub fn assert_killed_once(&self, numbers: impl IntoIterator<Item = i64>) {
        let expected = numbers.into_iter().map(|number| ((SERVER_IP.to_owned(), session_id(number)), 1)).collect();
        assert_eq!(self.gateway().kills_per_session(), expected);
    }

    /// Checks that exactly the sessions with these IDs were killed on `engine`, each of them once.
    pub fn assert_killed_on(&self, engine: &Engine, ids: impl IntoIterator<Item = i64>) {
        let expected = ids.into_iter().map(|id| ((engine.server_ip().to_owned(), id), 1)).collect();
        assert_eq!(self.gateway().kills_per_session(), expected);
    }

    /// Checks that no call that names a session has reached the gateway.
    pub fn assert_nothing_sent(&self) {
        assert!(self.kill_calls().is_empty(), "{:?}", self.kill_calls());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.ended.load(Ordering::Relaxed), "the scene must end with `end`");
        }
    }
}

fn memory() -> Backend {
    Backend::Memory((1..=60).map(session).collect())
}

pub(super) fn named(name: &str) -> kube::core::ObjectMeta {
    kube::core::ObjectMeta { name: Some(name.into()), ..Default::default() }
}
