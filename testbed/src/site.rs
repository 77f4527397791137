//! An operator that runs as Pods, and work for it: namespaces with a connection, and requests in them.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use rustix::process::Pid;
use secrecy::ExposeSecret as _;
use serde_json::json;
use sessionkill::api::{SessionKill, SessionKillSpec};
use tokio::time::sleep;

use crate::{
    arena::{CONNECTION, SERVER_IP, is_finished, kill_of, session, session_id},
    base::{NAMESPACE, SERVICE_ACCOUNT},
    node::{self, Nodes},
    stack::Stack,
};

/// A rollout waits for calls in flight, and a node needs time to learn of its Pods.
const LIMIT: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(20);

/// The replica that leads, by the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its Pod.
    pub pod: String,
    /// The node of the Pod.
    pub node: String,
    /// Its holder identity, which is new in each life of its container.
    pub identity: String,
    /// Since when it leads.
    pub since: Timestamp,
}

impl Leader {
    /// The process of the operator, outside of its container.
    pub fn process(&self) -> anyhow::Result<Pid> {
        node::process_of(&self.pod)
    }
}

/// What happened to a request for one session, by the gateway and by the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its session was killed, once.
    Killed,
    /// It was claimed when its operator died, and not sent. Its session is still there.
    Unsent,
}

/// A stack with nodes, whose sessions are in memory.
pub struct Site {
    /// Its parts.
    pub stack: Stack,
    client: Client,
}

impl Site {
    /// Uses this stack.
    pub async fn new(stack: Stack) -> anyhow::Result<Self> {
        Ok(Self { client: stack.control_plane.client().await?, stack })
    }

