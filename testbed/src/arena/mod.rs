//! A namespace to try the operator's binary in: its own gateway, fault proxies on both sides, and any number of replicas
//! that can be killed and frozen. Many arenas share one control plane.

mod election;
mod example;
mod ground;
mod replica;
mod verdict;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Secret},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use sessionkill::api::{
    ConnectionRef, Mode, OceanBaseConnection, SessionKill, SessionKillReceipt, SessionKillSpec, Verification,
    VerificationPolicy,
};
use tokio::sync::{Mutex, RwLockReadGuard};

pub use self::{
    election::LEASE,
    example::{example_request, manifest},
    ground::Ground,
    replica::{Launch, Replica},
    verdict::{Verdict, is_finished},
};
use crate::{
    fault_proxy::FaultProxy,
    gateway::{AccessKey, Backend, CallRecord, Gateway, GatewayOptions, Session},
};

/// The connection that requests name.
pub const CONNECTION: &str = "prod-ob";
/// The server that sessions are on.
pub const SERVER_IP: &str = "192.168.13.119";
/// Their instance.
pub const INSTANCE: &str = "ob317v4uif0001";
/// Their tenant.
pub const TENANT: &str = "t4louaeei0001";
const SECRET: &str = "aliyun-ak";
const KEY_ID: &str = "STS.NUCanaryKeyID";
const KEY_SECRET: &str = "CanaryStsSecret9c1e";
const KEY_TOKEN: &str = "CanarySecurityToken5b2d";
/// What must not be read anywhere but in the Secret.
const CANARIES: [&str; 3] = [KEY_ID, KEY_SECRET, KEY_TOKEN];

/// One namespace with everything around it; its processes end with it.
pub struct Arena {
    /// The namespace.
    pub namespace: String,
    /// The gateway, with its ledger and its own faults.
    pub gateway: Gateway,
    /// On the way to the API server.
    pub api: FaultProxy,
    /// On the way to the gateway.
    pub calls: FaultProxy,
    /// All replicas that were ever started.
    pub replicas: Mutex<Vec<Arc<Replica>>>,
    client: Client,
    ground: Arc<Ground>,
    directory: PathBuf,
}

impl Arena {
    /// A namespace `name` with a Secret and a connection to a gateway that holds `sessions`. No replica runs.
    pub async fn set(ground: &Arc<Ground>, name: &str, sessions: Vec<Session>) -> anyhow::Result<Self> {
        Self::set_before(ground, name, Backend::Memory(sessions)).await
    }

    /// The same with a gateway whose sessions are those of `backend`.
    pub async fn set_before(ground: &Arc<Ground>, name: &str, backend: Backend) -> anyhow::Result<Self> {
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
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": SECRET, "labels": {"sessionkill.dev/credentials": "true"}},
            "stringData": {"accessKeyID": KEY_ID, "accessKeySecret": KEY_SECRET, "securityToken": KEY_TOKEN},
        });
        self.api_of::<Secret>().create(&params, &serde_json::from_value(secret)?).await.context("no Secret")?;
        let connection = json!({
            "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": CONNECTION},
            "spec": {
                "regionID": "cn-hangzhou", "endpoint": self.gateway.url(), "requestTimeoutSeconds": 5,
                "credentials": {"secretRef": {"name": SECRET}},
            },
        });
        let connections: Api<OceanBaseConnection> = self.api_of();
        connections.create(&params, &serde_json::from_value(connection)?).await.context("no connection")?;
        Ok(())
    }

    /// Objects of the namespace, as the administrator and by the direct way.
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

    /// Waits until the control plane serves, which it does while what is returned is kept.
    pub async fn served(&self) -> RwLockReadGuard<'_, ()> {
        self.ground.outage.read().await
    }

    /// Asks for a kill.
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

    /// The gateway's calls that named the session `number`, whatever came of them. Of a session that is not let go no count of
    /// kills tells.
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

/// The session number `number`, in the middle of a long query.
#[must_use]
pub fn session(number: i64) -> Session {
    Session {
        server_ip: SERVER_IP.into(),
        session_id: session_id(number),
        client_ip: "10.2.3.4".into(),
        user: "report_ro".into(),
        database: "reports".into(),
        command: "Query".into(),
        status: "ACTIVE".into(),
        sql_text: "SELECT SUM(amount) FROM orders".into(),
        execute_time: 742,
        ..Session::default()
    }
}

/// Its ID, with bit 31 set as for sessions of a server.
#[must_use]
pub const fn session_id(number: i64) -> i64 {
    3_221_600_000 + number
}

/// A request to kill these sessions of the report user, to be sent for so many seconds from now.
pub fn kill_of(numbers: &[i64], seconds: i64) -> anyhow::Result<SessionKillSpec> {
    let sessions: Vec<_> = numbers.iter().map(|number| session(*number)).collect();
    kill_sessions(&sessions, seconds)
}

/// A request to kill these sessions of these users, to be sent for so many seconds from now.
pub fn kill_sessions(sessions: &[Session], seconds: i64) -> anyhow::Result<SessionKillSpec> {
    let sessions: Vec<_> = sessions
        .iter()
        .map(|it| json!({"serverIP": it.server_ip, "sessionID": it.session_id, "expect": {"user": it.user}}))
        .collect();
    let not_after = (Timestamp::now() + SignedDuration::from_secs(seconds)).round(Unit::Second)?;
    Ok(SessionKillSpec {
        connection_ref: ConnectionRef { name: CONNECTION.into() },
        instance_id: INSTANCE.into(),
        tenant_id: TENANT.into(),
        mode: Mode::Kill,
        sessions: serde_json::from_value(sessions.into())?,
        not_before_time: None,
        not_after_time: Time(not_after),
        reason: None,
        verification: Verification { policy: VerificationPolicy::BestEffort, timeout_seconds: 11 },
        suspend: false,
        ttl_seconds_after_finished: None,
    })
}
