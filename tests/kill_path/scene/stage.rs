//! One test's own part of the world: a namespace, a gateway, operators, and a look at all of them at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, SessionKill, SessionKillReceipt, SessionKillReceiptStatus};
use testbed::gateway::{Backend, CallRecord, Gateway, GatewayOptions};
use testbed::operator::Operator;
use testbed::port;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::cluster::Cluster;
use super::objects::{Request as _, RequestBuilder};
use super::relay::{At, Hold, Relay};
use super::{
    KEY_ID, KEY_SECRET, Keys, SERVER_IP, SQL_MARK, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN, access_keys, eventually,
    session, session_id,
};

/// More scenes at once would only make each other slow.
static STAGES: Semaphore = Semaphore::const_new(4);

/// One test's own part of the world. [`Scene::end`] must be called: it looks at what no test may leave behind.
pub struct Scene {
    pub cluster: Arc<Cluster>,
    pub client: Client,
    pub namespace: String,
    gateway: Option<Gateway>,
    gateway_options: GatewayOptions,
    operators: Mutex<Vec<Arc<Operator>>>,
    directory: PathBuf,
    ended: AtomicBool,
    _stage: SemaphorePermit<'static>,
}

/// How an operator is started.
#[derive(Default, Clone)]
pub struct Launch<'a> {
    /// Beside the gateway, these endpoints may be named.
    pub allow: Vec<&'a str>,
    /// The way to the API server; the direct one if none.
    pub api: Option<&'a Relay>,
    /// Another service account's kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// The log filter.
    pub log: Option<&'a str>,
}

impl Scene {
    pub const CONNECTION: &'static str = "prod-ob";
    pub const SECRET: &'static str = "aliyun-ak";
    pub const INSTANCE: &'static str = "ob317v4uif0001";
    pub const TENANT: &'static str = "t4louaeei0001";
    pub const OWN_ACCOUNT: &'static str = "operator";

    /// A namespace and a gateway with sessions 1 to 60 in its memory. No Secret, no connection, no operator.
    pub async fn bare(name: &str) -> Self {
        Self::on(Cluster::shared().await, name, memory()).await
    }

    /// The same with a good Secret, a connection to the gateway, and an operator at work.
    pub async fn ready(name: &str) -> Self {
        let scene = Self::set(name).await;
        scene.operator().await;
        scene
    }

