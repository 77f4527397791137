//! Ways to install, upgrade and remove the operator.

use std::{fs, path::Path, time::Instant};

use serde_json::{Value, json};
use testbed::{
    chart,
    stack::{NAMESPACE, SERVICE_ACCOUNT},
};

use crate::{
    calls::{InFlight, SLOW},
    ground::{Ground, TEAM, eventually, figure},
};

pub async fn helm_installs_it_available_into_a_namespace_of_restricted_pods(ground: &'static Ground) {
    let _alone = ground.alone().await;
    let namespace = ground.get(&["namespace", NAMESPACE]).await;
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let deployment = ground.get(&["deployment", SERVICE_ACCOUNT]).await;
    assert_eq!(deployment["status"]["availableReplicas"], 2, "{deployment}");
    let pods = ground.pods().await;
    let image = |pod: &Value| pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap().to_owned();
    assert!(pods.iter().all(|pod| image(pod).contains("@sha256:")), "{pods:?}");
    // What a user sees who checks whether everything works.
    let warnings = ground.get(&["events", "--field-selector", "type=Warning"]).await;
    // On a slow machine, a Pod may be probed after its start and before it is ready. Its answer 503 is no fault.
    let is_early = |message: &&Value| message.as_str().is_some_and(|text| text.ends_with("statuscode: 503"));
    let messages = warnings["items"].as_array().unwrap().iter().map(|event| &event["message"]);
    let warnings: Vec<_> = messages.filter(|message| !is_early(message)).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

pub async fn helm_test_passes(ground: &'static Ground) {
    let _alone = ground.alone().await;
    let begun = Instant::now();
    let said = ground.helm(&["test", SERVICE_ACCOUNT]).await;
    figure("helm test", begun);
    assert!(said.contains("Succeeded"), "{said}");
}

/// An earlier version of the chart, which makes other Pods.
fn chart_before(ground: &Ground) -> std::path::PathBuf {
    let before = ground.directory("chart-before");
    copy(&chart::directory(), &before);
    let edit = |file: &str, from: &str, to: &str| {
        let path = before.join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    edit("Chart.yaml", "ersion: 0.1.0", "ersion: 0.0.9");
    // Changes the template of the Pods.
    edit("templates/deployment.yaml", "  failureThreshold: 60", "  failureThreshold: 59");
    before
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { assert!(fs::copy(entry.path(), to).is_ok()) }
    }
}

pub async fn an_upgrade_from_the_chart_before_finishes_the_call_in_flight(ground: &'static Ground) {
    let _alone = ground.alone().await;
    ground.upgrade(&chart_before(ground), &[]).await;
    ground.rolled_out().await;
    let before = ground.pods().await;
    let call = InFlight::begin(ground, SLOW, "upgraded").await;
    call.leader_goes_first(ground).await;
    let (chart, begun) = (chart::directory(), Instant::now());
    tokio::join!(ground.upgrade(&chart, &[]), call.leader_is_told_to_end(ground));
    figure("helm upgrade --wait with a call in flight", begun);
    // All Pods are new, except the one that still waits for its answer.
    call.is_unfinished(ground).await;
    call.answer(ground);
    call.ended(ground, "SessionsKilled").await;
    ground.rolled_out().await;
    let name = |pod: &Value| pod["metadata"]["name"].clone();
    let after: Vec<_> = ground.pods().await.iter().map(name).collect();
    assert!(before.iter().all(|pod| !after.contains(&name(pod))), "the same Pods: {after:?}");
}

pub async fn uninstalled_it_leaves_requests_and_installed_again_it_ends_them(ground: &'static Ground) {
    let _alone = ground.alone().await;
    let [kept, made] = [ground.numbers(1), ground.numbers(1)];
    ground.site.ask(TEAM, "kept", &kept).await.unwrap();
    ground.killed_once("kept", &kept).await;
    ground.helm(&["uninstall", SERVICE_ACCOUNT, "--wait"]).await;
    gone(ground).await;
    ground.site.ask(TEAM, "made-meanwhile", &made).await.unwrap();
    let begun = Instant::now();
    ground.install().await;
    figure("helm install --wait where it was before", begun);
    ground.killed_once("made-meanwhile", &made).await;
    ground.killed_once("kept", &kept).await;
}

/// Waits until no Pod is left.
async fn gone(ground: &Ground) {
    eventually("the end of the Pods", async || {
        let left = ground.pods().await.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} Pods")) }
    })
    .await;
}

pub async fn kustomize_installs_it(ground: &'static Ground) {
    let _alone = ground.alone().await;
    // First scale down to 0, so that the Pods can release their Lease. During an uninstall they may lose the right to
    // do so, and the next leader would have to wait until the Lease expires.
    ground.kubectl(&["scale", &format!("deployment/{SERVICE_ACCOUNT}"), "-n", NAMESPACE, "--replicas=0"]).await;
    gone(ground).await;
    ground.helm(&["uninstall", SERVICE_ACCOUNT, "--wait"]).await;
    let values: Value = serde_json::from_str(&fs::read_to_string(ground.values()).unwrap()).unwrap();
    // kustomize accepts only relative paths.
    let directory = ground.directory("kustomize");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base"), &directory.join("base"));
    let endpoint = &values["operator"]["allowEndpoints"][0];
    let allow = json!([{
        "op": "add", "path": "/spec/template/spec/containers/0/args/-",
        "value": format!("--allow-endpoint={}", endpoint.as_str().unwrap()),
    }]);
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["base"],
        "images": [{
            "name": SERVICE_ACCOUNT, "newName": values["image"]["repository"], "digest": values["image"]["digest"],
        }],
        "patches": [{"target": {"kind": "Deployment"}, "patch": allow.to_string()}],
    });
    fs::write(directory.join("kustomization.yaml"), kustomization.to_string()).unwrap();
    let directory = directory.to_str().unwrap();
    let begun = Instant::now();
    ground.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", directory]).await;
    ground.rolled_out().await;
    figure("kubectl apply -k deploy/base until all is ready", begun);
    let numbers = ground.numbers(1);
    ground.site.ask(TEAM, "by-kustomize", &numbers).await.unwrap();
    ground.killed_once("by-kustomize", &numbers).await;
}
