//! Two nodes with the operator installed, for all tests of this program.

use std::{
    collections::BTreeMap,
    env,
    fmt::Display,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::Value;
use testbed::{
    chart,
    helm::Helm,
    node::{Nodes, Source},
    scratch::{self, TempDir},
    site::{Site, reason},
    stack::{Install, NAMESPACE, OperatorChoice, Pods, SERVICE_ACCOUNT, Sessions, Stack, StackOptions},
};
use tokio::{
    sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::sleep,
};

use crate::{calls, names, spread::ZONE};

/// Far longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(4);
const POLL: Duration = Duration::from_millis(50);
/// The namespace of most requests.
pub const TEAM: &str = "team-a";

static GROUND: OnceLock<Ground> = OnceLock::new();

/// What all tests share.
pub struct Ground {
    /// The operator in two Pods, and everything around it.
    pub site: Site,
    /// The Helm that manages the releases.
    pub helm: Helm,
    alone: Mutex<()>,
    /// Read access: a test needs both nodes. Write access: a test takes a node away.
    both_nodes: RwLock<()>,
    is_spoiled: AtomicBool,
    asked: AtomicI64,
    directory: TempDir,
}

/// A part of every guard. A test that panics while it holds a guard has not cleaned up, and this notes that for the
/// next one.
struct Care<'a>(&'a Ground);

impl Drop for Care<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.is_spoiled.store(true, Ordering::Relaxed);
        }
    }
}

/// The guard of a test that needs the shared release alone.
pub struct Alone<'a> {
    _care: Care<'a>,
    _turn: MutexGuard<'a, ()>,
}

/// The same for a test that also takes a node away.
pub struct AloneOnNodes<'a> {
    _alone: Alone<'a>,
    _nodes: RwLockWriteGuard<'a, ()>,
}

/// The guard of a test that needs both nodes and runs in parallel with others.
pub struct BothNodes<'a> {
    _care: Care<'a>,
    _nodes: RwLockReadGuard<'a, ()>,
}

/// Prepares the environment for all tests.
pub async fn prepare() -> anyhow::Result<()> {
    let ground = Ground::prepare().await.context("no ground for tests")?;
    GROUND.get_or_init(|| ground);
    Ok(())
}

/// The environment. It must have been prepared.
pub fn ground() -> &'static Ground {
    GROUND.get().unwrap()
}

/// Prints what helps to understand a failed test, as far as it is still available.
pub async fn explain() {
    let Some(stack) = GROUND.get().map(|ground| &ground.site.stack) else { return };
    println!("{}", stack.nodes.as_ref().map(Nodes::logs).unwrap_or_default());
    let asked: [&[&str]; 3] = [
        &["get", "pods", "-A", "-o", "wide"],
        &["get", "events", "-A", "-o", "wide"],
        &["logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=sessionkill-operator", "--tail=60"],
    ];
    for arguments in asked {
        println!("{}", stack.control_plane.run_kubectl(arguments).await.unwrap_or_else(|error| format!("{error:#}")));
    }
}

impl Ground {
    async fn prepare() -> anyhow::Result<Self> {
        let directory = scratch::directory()?;
        let image = match env::var_os("SESSIONKILL_NODE_IMAGE").filter(|value| !value.is_empty()) {
            Some(layout) => Source::Layout(layout.into()),
            None => Source::Binary(env!("CARGO_BIN_EXE_sessionkill-operator").into()),
        };
        let options = StackOptions {
            directory: directory.path().join("stack"),
            sessions: Sessions::Memory,
            operator: OperatorChoice::None,
            sts: None,
        };
        let begun = Instant::now();
        let pods = Install::Pods(Pods { nodes: 2, image, lease_seconds: None, gateway_names: vec![names::gateway()] });
        let stack = Stack::start_installed(options, pods).await?;
        figure("two nodes from nothing, and the chart installed on them", begun);
        let site = Site::new(stack).await?;
        site.open_namespace(TEAM, &site.stack.gateway_url()).await?;
        calls::open(&site).await?;
        let helm = Helm::in_home(&directory.path().join("helm"))?;
        let (alone, both_nodes) = (Mutex::default(), RwLock::default());
        let (is_spoiled, asked) = (AtomicBool::default(), AtomicI64::new(1));
        Ok(Self { site, helm, alone, both_nodes, is_spoiled, asked, directory })
    }