    /// The same with a good Secret and a connection to the gateway. No operator.
    pub async fn set(name: &str) -> Self {
        let scene = Self::bare(name).await;
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
            // Below the ephemeral ports, so that it can be taken again after a stop.
            listen: ([127, 0, 0, 1], port::free().unwrap()).into(),
            backend,
            access_keys: access_keys(),
            instance: Self::INSTANCE.into(),
            tenant: Self::TENANT.into(),
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

    // The gateway.

    /// The gateway that operators call.
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// The base URL of the gateway, also while it is stopped.
    pub fn gateway_url(&self) -> String {
        format!("http://{}", self.gateway_options.listen)
    }

    /// Ends the gateway.
    pub async fn stop_gateway(&mut self) {
        self.gateway.take().unwrap().stop().await;
    }

    /// Starts it on the same port, with all sessions and an empty ledger.
    pub async fn start_gateway(&mut self) {
        self.gateway = Some(Gateway::start(self.gateway_options.clone()).await.unwrap());
    }

    /// A relay in front of the gateway, for a connection to name as its endpoint.
    pub async fn gateway_relay(&self) -> Relay {
        Relay::start(&self.gateway_url(), None).await
    }

    /// Holds every call at a relay in front of the gateway.
    pub fn hold_call(relay: &Relay, at: At) -> Arc<Hold> {
        relay.hold(at, Method::POST, "/")
    }

    /// The calls that reached the gateway and named the session `number`.
    pub fn calls_for(&self, number: i64) -> Vec<CallRecord> {
        let names = |call: &CallRecord| call.sessions.iter().any(|it| it.session_id == session_id(number));
        self.gateway().calls().into_iter().filter(names).collect()
    }

    /// Exactly these sessions were killed, each once, by one call that named it.
    pub fn assert_killed_once(&self, numbers: impl IntoIterator<Item = i64>) {
        let expected = numbers.into_iter().map(|number| ((SERVER_IP.to_owned(), session_id(number)), 1)).collect();
        assert_eq!(self.gateway().kills_per_session(), expected);
    }

    /// No call has reached the gateway.
    pub fn assert_nothing_sent(&self) {
        assert!(self.gateway().calls().is_empty(), "{:?}", self.gateway().calls());
    }

    // Operators.

    /// An operator with direct ways to the API server and the gateway.
    pub async fn operator(&self) -> Arc<Operator> {
        self.launch(Launch::default()).await
    }

    /// Starts an operator for this namespace and returns when it is ready.
    pub async fn launch(&self, launch: Launch<'_>) -> Arc<Operator> {
        let number = self.operators.lock().unwrap().len() + 1;
        let directory = self.directory.join(format!("operator-{number}"));
        fs::create_dir_all(&directory).unwrap();
        let kubeconfig = launch.kubeconfig.unwrap_or_else(|| self.cluster.operator_kubeconfig.clone());
        let kubeconfig = match launch.api {
            Some(relay) => rerouted(&kubeconfig, relay, &directory),
            None => kubeconfig,
        };
        let gateway = self.gateway_url();
        // Through env, which becomes the operator: its log filter is a variable.
        let log = format!("RUST_LOG={}", launch.log.unwrap_or("info"));
        let mut arguments = vec![&log, env!("CARGO_BIN_EXE_sessionkill-operator"), "run"];
        arguments.extend(["--namespace", &self.namespace, "--allow-endpoint", &gateway]);
        arguments.extend(["--dispatch-window-seconds", "6", "--sweep-interval-seconds", "1"]);
        arguments.extend(["--receipt-retention-seconds", "60"]);
        arguments.extend(launch.allow.iter().flat_map(|endpoint| ["--allow-endpoint", endpoint]));
        let operator = Operator::start(Path::new("env"), &kubeconfig, &directory, &arguments).unwrap();
        let operator = Arc::new(operator);
        self.operators.lock().unwrap().push(operator.clone());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let ready = format!("{}/readyz", operator.health_url());
        let check = async || Ok(http.get(&ready).send().await?.error_for_status().map(drop)?);
        let limit = Duration::from_mins(2);
        operator.process().ready(limit, check).await.unwrap();
        operator
    }

    /// A relay in front of the API server, for an operator to be launched with.
    pub async fn api_relay(&self) -> Relay {
        let control_plane = &self.cluster.control_plane;
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
        let cluster = kubeconfig.clusters[0].cluster.as_ref().unwrap();
        let authority = base64_decoded(cluster.certificate_authority_data.as_ref().unwrap());
        Relay::start(&control_plane.url(), Some(&authority)).await
    }

    /// A service account of this scene's own, for an operator to be launched as; its requests can be counted, and its
    /// rights changed. Returns its kubeconfig.
    pub async fn own_account(&self, rights: &Value) -> PathBuf {
        let account = ServiceAccount { metadata: named(Self::OWN_ACCOUNT), ..ServiceAccount::default() };
        self.api::<ServiceAccount>().create(&PostParams::default(), &account).await.unwrap();
        self.grant(rights).await;
        let control_plane = &self.cluster.control_plane;
        control_plane.service_account_kubeconfig(&self.namespace, Self::OWN_ACCOUNT).await.unwrap()
    }

    /// The rights of `deploy/base`, which hold in this namespace only.
    pub fn full_rights() -> Value {
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sessionkill-operator"})
    }

    /// Gives the scene's own account exactly the rights of this role.
    pub async fn grant(&self, role: &Value) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": Self::OWN_ACCOUNT}, "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": Self::OWN_ACCOUNT, "namespace": self.namespace}],
        });
        // The role of a binding cannot be changed.
        let bindings: Api<RoleBinding> = self.api();
        let _ = bindings.delete(Self::OWN_ACCOUNT, &DeleteParams::default()).await;
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }

    /// The logs and audit lines of all operators so far, one text.
    pub fn logs(&self) -> String {
        let operators = self.operators.lock().unwrap();
        let logs = operators.iter().map(|it| it.logs().unwrap() + &fs::read_to_string(it.process().stdout()).unwrap());
        logs.collect()
    }

    /// The audit lines of all operators so far.
    pub fn audit_lines(&self) -> Vec<Value> {
        self.operators.lock().unwrap().iter().flat_map(|operator| operator.audit_lines().unwrap()).collect()
    }

    // Objects.

    /// Objects of this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Requests of this namespace.
    pub fn requests(&self) -> Api<SessionKill> {
        self.api()
    }

    /// A request in the making.
    pub fn request(&self, name: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(self, name)
    }

    /// Makes the Secret hold the long-term access key that the gateway takes.
    pub async fn good_secret(&self) {
        self.secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)]).await;
    }

    /// Makes the labelled Secret hold exactly `keys`.
    pub async fn secret(&self, keys: Keys<'_>) {
        self.put_secret(Self::SECRET, true, keys).await;
    }

    /// Makes the Secret hold exactly `keys`, without the label.
    pub async fn unlabelled_secret(&self, keys: Keys<'_>) {
        self.put_secret(Self::SECRET, false, keys).await;
    }

    /// Makes the Secret `name` hold exactly `keys`.
    pub async fn put_secret(&self, name: &str, labelled: bool, keys: Keys<'_>) {
        let labels = if labelled { json!({"sessionkill.dev/credentials": "true"}) } else { json!({}) };
        let keys: serde_json::Map<_, _> = keys.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}, "stringData": keys,
        });
        // Not applied but replaced: a key that is left out must go.
        let secrets: Api<Secret> = self.api();
        let secret: Secret = serde_json::from_value(secret).unwrap();
        if secrets.get_opt(name).await.unwrap().is_some() {
            secrets.replace(name, &PostParams::default(), &secret).await.unwrap();
        } else {
            secrets.create(&PostParams::default(), &secret).await.unwrap();
        }
    }

    /// Makes the connection to the gateway what it is by default, but for the fields of `changes`.
    pub async fn connection(&self, changes: Value) {
        self.put_connection(Self::CONNECTION, Self::SECRET, changes).await;
    }

    /// The same with another name and the access key of another Secret.
    pub async fn put_connection(&self, name: &str, secret: &str, changes: Value) {
        let mut spec = json!({
            "regionID": "cn-hangzhou", "endpoint": self.gateway_url(), "requestTimeoutSeconds": 5,
            "credentials": {"secretRef": {"name": secret}},
        });
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let connection = json!({
            "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection",
            "metadata": {"name": name}, "spec": spec,
        });
        let connections: Api<OceanBaseConnection> = self.api();
        let params = PatchParams::apply("test").force();
        connections.patch(name, &params, &Patch::Apply(connection)).await.unwrap();
    }

    /// The connection, as it is now.
    pub async fn connection_now(&self) -> OceanBaseConnection {
        self.api().get(Self::CONNECTION).await.unwrap()
    }

    /// Edits a request as a user does.
    pub async fn edit(&self, name: &str, change: Value) {
        let params = PatchParams::default();
        self.requests().patch(name, &params, &Patch::Merge(change)).await.unwrap();
    }

    /// Deletes a request.
    pub async fn delete(&self, name: &str) {
        self.requests().delete(name, &DeleteParams::default()).await.unwrap();
        eventually(&format!("SessionKill {name} to be gone"), async || match self.requests().get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    // Waiting.

    /// Waits until `check` finds something in the request.
    pub async fn wait_for<T>(&self, name: &str, what: &str, check: impl Fn(&SessionKill) -> Option<T>) -> T {
        eventually(&format!("SessionKill {name} {what}"), async || {
            let object = self.requests().get(name).await.map_err(|error| error.to_string())?;
            check(&object).ok_or_else(|| format!("its status is {}", json!(object.status)))
        })
        .await
    }

    /// Waits until the request has ended.
    pub async fn wait_finished(&self, name: &str) -> SessionKill {
        self.wait_for(name, "to end", |object| object.is_finished().then(|| object.clone())).await
    }

    /// Waits until the request says that it waits, or ended, for `reason`.
    pub async fn wait_for_reason(&self, name: &str, reason: &str) -> SessionKill {
        let what = format!("to say {reason}");
        self.wait_for(name, &what, |object| (object.reason() == reason).then(|| object.clone())).await
    }

    /// Waits for an Event of the object `name` with `reason`; its note.
    pub async fn wait_for_event(&self, name: &str, reason: &str) -> String {
        eventually(&format!("an Event {reason} of {name}"), async || {
            let events = self.events().await;
            let found = events.iter().find(|event| {
                let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
                regarding == Some(name) && event.reason.as_deref() == Some(reason)
            });
            found.map(|event| event.note.clone().unwrap_or_default()).ok_or_else(|| json!(events).to_string())
        })
        .await
    }

    /// Waits until the receipt of the request `name` has its record.
    pub async fn wait_recorded(&self, name: &str) -> SessionKillReceiptStatus {
        eventually(&format!("the record of {name}"), async || {
            let receipts = self.receipts().await;
            let found = receipts.iter().find(|receipt| receipt.spec.session_kill_ref.name == name);
            found.and_then(|receipt| receipt.status.clone()).ok_or_else(|| json!(receipts).to_string())
        })
        .await
    }

    /// Waits until there is no receipt, that is, no claim.
    pub async fn wait_unclaimed(&self) {
        eventually("no claim", async || {
            let receipts = self.receipts().await;
            if receipts.is_empty() { Ok(()) } else { Err(json!(receipts).to_string()) }
        })
        .await;
    }

    /// The only receipt there is.
    pub async fn receipt(&self) -> SessionKillReceipt {
        let mut receipts = self.receipts().await;
        assert_eq!(receipts.len(), 1, "{}", json!(receipts));
        receipts.remove(0)
    }

    /// All receipts.
    pub async fn receipts(&self) -> Vec<SessionKillReceipt> {
        self.list().await
    }

    /// All Events.
    pub async fn events(&self) -> Vec<Event> {
        self.list().await
    }

    async fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned,
        K: std::fmt::Debug,
    {
        self.api().list(&ListParams::default()).await.unwrap().items
    }

    // The end.

    /// Looks at what no test may leave behind, and ends the scene: every request has ended or says why it waits; no
    /// session was killed twice; no secret and no statement stands where it must not.
    pub async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        for request in self.list::<SessionKill>().await {
            let succeeded = request
                .status
                .as_ref()
                .and_then(|status| status.conditions.iter().find(|condition| condition.type_ == "Succeeded"));
            let succeeded = succeeded.unwrap_or_else(|| panic!("{} has no condition", request.name_any()));
            let told = !succeeded.reason.is_empty() && !succeeded.message.is_empty();
            assert!(told && request.is_finished() == (succeeded.status != "Unknown"), "{}", json!(request));
        }
        if let Some(gateway) = &self.gateway {
            let twice: Vec<_> = gateway.kills_per_session().into_iter().filter(|(_, kills)| *kills > 1).collect();
            assert!(twice.is_empty(), "killed more than once: {twice:?}");
        }
        self.assert_secrecy().await;
        for operator in self.operators.lock().unwrap().iter() {
            operator.kill();
        }
    }

    /// No secret stands in any log, audit line, Event or object, and no statement but in a status.
    pub async fn assert_secrecy(&self) {
        let logs = self.logs();
        let events = json!(self.events().await).to_string();
        let mut objects = json!(self.list::<SessionKill>().await).to_string();
        objects += &json!(self.receipts().await).to_string();
        objects += &json!(self.list::<OceanBaseConnection>().await).to_string();
        for secret in [KEY_ID, KEY_SECRET, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN] {
            for (place, text) in [("the logs", &logs), ("an Event", &events), ("an object", &objects)] {
                assert_absent(secret, place, text);
            }
        }
        assert_absent(SQL_MARK, "the logs", &logs);
        assert_absent(SQL_MARK, "an Event", &events);
        assert_absent("panicked", "the logs", &logs);
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

fn named(name: &str) -> kube::core::ObjectMeta {
    kube::core::ObjectMeta { name: Some(name.into()), ..Default::default() }
}

/// The same user by another way.
fn rerouted(kubeconfig: &Path, relay: &Relay, directory: &Path) -> PathBuf {
    let mut config: Value = serde_json::from_slice(&fs::read(kubeconfig).unwrap()).unwrap();
    config["clusters"][0]["cluster"]["server"] = relay.url().into();
    let path = directory.join("kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    path
}

fn base64_decoded(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn assert_absent(word: &str, place: &str, text: &str) {
    if let Some(at) = text.find(word) {
        let line = &text[text.floor_char_boundary(at.saturating_sub(400))..text.ceil_char_boundary(at + 100)];
        panic!("{word} stands in {place}: ...{line}...");
    }
}
