//! The place where a contender works: its own control plane and gateway or engine, and the connection to that.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client, api::ListParams, runtime::wait::await_condition};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde_json::json;
use sessionkill::api::{OceanBaseConnection, SessionKill, SessionKillReceipt, VerificationPolicy};
use tokio::time::{Instant, sleep, timeout};

use super::{
    by_sql::database::Database,
    client,
    plan::{CONNECTION, NAMESPACE, Place, Plan, SERVER, Stream},
    record::BackendKind,
    usage::{CpuSeconds, cpu_seconds},
};
use crate::{
    base,
    control_plane::{ControlPlane, ISSUER, RequestCounter},
    gateway::{Backend, Gateway, GatewayOptions},
};

/// The namespace of the accounts of contenders without own manifests.
pub(super) const ACCOUNTS: &str = "bench";
/// A new API server is busy for some seconds, also with rights and kinds that were just stored.
const IDLE_SHARE: f64 = 0.1;
const QUIET: Duration = Duration::from_secs(1);
const QUIET_LIMIT: Duration = Duration::from_mins(1);
const CONNECTED_LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(100);

/// The parts. Dropping it ends them.
pub(super) struct Scene {
    /// With the custom resources, `deploy/base` and the accounts.
    pub control_plane: ControlPlane,
    /// With sessions in memory.
    pub gateway: Gateway,
    /// With real sessions, if they are ended by SQL. The gateway has none then.
    pub database: Option<Database>,
    /// As administrator.
    pub client: Client,
    /// The instance that requests name.
    pub instance: String,
    /// The tenants that they name.
    pub tenants: Vec<String>,
}

impl Scene {
    /// Starts control plane and gateway in `directory`, and stores the connection and its access key. If the gateway is STS
    /// too, it takes tokens of this control plane.
    pub(super) async fn start(directory: &Path, options: GatewayOptions) -> anyhow::Result<Self> {
        Self::start_on(BackendKind::Gateway, directory, options).await
    }

