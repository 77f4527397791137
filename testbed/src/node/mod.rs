//! Real nodes for the control plane: kubelet, containerd and runc, so that Pods run; and the controllers and the scheduler that
//! make Pods of Deployments and move them.
//!
//! ```text
//! enclosure: namespaces, gone with this program
//! ├─ etcd, kube-apiserver, kube-controller-manager, kube-scheduler, name server, registry
//! ├─ bridge
//! ├─ node-1: containerd, kubelet, kube-proxy, Pods
//! └─ node-2: the same
//! ```

mod config;
mod enclosure;
mod images;
mod machine;
mod network;
mod programs;
mod requirements;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::time::sleep;

pub use self::{
    enclosure::{Entered, enter, is_inside},
    images::{Image, Source},
    machine::{Node, process_of},
    network::{HOST, NETWORKS, expose},
    programs::Programs,
    requirements::{VARIABLE, Wanted, check},
};
use crate::{
    control_plane::ControlPlane,
    image::Registry,
    inside::ensure_inside,
    process::{Output, Process},
};

const START_LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);

/// Running nodes, and what schedules Pods on them. All of it ends when this value is dropped.
#[derive(Debug)]
pub struct Nodes {
    // First, so that they are dropped before the rest.
    all: Vec<Node>,
    registry: Registry,
    dns: Mutex<Option<Process>>,
    _controllers: [Process; 2],
    programs: Programs,
    directory: PathBuf,
    corefile: PathBuf,
}

impl Nodes {
    /// Starts this number of nodes, with their data and logs in `directory`, and returns when Pods can be scheduled on
    /// all of them. Call it inside of an [`enter`]ed enclosure. The control plane must have been started for nodes at
    /// [`HOST`].
    pub async fn start(
        control_plane: &ControlPlane,
        programs: &Programs,
        directory: &Path,
        count: u8,
    ) -> anyhow::Result<Self> {
        ensure_inside()?;
        std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        let controllers = start_controllers(control_plane, programs, &directory)?;
        let registry = images::serve(programs, &directory).await?;
        let nodes = (1..=count).map(|number| Node::start(control_plane, programs, &directory, number));
        let nodes = nodes.collect::<anyhow::Result<Vec<_>>>()?;
        control_plane.apply(&name_service().to_string()).await?;
        let corefile = write_corefile(control_plane, &directory)?;
        let nodes = Self {
            all: nodes,
            registry,
            dns: Mutex::new(None),
            _controllers: controllers,
            programs: programs.clone(),
            directory,
            corefile,
        };
        nodes.start_dns()?;
        nodes.ready(control_plane).await?;
        Ok(nodes)
    }

    /// The nodes, in the order of their numbers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.all
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> anyhow::Result<&Node> {
        self.all.iter().find(|node| node.name() == name).with_context(|| format!("there is no node {name}"))
    }

    /// Pushes an image to the registry of the nodes.
    pub fn push(&self, source: &Source) -> anyhow::Result<Image> {
        images::push(&self.registry, source, &self.directory)
    }

    /// Enforces `NetworkPolicy` objects from now on. Without this call nothing enforces them.
    pub fn enforce_policies(&self, control_plane: &ControlPlane) -> anyhow::Result<()> {
        let access = control_plane.component_kubeconfig("network-policy", Some("system:masters"), HOST)?;
        self.all.iter().try_for_each(|node| node.enforce_policies(&self.programs, &access))
    }

    /// Starts the name server of Pods. Ends it first if it runs.
    pub fn start_dns(&self) -> anyhow::Result<()> {
        self.stop_dns();
        let mut command = Command::new(&self.programs.dns);
        command.arg("-conf").arg(&self.corefile);
        let process = Process::start(&command, Output::together(self.directory.join("dns.log")))?;
        *self.dns.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// Ends the name server, so that no name query of a Pod is answered.
    pub fn stop_dns(&self) {
        drop(self.dns.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits until Pods can be scheduled on all nodes.
    pub async fn ready(&self, control_plane: &ControlPlane) -> anyhow::Result<()> {
        let api: Api<NodeObject> = Api::all(control_plane.client().await?);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let known = api.list(&ListParams::default()).await?.items;
            if known.iter().filter(|node| takes_pods(node)).count() == self.all.len() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not all nodes are ready: {known:?}\n{}", self.logs());
            sleep(POLL).await;
        }
    }

    /// The last lines of the logs of all nodes.
    #[must_use]
    pub fn logs(&self) -> String {
        self.all.iter().map(Node::logs).collect()
    }
}

fn takes_pods(node: &NodeObject) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let tainted = node.spec.as_ref().is_some_and(|spec| spec.taints.as_ref().is_some_and(|taints| !taints.is_empty()));
    is_ready && !tainted
}

fn start_controllers(
    control_plane: &ControlPlane,
    programs: &Programs,
    directory: &Path,
) -> anyhow::Result<[Process; 2]> {
    let start = |name: &str, program: &Path, arguments: &[String]| {
        let access = control_plane.component_kubeconfig(&format!("system:{name}"), None, Ipv4Addr::LOCALHOST)?;
        let mut command = Command::new(program);
        command.arg(format!("--kubeconfig={}", access.display())).arg("--leader-elect=false").args(arguments);
        Process::start(&command, Output::together(directory.join(format!("{name}.log"))))
    };
    let file = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
    let manager = [
        file("service-account-private-key-file", control_plane.token_key_file()),
        file("root-ca-file", control_plane.authority_file()),
        "--use-service-account-credentials".into(),
        // Set a directory: the default one is on the machine.
        file("flex-volume-plugin-dir", directory.join("volume-plugins")),
        // Notice a lost node after this time, not after 50 s.
        "--node-monitor-grace-period=10s".into(),
        "--node-monitor-period=1s".into(),
    ];
    let scheduler = programs.path("kube-scheduler");
    Ok([
        start("kube-controller-manager", &programs.controller_manager, &manager)?,
        start("kube-scheduler", &scheduler, &[])?,
    ])
}

/// The Service of the name server, which is not a Pod.
fn name_service() -> serde_json::Value {
    let ports =
        json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]);
    let metadata = json!({"name": "kube-dns", "namespace": "kube-system"});
    let mut slice_metadata = metadata.clone();
    slice_metadata["labels"] = json!({"kubernetes.io/service-name": "kube-dns"});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": network::DNS, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice_metadata,
            "addressType": "IPv4", "endpoints": [{"addresses": [HOST.to_string()]}], "ports": ports,
        },
    ]})
}

fn write_corefile(control_plane: &ControlPlane, directory: &Path) -> anyhow::Result<PathBuf> {
    let path = directory.join("Corefile");
    let text = format!(
        ".:53 {{\n  errors\n  kubernetes cluster.local {{\n    kubeconfig {} testbed\n  }}\n}}\n",
        control_plane.kubeconfig().display()
    );
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
