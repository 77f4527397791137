//! Installing, upgrading and uninstalling with Helm, on a control plane of the test's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{
    chart,
    control_plane::ControlPlane,
    scratch::{self, TempDir},
    stack::NAMESPACE,
};

use crate::{CONTROL_PLANES, control_plane::repository, copy_of_the_chart, eventually, helm, listed};

/// The flags with which Helm takes over objects that it did not install, even if somebody else has set their fields.
const TAKE_OVER: [&str; 2] = ["--take-ownership", "--force-conflicts"];
const ANOTHER: &str = "ending";

async fn get(control_plane: &ControlPlane, what: &[&str]) -> Value {
    let said = control_plane.run_kubectl(&[&["get", "-o", "json"], what].concat()).await.unwrap();
    listed(&said).remove(0)
}

async fn exists(control_plane: &ControlPlane, what: &[&str]) -> bool {
    let found = control_plane.run_kubectl(&[&["get", "--ignore-not-found", "-o", "name"], what].concat()).await;
    !found.unwrap().is_empty()
}

/// The chart as an earlier version could have been: a column has another name, and one right is missing.
fn earlier_chart() -> (TempDir, PathBuf) {
    let (kept, earlier) = copy_of_the_chart();
    let edit = |file: &str, from: &str, to: &str| {
        let path = earlier.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    edit("Chart.yaml", "ersion: 0.1.0", "ersion: 0.0.9");
    edit("files/crds/sessionkills.yaml", "name: Tenant\n", "name: Owner\n");
    edit("files/rules.yaml", "- apiGroups: [events.k8s.io]\n  resources: [events]\n  verbs: [create, patch]\n", "");
    (kept, earlier)
}

/// The names of the columns of `SessionKill`, as JSON.
async fn columns(control_plane: &ControlPlane) -> String {
    get(control_plane, &["crd", "sessionkills.sessionkill.dev"]).await["spec"]["versions"][0]["additionalPrinterColumns"]
        .to_string()
}

/// Creates a request as soon as its kind is served, and returns its UID.
async fn request(control_plane: &ControlPlane) -> Value {
    let not_after = (Timestamp::now() + SignedDuration::from_hours(1)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let request = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill", "metadata": {"name": "inc-1", "namespace": "default"},
        "spec": {
            "connectionRef": {"name": "prod-ob"}, "instanceID": "ob317v4uif0001", "tenantID": "t4louaeei0001",
            "sessions": [{"serverIP": "192.168.13.119", "sessionID": 1}], "notAfterTime": not_after,
        },
    });
    eventually("the kinds", async || {
        control_plane.apply(&request.to_string()).await.map_err(|error| error.to_string())
    })
    .await;
    uid(control_plane).await
}

async fn uid(control_plane: &ControlPlane) -> Value {
    get(control_plane, &["sessionkill", "inc-1"]).await["metadata"]["uid"].clone()
}

