//! The operator as Pods on real nodes.

use std::{
    fs, iter,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, value_parser};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{
    options::{Pods, Sessions},
    sts::StsEndpoints,
};
use crate::{
    base::{NAMESPACE, SERVICE_ACCOUNT},
    chart,
    control_plane::{self, ControlPlane},
    helm::Helm,
    node::{self, Entered, Nodes, Programs, Source},
    oceanbase,
    operator::build_operator,
};

/// Options for nodes.
#[derive(Args, Debug)]
pub struct NodeArgs {
    /// Start this number of real nodes, 1 or 2, and install the operator on them with its chart. Needs root and
    /// containerd.
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u8).range(1..=2))]
    nodes: Option<u8>,
    /// With --nodes: the image of the operator, as an OCI layout written by `testbed image`. Unset means the operator
    /// of this source tree, built with cargo's `dev` profile.
    #[arg(long, value_name = "DIRECTORY", requires = "nodes")]
    image: Option<PathBuf>,
}

impl NodeArgs {
    /// If nodes are wanted, builds everything and then runs this program where nodes can run: see [`node::enter`].
    pub async fn enter(&self, sessions: Sessions) -> anyhow::Result<Entered> {
        if self.nodes.is_none() || node::is_inside() {
            return Ok(Entered::Inside);
        }
        spawn_blocking(move || {
            node::check()?;
            prepare(sessions)?;
            node::enter()
        })
        .await?
    }

    /// The number of nodes, if any.
    #[must_use]
    pub fn count(&self) -> Option<u8> {
        self.nodes
    }

    /// The nodes and the image, if nodes are wanted. Without an image it is made of `binary`.
    pub fn pods(&self, binary: Option<PathBuf>) -> anyhow::Result<Option<Pods>> {
        let Some(nodes) = self.nodes else { return Ok(None) };
        let image = match (&self.image, binary) {
            (Some(layout), _) => Source::Layout(layout.clone()),
            (None, Some(binary)) => Source::Binary(binary),
            (None, None) => Source::Binary(build_operator("dev")?),
        };
        Ok(Some(Pods { nodes, image, lease_seconds: None, gateway_names: vec![] }))
    }
}

/// Builds and fetches all programs that a stack with nodes needs, as an enclosure has no network. It blocks, for some
/// minutes once.
pub fn prepare(sessions: Sessions) -> anyhow::Result<()> {
    control_plane::prepare()?;
    Programs::locate()?;
    Helm::in_home(&std::env::temp_dir())?;
    if sessions != Sessions::Memory {
        oceanbase::prepare()?;
    }
    build_operator("dev").map(drop)
}

/// The ports of what runs beside the nodes.
pub(super) struct Ports {
    pub(super) gateway: u16,
    pub(super) metadata: Option<u16>,
    pub(super) sql: Option<u16>,
}

/// Starts the nodes and installs the operator on them, into a namespace with the restricted Pod Security Standard.
/// Returns when all its Pods are ready. They reach the parts beside the nodes at these ports.
pub(super) async fn install(
    pods: &Pods,
    control_plane: &ControlPlane,
    ports: &Ports,
    directory: &Path,
) -> anyhow::Result<Nodes> {
    let programs = spawn_blocking(Programs::locate).await??;
    let nodes = Nodes::start(control_plane, &programs, &directory.join("nodes"), pods.nodes).await?;
    let image = nodes.push(&pods.image)?;
    iter::once(ports.gateway).chain(ports.metadata).chain(ports.sql).try_for_each(node::expose)?;
    let host = node::HOST.to_string();
    let hosts = iter::once(&host).chain(&pods.gateway_names);
    let endpoints: Vec<_> = hosts.map(|host| format!("http://{host}:{}", ports.gateway)).collect();
    let sts = ports.metadata.map(|metadata| StsEndpoints {
        sts: format!("http://{host}:{}", ports.gateway),
        metadata: format!("http://{host}:{metadata}"),
    });
    let values = json!({
        "image": {"repository": image.repository, "digest": image.digest},
        "leaderElection": {"leaseDurationSeconds": pods.lease_seconds},
        "operator": {
            "allowEndpoints": endpoints,
            "allowSQLHosts": ports.sql.map(|port| format!("{host}:{port}")).as_slice(),
            "extraArgs": sts.iter().flat_map(StsEndpoints::arguments).collect::<Vec<_>>(),
        },
    });
    let file = directory.join("values.json");
    fs::write(&file, values.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    }});
    control_plane.apply(&namespace.to_string()).await?;
    let home = directory.join("helm");
    let helm = spawn_blocking(move || Helm::in_home(&home)).await??;
    let (chart, file) = (chart::directory(), file.to_string_lossy().into_owned());
    let chart = chart.to_str().context("helm needs a path in UTF-8")?;
    let install = ["install", SERVICE_ACCOUNT, chart, "--namespace", NAMESPACE, "--values", &file, "--wait"];
    helm.run(Some(control_plane.kubeconfig()), &install).await?;
    Ok(nodes)
}
