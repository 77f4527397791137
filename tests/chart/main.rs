//! The Helm chart with real parts. Helm itself renders, installs and upgrades it. The real kube-apiserver validates
//! every object strictly. The operator's binary runs as in the Pod of its Deployment, with the rights that the chart
//! grants.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use testbed::{
    chart,
    control_plane::server_version as control_plane_version,
    helm::Helm,
    prometheus_operator,
    scratch::{self, TempDir},
    stack::NAMESPACE,
};
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

use crate::control_plane::{Cluster, Said, cluster};

mod base;
#[path = "../control_plane/mod.rs"]
mod control_plane;
mod install;
mod limits;
mod operators;
mod policy;
mod render;
mod tokens;
mod user_roles;

const LIMIT: Duration = Duration::from_mins(2);

/// At most one control plane for a single test at a time: more would only slow each other down.
static CONTROL_PLANES: Semaphore = Semaphore::const_new(1);

/// Helm, built by the first test that needs it.
async fn helm() -> &'static Helm {
    static HELM: OnceCell<Helm> = OnceCell::const_new();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm");
    HELM.get_or_init(async || tokio::task::spawn_blocking(move || Helm::in_home(&home)).await.unwrap().unwrap()).await
}

/// The version of Kubernetes of the control planes.
async fn server_version() -> &'static str {
    static VERSION: OnceCell<String> = OnceCell::const_new();
    let ask = async || tokio::task::spawn_blocking(control_plane_version).await.unwrap().unwrap();
    VERSION.get_or_init(ask).await
}

/// The manifests of the chart at `chart` with these values, or Helm's error.
async fn render_of(chart: &Path, values: &Value, options: &[&str]) -> Result<String, String> {
    let directory = scratch::directory().unwrap();
    let file = directory.path().join("values.json");
    fs::write(&file, values.to_string()).unwrap();
    let [chart, file] = [chart, &file].map(|path| path.to_str().unwrap());
    let render = ["template", "sessionkill-operator", chart, "--namespace", NAMESPACE, "--values", file];
    let arguments = [&render[..], &["--kube-version", server_version().await], options].concat();
    helm().await.run(None, &arguments).await.map_err(|error| format!("{error:#}"))
}

/// The manifests of the chart with these values.
async fn render(values: &Value) -> String {
    render_of(&chart::directory(), values, &[]).await.unwrap()
}

/// A copy of the chart for changes. Dropping the directory removes it.
fn copy_of_the_chart() -> (TempDir, PathBuf) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() { copy(&entry.path(), &to) } else { assert!(fs::copy(entry.path(), to).is_ok()) }
        }
    }
    let directory = scratch::directory().unwrap();
    let chart = directory.path().join("sessionkill-operator");
    copy(&chart::directory(), &chart);
    (directory, chart)
}

/// Repeats `check` until it succeeds. Fails the test after the limit.
async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(failure) => assert!(Instant::now() < deadline, "waited in vain for {what}: {failure}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The shared control plane, with the namespaces that manifests use and the kinds of the Prometheus operator.
async fn furnished() -> &'static Cluster {
    static FURNISHED: OnceCell<()> = OnceCell::const_new();
    let cluster = cluster().await;
    FURNISHED.get_or_init(async || furnish(cluster).await).await;
    cluster
}

async fn furnish(cluster: &Cluster) {
    let modes = ["pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/warn"];
    cluster.namespace(NAMESPACE, &modes.map(|mode| (mode, "restricted"))).await;
    for name in ["team-a", "team-b"] {
        cluster.namespace(name, &[]).await;
    }
    let kinds = ["servicemonitors", "prometheusrules"];
    let files = tokio::task::spawn_blocking(move || prometheus_operator::definitions(kinds)).await.unwrap().unwrap();
    for file in files {
        let said = cluster.kubectl(&["create", "-f", file.to_str().unwrap()]).await;
        assert!(said.success, "{}", said.stderr);
    }
    for kind in kinds {
        eventually("the kinds of the Prometheus operator", async || {
            let said = cluster.kubectl(&["get", kind, "-A"]).await;
            if said.success { Ok(()) } else { Err(said.stderr) }
        })
        .await;
    }
}

/// The result of a strict apply as a dry run on the server. Warnings count as errors.
async fn tried(cluster: &Cluster, manifests: &str) -> Said {
    let strictly = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors"];
    cluster.kubectl_with(&[&strictly[..], &["-o", "json", "-f", "-"]].concat(), manifests).await
}

/// The objects that the API server would store for these manifests. Fails if it refuses or warns, see [`tried`].
async fn admitted(cluster: &Cluster, what: &str, manifests: &str) -> Vec<Value> {
    let said = tried(cluster, manifests).await;
    assert!(said.success && said.stderr.is_empty(), "{what}: {}\n{manifests}", said.stderr);
    listed(&said.stdout)
}

/// The objects in kubectl's output: a list, one object, or several documents.
fn listed(json: &str) -> Vec<Value> {
    let documents = serde_json::Deserializer::from_str(json).into_iter::<Value>().map(Result::unwrap);
    let items = documents.flat_map(|document| match document["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![document],
    });
    items.collect()
}

/// Kind and name of each object, such as `ClusterRole/sessionkill-viewer`.
fn names(objects: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    objects.iter().map(|object| format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))).collect()
}