#[tokio::test]
async fn an_upgrade_brings_the_definitions_and_an_uninstall_keeps_them_and_what_they_hold() {
    let _alone = CONTROL_PLANES.acquire().await.unwrap();
    let directory = scratch::directory().unwrap();
    let control_plane = ControlPlane::start(directory.path()).await.unwrap();
    let (_kept, earlier) = earlier_chart();
    let run = async |command: &[&str], chart: &Path| {
        let place = [chart.to_str().unwrap(), "--namespace", NAMESPACE];
        helm().await.run(Some(control_plane.kubeconfig()), &[command, &place].concat()).await.unwrap()
    };
    run(&["install", "sessionkill-operator", "--create-namespace"], &earlier).await;
    assert!(columns(&control_plane).await.contains("Owner"));
    let uid = request(&control_plane).await;

    run(&["upgrade", "sessionkill-operator"], &chart::directory()).await;
    let columns_now = columns(&control_plane).await;
    assert!(columns_now.contains("Tenant") && !columns_now.contains("Owner"), "{columns_now}");
    let role = get(&control_plane, &["clusterrole", "sessionkill-operator"]).await;
    assert!(role["rules"].to_string().contains("events.k8s.io"), "{role}");
    let deployment = ["deployment", "sessionkill-operator", "--namespace", NAMESPACE];
    let image = get(&control_plane, &deployment).await["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, concat!("sessionkill-operator:", env!("CARGO_PKG_VERSION")));
    assert_eq!(self::uid(&control_plane).await, uid);

    let uninstall = ["uninstall", "sessionkill-operator", "--namespace", NAMESPACE];
    helm().await.run(Some(control_plane.kubeconfig()), &uninstall).await.unwrap();
    assert!(!exists(&control_plane, &deployment).await);
    for gone in ["clusterrole", "clusterrolebinding"] {
        assert!(!exists(&control_plane, &[gone, "sessionkill-operator"]).await, "{gone}");
    }
    assert_eq!(self::uid(&control_plane).await, uid);

    // The objects that Helm kept belong to a release of that name, so it can be installed again.
    run(&["install", "sessionkill-operator"], &chart::directory()).await;
    assert_eq!(self::uid(&control_plane).await, uid);
    control_plane.stop().await;
}

/// One cluster in which each way of installing is used after each other one.
struct Ways {
    control_plane: ControlPlane,
    earlier: PathBuf,
    _kept: (TempDir, TempDir),
}

impl Ways {
    async fn open() -> Self {
        let directory = scratch::directory().unwrap();
        let control_plane = ControlPlane::start(directory.path()).await.unwrap();
        let (kept, earlier) = earlier_chart();
        Self { control_plane, earlier, _kept: (directory, kept) }
    }

    async fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        let place = ["--namespace", NAMESPACE];
        let said = helm().await.run(Some(self.control_plane.kubeconfig()), &[arguments, &place].concat()).await;
        said.map_err(|error| format!("{error:#}"))
    }

    async fn install(&self, name: &str, options: &[&str]) -> Result<String, String> {
        let chart = chart::directory();
        let install = ["install", name, chart.to_str().unwrap(), "--create-namespace"];
        self.helm(&[&install[..], options].concat()).await
    }

    /// Checks that Helm refuses to change existing objects, and takes them over with the flags in the documentation.
    async fn takes_over(&self, name: &str) {
        let refused = self.install(name, &[]).await.unwrap_err();
        assert!(refused.contains("invalid ownership metadata"), "{refused}");
        self.install(name, &TAKE_OVER).await.unwrap();
        self.assert_current().await;
        self.assert_of_release(name).await;
    }

    async fn uninstall(&self, name: &str) {
        self.helm(&["uninstall", name]).await.unwrap();
    }

    /// `kubectl apply` of the definitions of the earlier version.
    async fn apply_earlier(&self, options: &[&str]) -> Result<String, String> {
        let definitions = self.earlier.join("files/crds");
        let apply = ["apply", "-f", definitions.to_str().unwrap()];
        let said = self.control_plane.run_kubectl(&[&apply[..], options].concat()).await;
        said.map_err(|error| format!("{error:#}"))
    }

    /// Checks that the definitions are those of this version.
    async fn assert_current(&self) {
        let columns = columns(&self.control_plane).await;
        assert!(columns.contains("Tenant") && !columns.contains("Owner"), "{columns}");
    }

    /// Checks that the definitions belong to the release of this name.
    async fn assert_of_release(&self, name: &str) {
        let definition = get(&self.control_plane, &["crd", "sessionkills.sessionkill.dev"]).await;
        assert_eq!(definition["metadata"]["annotations"]["meta.helm.sh/release-name"], name);
    }

    async fn deployments(&self) -> Vec<String> {
        let get = ["get", "deployments", "--namespace", NAMESPACE, "-o", "name"];
        let said = self.control_plane.run_kubectl(&get).await.unwrap();
        said.lines().map(|line| line.trim_start_matches("deployment.apps/").to_owned()).collect()
    }
}

