//! Installing, upgrading and uninstalling, with Helm on a control plane of its own.

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

use crate::{CONTROL_PLANES, copy_of_the_chart, helm, listed};

async fn get(control_plane: &ControlPlane, what: &[&str]) -> Value {
    let said = control_plane.run_kubectl(&[&["get", "-o", "json"], what].concat()).await.unwrap();
    listed(&said).remove(0)
}

async fn exists(control_plane: &ControlPlane, what: &[&str]) -> bool {
    let found = control_plane.run_kubectl(&[&["get", "--ignore-not-found", "-o", "name"], what].concat()).await;
    !found.unwrap().is_empty()
}

/// As an earlier version could have been: a column has another name, and a right is missing.
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

/// The names of the columns of requests.
async fn columns(control_plane: &ControlPlane) -> String {
    get(control_plane, &["crd", "sessionkills.sessionkill.dev"]).await["spec"]["versions"][0]["additionalPrinterColumns"]
        .to_string()
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
    let not_after = (Timestamp::now() + SignedDuration::from_hours(1)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let request = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill", "metadata": {"name": "inc-1", "namespace": "default"},
        "spec": {
            "connectionRef": {"name": "prod-ob"}, "instanceID": "ob317v4uif0001", "tenantID": "t4louaeei0001",
            "sessions": [{"serverIP": "192.168.13.119", "sessionID": 1}], "notAfterTime": not_after,
        },
    });
    crate::eventually("the kinds", async || {
        control_plane.apply(&request.to_string()).await.map_err(|error| error.to_string())
    })
    .await;
    let uid = get(&control_plane, &["sessionkill", "inc-1"]).await["metadata"]["uid"].clone();

    run(&["upgrade", "sessionkill-operator"], &chart::directory()).await;
    let columns_now = columns(&control_plane).await;
    assert!(columns_now.contains("Tenant") && !columns_now.contains("Owner"), "{columns_now}");
    let role = get(&control_plane, &["clusterrole", "sessionkill-operator"]).await;
    assert!(role["rules"].to_string().contains("events.k8s.io"), "{role}");
    let deployment = ["deployment", "sessionkill-operator", "--namespace", NAMESPACE];
    let image = get(&control_plane, &deployment).await["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, concat!("sessionkill-operator:", env!("CARGO_PKG_VERSION")));
    assert_eq!(get(&control_plane, &["sessionkill", "inc-1"]).await["metadata"]["uid"], uid);

    let uninstall = ["uninstall", "sessionkill-operator", "--namespace", NAMESPACE];
    helm().await.run(Some(control_plane.kubeconfig()), &uninstall).await.unwrap();
    assert!(!exists(&control_plane, &deployment).await);
    for gone in ["clusterrole", "clusterrolebinding"] {
        assert!(!exists(&control_plane, &[gone, "sessionkill-operator"]).await, "{gone}");
    }
    assert_eq!(get(&control_plane, &["sessionkill", "inc-1"]).await["metadata"]["uid"], uid);

    // What was kept belongs to the release of that name: it can be installed again.
    run(&["install", "sessionkill-operator"], &chart::directory()).await;
    assert_eq!(get(&control_plane, &["sessionkill", "inc-1"]).await["metadata"]["uid"], uid);
    control_plane.stop().await;
}
