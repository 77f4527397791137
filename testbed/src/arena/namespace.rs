//! The namespace of an arena, with its Secret and its connection, and the gateway and the fault proxies around it.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use k8s_openapi::api::{
    core::v1::{Namespace, Secret},
    events::v1::Event,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, SessionKill, SessionKillReceipt, SessionKillSpec};
use tokio::sync::{Mutex, RwLockReadGuard};

use super::{
    ground::Ground,
    replica::Replica,
    sessions::{CONNECTION, INSTANCE, SQL_PASSWORD, SQL_TENANT, SQL_USER, TENANT, session_id},
};
use crate::{
    fault_proxy::FaultProxy,
    gateway::{AccessKey, Backend, CallRecord, Gateway, GatewayOptions, Session},
    sql_relay::SqlRelay,
};

const SECRET: &str = "aliyun-ak";
const KEY_ID: &str = "STS.NUCanaryKeyID";
const KEY_SECRET: &str = "CanaryStsSecret9c1e";
const KEY_TOKEN: &str = "CanarySecurityToken5b2d";
/// Values that must appear nowhere but in the Secret.
pub(super) const CANARIES: [&str; 4] = [KEY_ID, KEY_SECRET, KEY_TOKEN, SQL_PASSWORD];

/// One namespace with all its parts. Its processes end with it.
pub struct Arena {
    /// The namespace.
    pub namespace: String,
    /// The gateway, with its ledger and its own faults.
    pub gateway: Gateway,
    /// On the way to the API server.
    pub api: FaultProxy,
    /// On the way to the gateway.
    pub calls: FaultProxy,
    /// On the way to the engine, if sessions are ended by SQL. The gateway is not used then.
    pub sql: Option<SqlRelay>,
    /// All replicas that were ever started.
    pub replicas: Mutex<Vec<Arc<Replica>>>,
    pub(super) client: Client,
    pub(super) ground: Arc<Ground>,
    pub(super) directory: PathBuf,
}

impl Arena {
    /// A namespace `name` with a Secret, and a connection to a gateway that holds `sessions`. No replica runs yet.
    pub async fn set(ground: &Arc<Ground>, name: &str, sessions: Vec<Session>) -> anyhow::Result<Self> {
        Self::set_before(ground, name, Backend::Memory(sessions)).await
    }

    /// The same with a connection by SQL to the engine of `ground`.
    pub async fn set_by_sql(ground: &Arc<Ground>, name: &str) -> anyhow::Result<Self> {
        let engine = ground.engine.as_ref().context("the ground has no engine")?;
        let relay = SqlRelay::start(engine.port()).await?;
        Self::set_around(ground, name, Backend::Memory(vec![]), Some(relay)).await
    }

    /// The same with a gateway whose sessions are those of `backend`.
    pub async fn set_before(ground: &Arc<Ground>, name: &str, backend: Backend) -> anyhow::Result<Self> {
        Self::set_around(ground, name, backend, None).await
    }

    async fn set_around(
        ground: &Arc<Ground>,
        name: &str,
        backend: Backend,
        sql: Option<SqlRelay>,
    ) -> anyhow::Result<Self> {
        let key = AccessKey { id: KEY_ID.into(), secret: KEY_SECRET.into(), token: Some(KEY_TOKEN.into()) };
        let gateway = Gateway::start(GatewayOptions {
            backend,
            access_keys: vec![key],
            instance: INSTANCE.into(),
            tenant: TENANT.into(),
            ..GatewayOptions::default()
        })
        .await?;
        let api = FaultProxy::new(&ground.control_plane.url(), Some(&ground.authority()?))?;
        let calls = FaultProxy::new(&gateway.url(), None)?;
        let arena = Self {
            namespace: name.into(),
            gateway,
            api,
            calls,
            sql,
            replicas: Mutex::default(),
            client: ground.control_plane.client().await?,
            ground: ground.clone(),
            directory: ground.directory.join(name),
        };
        arena.furnish().await?;
        Ok(arena)
    }

    async fn furnish(&self) -> anyhow::Result<()> {
        let _served = self.served().await;
        let params = PostParams::default();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.create(&params, &serde_json::from_value(namespace)?).await.context("no namespace")?;
        let (login, backend) = self.backend();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": SECRET, "labels": {"sessionkill.dev/credentials": "true"}},
            "stringData": login,
        });
        self.api_of::<Secret>().create(&params, &serde_json::from_value(secret)?).await.context("no Secret")?;
        let mut connection = json!({
            "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": CONNECTION},
            "spec": backend,
        });
        connection["spec"]["requestTimeoutSeconds"] = 5.into();
        let connections: Api<OceanBaseConnection> = self.api_of();
        connections.create(&params, &serde_json::from_value(connection)?).await.context("no connection")?;
        Ok(())
    }

    /// The content of the Secret, and the part of the connection that names the backend.
    fn backend(&self) -> (Value, Value) {
        let credentials = json!({"secretRef": {"name": SECRET}});
        match &self.sql {
            Some(relay) => (
                json!({"username": SQL_USER, "password": SQL_PASSWORD}),
                json!({"sql": {
                    "host": relay.host(), "cluster": INSTANCE, "tenant": SQL_TENANT, "tls": {"mode": "Disabled"},
                    "credentials": credentials,
                }}),
            ),
            None => (
                json!({"accessKeyID": KEY_ID, "accessKeySecret": KEY_SECRET, "securityToken": KEY_TOKEN}),
                json!({"alibabaCloud": {
                    "regionID": "cn-hangzhou", "endpoint": self.gateway.url(), "credentials": credentials,
                }}),
            ),
        }
    }

    /// The API for objects of the namespace, as administrator and not through a proxy.
    #[must_use]
    pub fn api_of<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// What it shares with other arenas.
    #[must_use]
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Waits until the control plane serves. It does not fail while the returned guard is kept.
    pub async fn served(&self) -> RwLockReadGuard<'_, ()> {
        self.ground.outage.read().await
    }

    /// Creates a request.
    pub async fn request(&self, name: &str, spec: SessionKillSpec) -> anyhow::Result<()> {
        let _served = self.served().await;
        let requests: Api<SessionKill> = self.api_of();
        requests.create(&PostParams::default(), &SessionKill::new(name, spec)).await.map(drop).context("no request")
    }

    /// All objects of a kind.
    pub async fn list<K>(&self) -> anyhow::Result<Vec<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let _served = self.served().await;
        Ok(self.api_of::<K>().list(&ListParams::default()).await?.items)
    }

    /// All requests.
    pub async fn requests(&self) -> anyhow::Result<Vec<SessionKill>> {
        self.list().await
    }

    /// All receipts.
    pub async fn receipts(&self) -> anyhow::Result<Vec<SessionKillReceipt>> {
        self.list().await
    }

    /// All Events.
    pub async fn events(&self) -> anyhow::Result<Vec<Event>> {
        self.list().await
    }

    /// The gateway's calls that named the session `number`, with any result. Use it for a session that survives its
    /// kills: those are not counted as kills.
    #[must_use]
    pub fn calls_for(&self, number: i64) -> Vec<CallRecord> {
        let names = |call: &CallRecord| call.sessions.iter().any(|it| it.session_id == session_id(number));
        self.gateway.calls().into_iter().filter(names).collect()
    }

    /// The logs and audit lines of all replicas so far.
    pub async fn logs(&self) -> anyhow::Result<String> {
        let replicas = self.replicas.lock().await.clone();
        replicas.iter().map(|replica| replica.written()).collect()
    }
}