    /// Makes a namespace with a Secret and a connection to the gateway at this URL.
    pub async fn open_namespace(&self, name: &str, endpoint: &str) -> anyhow::Result<()> {
        let key = self.stack.access_key();
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            {
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "aliyun-ak", "namespace": name, "labels": {"sessionkill.dev/credentials": "true"}},
                "stringData": {"accessKeyID": key.id, "accessKeySecret": key.secret.expose_secret()},
            },
            {
                "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection",
                "metadata": {"name": CONNECTION, "namespace": name},
                "spec": {
                    "alibabaCloud": {
                        "regionID": "cn-hangzhou", "endpoint": endpoint,
                        "credentials": {"secretRef": {"name": "aliyun-ak"}},
                    },
                    "requestTimeoutSeconds": 10,
                },
            },
        ]});
        self.stack.control_plane.apply(&objects.to_string()).await.map(drop)
    }

    /// Adds these sessions in memory, and requests their kill.
    pub async fn ask(&self, namespace: &str, name: &str, numbers: &[i64]) -> anyhow::Result<()> {
        self.request(namespace, name, numbers, kill_of(numbers, 3600)?).await
    }

    /// The same, and the operator looks for only so many seconds whether they are gone.
    pub async fn ask_briefly(&self, namespace: &str, name: &str, numbers: &[i64], seconds: i32) -> anyhow::Result<()> {
        let mut kill = kill_of(numbers, 3600)?;
        kill.verification.timeout_seconds = seconds;
        self.request(namespace, name, numbers, kill).await
    }

    async fn request(&self, namespace: &str, name: &str, numbers: &[i64], kill: SessionKillSpec) -> anyhow::Result<()> {
        self.stack.gateway.add_sessions(numbers.iter().map(|number| session(*number)).collect())?;
        let requests = self.requests(namespace);
        let request = SessionKill::new(name, kill);
        requests.create(&PostParams::default(), &request).await.map(drop).context("no request")
    }

    /// The nodes.
    pub fn nodes(&self) -> anyhow::Result<&Nodes> {
        self.stack.nodes.as_ref().context("the stack has no nodes")
    }

    /// Waits until the release has exactly its wanted Pods, and all are ready.
    pub async fn settled(&self) -> anyhow::Result<()> {
        self.settled_in(NAMESPACE).await
    }

    /// The same of a release in another namespace.
    pub async fn settled_in(&self, namespace: &str) -> anyhow::Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let deadline = Instant::now() + LIMIT;
        loop {
            let deployment = deployments.get(SERVICE_ACCOUNT).await?;
            let there = self.pods(namespace).await?;
            if is_rolled_out(&deployment, there.len()) && there.iter().all(is_ready) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not all Pods are ready: {:?} {there:?}", deployment.status);
            sleep(POLL).await;
        }
    }

    /// The Pods of the release in this namespace.
    pub async fn pods(&self, namespace: &str) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let own = ListParams::default().labels(&format!("app.kubernetes.io/name={SERVICE_ACCOUNT}"));
        Ok(pods.list(&own).await?.items)
    }

    /// Waits until the request has ended.
    pub async fn ended(&self, namespace: &str, name: &str) -> anyhow::Result<SessionKill> {
        let requests = self.requests(namespace);
        let deadline = Instant::now() + LIMIT;
        loop {
            let request = requests.get(name).await?;
            if is_finished(&request) {
                return Ok(request);
            }
            ensure!(Instant::now() < deadline, "{name} has not ended: {:?}", request.status);
            sleep(POLL).await;
        }
    }

    /// Waits for the end of the request for the session of this number, and returns what happened. Fails if more than
    /// one kill was made, or if the request contradicts the gateway's ledger.
    pub async fn fate(&self, namespace: &str, name: &str, number: i64) -> anyhow::Result<Fate> {
        let ended = self.ended(namespace, name).await?;
        match (self.kills(&[number])[0], reason(&ended)) {
            (1, "SessionsKilled" | "SessionsGone") => Ok(Fate::Killed),
            (0, "StillPresent") => Ok(Fate::Unsent),
            (kills, _) => bail!("{name}: {kills} kills, and it says {:?}", ended.status),
        }
    }

    /// Waits until a replica leads for which `wanted` holds.
    pub async fn led_by(&self, wanted: impl Fn(&Leader) -> bool) -> anyhow::Result<Leader> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let leader = self.leader().await?;
            if let Some(leader) = leader.clone().filter(|leader| wanted(leader)) {
                return Ok(leader);
            }
            ensure!(Instant::now() < deadline, "nobody else leads: {leader:?}");
            sleep(POLL).await;
        }
    }

    /// Requests of the namespace, as the administrator.
    #[must_use]
    pub fn requests(&self, namespace: &str) -> Api<SessionKill> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The number of real kills of each of these sessions.
    #[must_use]
    pub fn kills(&self, numbers: &[i64]) -> Vec<u32> {
        let kills = self.stack.gateway.kills_per_session();
        let of = |number: &i64| kills.get(&(SERVER_IP.to_owned(), session_id(*number))).copied().unwrap_or_default();
        numbers.iter().map(of).collect()
    }

    async fn leader(&self) -> anyhow::Result<Option<Leader>> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let spec = leases.get_opt(SERVICE_ACCOUNT).await?.and_then(|lease| lease.spec).unwrap_or_default();
        let (Some(identity), Some(since)) = (spec.holder_identity.filter(|it| !it.is_empty()), spec.acquire_time)
        else {
            return Ok(None);
        };
        // The identity names its Pod, and this life of its container.
        let pod = identity.rsplit_once('_').map_or(identity.as_str(), |(pod, _)| pod).to_owned();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let node = pods.get_opt(&pod).await?.and_then(|pod| pod.spec).and_then(|spec| spec.node_name);
        Ok(node.map(|node| Leader { pod, node, identity, since: since.0 }))
    }
}

/// The reason for which the request ended or waits. Empty if it has none yet.
#[must_use]
pub fn reason(request: &SessionKill) -> &str {
    let conditions = request.status.iter().flat_map(|status| &status.conditions);
    let succeeded = conditions.into_iter().find(|condition| condition.type_ == "Succeeded");
    succeeded.map_or("", |condition| condition.reason.as_str())
}

fn is_rolled_out(deployment: &Deployment, pods: usize) -> bool {
    let (spec, status) = (deployment.spec.as_ref(), deployment.status.as_ref());
    let wanted = spec.and_then(|spec| spec.replicas);
    let seen = status.and_then(|status| status.observed_generation) == deployment.metadata.generation;
    let updated = status.and_then(|status| status.updated_replicas);
    seen && updated.or(Some(0)) == wanted && wanted == i32::try_from(pods).ok()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}