    /// The same, with an engine for sessions that are ended by SQL.
    pub(super) async fn start_on(
        backend: BackendKind,
        directory: &Path,
        options: GatewayOptions,
    ) -> anyhow::Result<Self> {
        let key = options.access_keys[0].clone();
        let mut instance = options.instance.clone();
        let mut tenants = [vec![options.tenant.clone()], options.more_tenants.clone()].concat();
        let control_plane = base::start_control_plane(directory).await?;
        let sts = options.sts.map(|sts| sts.with_tokens_of(ISSUER, control_plane.kubeconfig()));
        let gateway = Gateway::start(GatewayOptions { backend: Backend::Memory(vec![]), sts, ..options }).await?;
        control_plane.apply(include_str!("accounts.yaml")).await?;
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "aliyun-ak", "namespace": NAMESPACE, "labels": {"sessionkill.dev/credentials": "true"}},
            "stringData": {"accessKeyID": key.id, "accessKeySecret": key.secret.expose_secret()},
        });
        control_plane.apply(&secret.to_string()).await?;
        let mut spec = json!({"alibabaCloud": {
            "regionID": "cn-hangzhou",
            "endpoint": gateway.url(),
            "credentials": {"secretRef": {"name": "aliyun-ak"}},
        }});
        let database = match backend {
            BackendKind::Gateway => None,
            BackendKind::Sql => Some(Database::start(&directory.join("oceanbase")).await?),
        };
        if let Some(database) = &database {
            control_plane.apply(&Database::secret().to_string()).await?;
            spec = database.connection_spec();
            (instance, tenants) = (Database::CLUSTER.into(), vec![Database::TENANT.into()]);
        }
        let connection = json!({
            "apiVersion": "sessionkill.dev/v1alpha1",
            "kind": "OceanBaseConnection",
            "metadata": {"name": CONNECTION, "namespace": NAMESPACE},
            "spec": spec,
        });
        control_plane.apply(&connection.to_string()).await?;
        let client = client::fast(control_plane.kubeconfig()).await?;
        let scene = Self { control_plane, gateway, database, client, instance, tenants };
        scene.served::<SessionKill>().await?;
        scene.served::<OceanBaseConnection>().await?;
        scene.served::<SessionKillReceipt>().await?;
        scene.idle().await?;
        Ok(scene)
    }

    /// A load named after its kind: requests for one session each, which are valid for two hours, through the connection that
    /// most loads use.
    pub(super) fn plan(&self, kind: &str, limit: Duration, streams: Vec<Stream>) -> Plan {
        let now = Timestamp::now();
        Plan {
            kubeconfig: self.control_plane.kubeconfig().into(),
            name: format!("{kind}-{}", now.as_millisecond()),
            instance: self.instance.clone(),
            server: SERVER.into(),
            not_after: now + SignedDuration::from_hours(2),
            lives_for: None,
            ttl_seconds: None,
            sessions_each: 1,
            verification: VerificationPolicy::BestEffort,
            announce_to: None,
            places: vec![Place::default()],
            limit,
            streams,
        }
    }

    /// Waits until the API server has a kind in its cache. It fills the cache at the first request, and answers
    /// "storage is (re)initializing" until then. Otherwise the first contender would wait for that.
    async fn served<K>(&self) -> anyhow::Result<()>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let all: Api<K> = Api::all(self.client.clone());
        let deadline = Instant::now() + QUIET_LIMIT;
        while let Err(error) = all.list(&ListParams::default().limit(1).match_any()).await {
            anyhow::ensure!(Instant::now() < deadline, "{} are not served: {error}", K::plural(&()));
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until the API server is almost idle for a second, at most for a minute.
    pub(super) async fn idle(&self) -> anyhow::Result<()> {
        let pid = self.control_plane.pids().api_server;
        let deadline = Instant::now() + QUIET_LIMIT;
        let mut busy = cpu_seconds(pid)?;
        while Instant::now() < deadline {
            sleep(QUIET).await;
            let now = cpu_seconds(pid)?;
            if now - busy < IDLE_SHARE * QUIET.as_secs_f64() {
                break;
            }
            busy = now;
        }
        Ok(())
    }

    /// Waits until the contender has sent no request to the API server for a second, at most for a minute. `counter`
    /// counts its requests. Returns the processor time that it used until then.
    pub(super) async fn quiet(&self, counter: &mut RequestCounter, contender: u32) -> anyhow::Result<CpuSeconds> {
        let total = |counter: &mut RequestCounter| anyhow::Ok(counter.count()?.values().sum::<u64>());
        let deadline = Instant::now() + QUIET_LIMIT;
        let (mut seen, mut since) = (total(counter)?, Instant::now());
        let mut then = CpuSeconds::now(contender, &self.control_plane)?;
        while since.elapsed() < QUIET && Instant::now() < deadline {
            sleep(POLL).await;
            let now = total(counter)?;
            if now != seen {
                (seen, since) = (now, Instant::now());
                then = CpuSeconds::now(contender, &self.control_plane)?;
            }
        }
        Ok(then)
    }

    /// Waits until the connection is known to work, at most for a minute.
    pub(super) async fn connected(&self) -> anyhow::Result<()> {
        let connections: Api<OceanBaseConnection> = Api::namespaced(self.client.clone(), NAMESPACE);
        let known = timeout(CONNECTED_LIMIT, await_condition(connections, CONNECTION, is_ready)).await;
        known.context("the connection is not ready after a minute").map(drop)
    }

    /// Stops the gateway and then the control plane.
    pub(super) async fn stop(self) {
        self.gateway.stop().await;
        self.control_plane.stop().await;
    }
}

/// Whether a connection is known to work.
pub(super) fn is_ready(connection: Option<&OceanBaseConnection>) -> bool {
    let conditions = connection.and_then(|it| it.status.as_ref()).map(|status| status.conditions.as_slice());
    conditions.unwrap_or_default().iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