#[tokio::test]
async fn each_way_of_installing_can_follow_each_other() {
    let _alone = CONTROL_PLANES.acquire().await.unwrap();
    let ways = Ways::open().await;
    let control_plane = &ways.control_plane;

    // Apply the earlier definitions with kubectl, then install with Helm.
    ways.apply_earlier(&[]).await.unwrap();
    let uid = request(control_plane).await;
    ways.takes_over("sessionkill-operator").await;
    assert_eq!(ways.deployments().await, ["sessionkill-operator"]);

    // Install a second release beside the first, and after both are uninstalled, one of another name.
    ways.install(ANOTHER, &["--set", "crds.install=false", "--set", "userRoles.create=false"]).await.unwrap();
    assert_eq!(ways.deployments().await, ["ending-sessionkill-operator", "sessionkill-operator"]);
    ways.uninstall(ANOTHER).await;
    ways.uninstall("sessionkill-operator").await;
    ways.takes_over(ANOTHER).await;
    assert_eq!(ways.deployments().await, ["ending-sessionkill-operator"]);
    ways.uninstall(ANOTHER).await;

    // Use kubectl after Helm.
    let conflict = ways.apply_earlier(&["--server-side"]).await.unwrap_err();
    assert!(conflict.contains("conflict"), "{conflict}");
    ways.apply_earlier(&["--server-side", "--force-conflicts"]).await.unwrap();
    let definitions = repository("crds");
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", definitions.to_str().unwrap()];
    control_plane.run_kubectl(&apply).await.unwrap();
    control_plane.apply_path(&repository("deploy/base")).await.unwrap();
    ways.assert_current().await;
    assert_eq!(ways.deployments().await, ["sessionkill-operator"]);

    // Install with Helm over everything that kubectl applied, with another image.
    let image = ["--set", "image.repository=registry.example/sessionkill-operator"];
    let refused = ways.install("sessionkill-operator", &image).await.unwrap_err();
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    ways.install("sessionkill-operator", &[&TAKE_OVER[..], &image].concat()).await.unwrap();
    ways.assert_of_release("sessionkill-operator").await;
    let deployment = get(control_plane, &["deployment", "sessionkill-operator", "--namespace", NAMESPACE]).await;
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    assert!(image.starts_with("registry.example/"), "{image}");
    assert_eq!(ways.deployments().await, ["sessionkill-operator"]);
    ways.uninstall("sessionkill-operator").await;
    assert!(ways.deployments().await.is_empty(), "all of it is the release's");
    for gone in ["clusterrole", "clusterrolebinding"] {
        assert!(!exists(control_plane, &[gone, "sessionkill-operator"]).await, "{gone}");
    }

    // Install with Helm while the definitions stay with kubectl.
    control_plane.run_kubectl(&apply).await.unwrap();
    ways.install(ANOTHER, &["--set", "crds.install=false"]).await.unwrap();
    assert_eq!(self::uid(control_plane).await, uid, "and all the while nothing was lost");
    ways.control_plane.stop().await;
}

#[test]
fn the_documentation_names_the_flags() {
    let page = fs::read_to_string(repository("docs/install.md")).unwrap();
    let install = |name: &str, options: &[&str]| format!("helm install {name} ... {}`", options.join(" "));
    for command in [
        install("sessionkill-operator", &TAKE_OVER),
        install("NAME", &TAKE_OVER),
        install("NAME", &["--set", "crds.install=false"]),
        install("NAME", &["--set", "crds.install=false", "--set", "userRoles.create=false"]),
    ] {
        assert!(page.contains(&command), "docs/install.md does not say {command}");
    }
    assert!(page.contains("invalid ownership metadata") && page.contains("with `--force-conflicts` for `-f crds/`"));
}