    /// For a test that needs the shared release alone. Waits until both replicas are ready. Drop the guard as soon as
    /// possible: while a test only waits for a result, others can run.
    pub async fn alone(&self) -> Alone<'_> {
        let turn = self.alone.lock().await;
        let alone = Alone { _care: Care(self), _turn: turn };
        if self.is_spoiled.swap(false, Ordering::Relaxed) {
            self.restore().await;
        }
        self.rolled_out().await;
        alone
    }

    /// For a test that also takes a node away. Waits until no other test needs both nodes.
    pub async fn alone_on_nodes(&self) -> AloneOnNodes<'_> {
        let alone = self.alone().await;
        AloneOnNodes { _alone: alone, _nodes: self.both_nodes.write().await }
    }

    /// For a test that does not use the shared release, but needs both nodes.
    pub async fn both_nodes(&self) -> BothNodes<'_> {
        let nodes = self.both_nodes.read().await;
        BothNodes { _care: Care(self), _nodes: nodes }
    }

    /// Undoes the changes of a test that failed.
    async fn restore(&self) {
        self.site.stack.gateway.clear_faults();
        for node in self.nodes().nodes() {
            node.reconnect().unwrap();
            self.kubectl(&["uncordon", &node.name()]).await;
            self.kubectl(&["label", "node", &node.name(), &format!("{ZONE}-")]).await;
        }
        self.nodes().start_dns().unwrap();
        self.nodes().ready(&self.site.stack.control_plane).await.unwrap();
        self.helm(&["uninstall", SERVICE_ACCOUNT, "--ignore-not-found", "--wait"]).await;
        self.install().await;
    }

    /// The nodes.
    pub fn nodes(&self) -> &Nodes {
        self.site.nodes().unwrap()
    }

    /// Creates a directory.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Numbers of sessions that no request has named yet.
    pub fn numbers(&self, count: i64) -> Vec<i64> {
        let first = self.asked.fetch_add(count, Ordering::Relaxed);
        (first..first + count).collect()
    }

    /// Runs kubectl and returns its output.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.site.stack.control_plane.run_kubectl(arguments).await.unwrap()
    }

    /// An object in the namespace of the release, or all objects of a kind, as JSON.
    pub async fn get(&self, what: &[&str]) -> Value {
        let get = ["get", "--namespace", NAMESPACE, "-o", "json"];
        serde_json::from_str(&self.kubectl(&[&get[..], what].concat()).await).unwrap()
    }

    /// The Pods of the release.
    pub async fn pods(&self) -> Vec<Value> {
        self.pods_in(NAMESPACE).await
    }

    /// The Pods of the release in this namespace.
    pub async fn pods_in(&self, namespace: &str) -> Vec<Value> {
        let pods = self.site.pods(namespace).await.unwrap();
        pods.iter().map(|pod| serde_json::to_value(pod).unwrap()).collect()
    }

    /// The UIDs of the Pods, and how many times the container of each was restarted.
    pub async fn lives(&self) -> BTreeMap<String, i64> {
        let life = |pod: &Value| {
            let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
            (uid, pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap())
        };
        self.pods().await.iter().map(life).collect()
    }

    /// Waits until the Deployment has its desired state and no old Pod is left.
    pub async fn rolled_out(&self) {
        self.site.settled().await.unwrap();
    }

    /// Runs Helm in the namespace of the release.
    pub async fn helm(&self, arguments: &[&str]) -> String {
        let place = ["--namespace", NAMESPACE];
        let kubeconfig = self.site.stack.control_plane.kubeconfig();
        self.helm.run(Some(kubeconfig), &[arguments, &place].concat()).await.unwrap()
    }

    /// Upgrades the release to this chart with its current values and these options.
    pub async fn upgrade(&self, chart: &Path, options: &[&str]) {
        let upgrade = ["upgrade", SERVICE_ACCOUNT, chart.to_str().unwrap(), "--reuse-values", "--wait"];
        self.helm(&[&upgrade[..], options].concat()).await;
    }

    /// Waits until the request waits for one of these reasons, and checks that nothing was sent.
    pub async fn waits(&self, namespace: &str, name: &str, numbers: &[i64], reasons: &[&str]) {
        eventually("a request that waits", async || {
            let request = self.site.requests(namespace).get(name).await.map_err(|error| error.to_string())?;
            let reason = reason(&request).to_owned();
            if reasons.contains(&reason.as_str()) { Ok(()) } else { Err(reason) }
        })
        .await;
        assert_eq!(self.site.kills(numbers), vec![0; numbers.len()], "{name}");
    }

    /// The values with which the release was first installed.
    pub fn values(&self) -> PathBuf {
        self.directory.path().join("stack/values.json")
    }

    /// Installs the current chart with these values.
    pub async fn install(&self) {
        let (chart, values) = (chart::directory(), self.values());
        let [chart, values] = [&chart, &values].map(|path| path.to_str().unwrap());
        self.helm(&["install", SERVICE_ACCOUNT, chart, "--values", values, "--wait"]).await;
    }

    /// Waits until the request has ended as killed, and checks that each of its sessions was killed once.
    pub async fn killed_once(&self, name: &str, numbers: &[i64]) {
        let ended = self.site.ended(TEAM, name).await.unwrap();
        assert_eq!(reason(&ended), "SessionsKilled", "{:?}", ended.status);
        assert_eq!(self.site.kills(numbers), vec![1; numbers.len()], "{name}");
    }
}

/// Repeats `check` until it succeeds. Fails the test after the limit.
pub async fn eventually<T, E: Display>(what: &str, check: impl AsyncFnMut() -> Result<T, E>) -> T {
    within(LIMIT, what, check).await
}

/// The same with another limit, for what takes longer.
pub async fn within<T, E: Display>(limit: Duration, what: &str, mut check: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(failure) => assert!(Instant::now() < deadline, "waited in vain for {what}: {failure}"),
        }
        sleep(POLL).await;
    }
}

/// Prints how long something took, for information only.
pub fn figure(what: &str, since: Instant) {
    println!("    {what}: {:.1} s", since.elapsed().as_secs_f64());
}
