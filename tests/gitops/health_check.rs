//! The health check is added to Argo CD's own ConfigMap, which belongs to somebody else. All other entries must stay.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;

use crate::stage::{ground, repository};

/// The command in the documentation.
const COMMAND: &str =
    "kubectl --namespace argocd patch configmap argocd-cm --type merge --patch-file deploy/argocd/argocd-cm.yaml";
const FILE: &str = "deploy/argocd/argocd-cm.yaml";

type Data = BTreeMap<String, String>;

/// The two ways to install Argo CD: as its documentation said until version 3.3, and since then.
const WAYS: [&[&str]; 2] = [&["apply"], &["apply", "--server-side", "--force-conflicts"]];

/// The manifest of Argo CD's ConfigMap, with the entries of its administrators.
fn manifest(data: &Data) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": "argocd", "labels": labels()},
        "data": data,
    })
}

fn labels() -> Data {
    data(&[("app.kubernetes.io/name", "argocd-cm"), ("app.kubernetes.io/part-of", "argocd")])
}

fn theirs() -> Data {
    data(&[
        ("url", "https://argocd.example.com"),
        ("admin.enabled", "false"),
        ("accounts.ci", "apiKey"),
        ("application.resourceTrackingMethod", "annotation"),
        ("oidc.config", "name: SSO\nissuer: https://sso.example.com\nclientID: argocd\n"),
        ("resource.exclusions", "- kinds: [Endpoints]\n"),
        ("resource.customizations.health.argoproj.io_Application", "return {status = \"Healthy\"}\n"),
    ])
}

fn data(entries: &[(&str, &str)]) -> Data {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The entries that the command adds.
fn ours() -> Data {
    let script = fs::read_to_string(repository("deploy/argocd/health.lua")).unwrap();
    let keys = ["ClusterOceanBaseConnection", "OceanBaseConnection", "SessionKill"]
        .map(|kind| format!("resource.customizations.health.sessionkill.dev_{kind}"));
    keys.into_iter().map(|key| (key, script.clone())).collect()
}

fn together(theirs: &Data) -> Data {
    theirs.clone().into_iter().chain(ours()).collect()
}

/// Runs a command with these words. The path of the file is replaced by an absolute one.
async fn run(control_plane: &ControlPlane, words: &str) -> Result<String, String> {
    let file = repository(FILE);
    let words = words.split(' ').skip(1).map(|word| if word == FILE { file.to_str().unwrap() } else { word });
    control_plane.run_kubectl(&words.collect::<Vec<_>>()).await.map_err(|error| format!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_check_is_added_to_argo_cds_own_config_map_and_nothing_of_theirs_goes() {
    let page = fs::read_to_string(repository("docs/gitops.md")).unwrap();
    let header = fs::read_to_string(repository(FILE)).unwrap();
    assert!(page.contains(&format!("\n{COMMAND}\n")) && header.contains(&format!("#   {COMMAND}\n")), "{COMMAND}");

    let ground = ground().await;
    let control_plane = &ground.control_plane;
    let client = control_plane.client().await.unwrap();
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "argocd"}})).unwrap();
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(client, "argocd");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("argocd-cm-of-theirs.json");
    let install = async |way: &[&str], data: &Data| {
        fs::write(&file, manifest(data).to_string()).unwrap();
        control_plane.run_kubectl(&[way, &["-f", file.to_str().unwrap()]].concat()).await.unwrap();
    };
    let now = async || {
        let found = config_maps.get("argocd-cm").await.unwrap();
        (found.data.unwrap(), found.metadata.labels.unwrap(), found.metadata.annotations)
    };
    for way in WAYS {
        install(way, &theirs()).await;
        let (.., noted) = now().await;
        for _ in 0..2 {
            run(control_plane, COMMAND).await.unwrap();
            assert_eq!(now().await, (together(&theirs()), labels(), noted.clone()), "installed by {way:?}");
        }
        // An upgrade of Argo CD, also by the other way.
        for (later, url) in WAYS.into_iter().zip(["https://cd.example.com", "https://deploy.example.com"]) {
            let changed = data(&[("url", url), ("timeout.reconciliation", "60s")]);
            let upgraded = theirs().into_iter().chain(changed).collect();
            install(later, &upgraded).await;
            let (data, labels_now, _) = now().await;
            assert_eq!((data, labels_now), (together(&upgraded), labels()), "installed by {way:?}, then {later:?}");
        }
        config_maps.delete("argocd-cm", &DeleteParams::default()).await.unwrap();
    }
}

/// An apply would remove the entries that are in another manifest and not in this one.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_the_health_check_cannot_be_applied() {
    let control_plane = &ground().await.control_plane;
    for way in WAYS {
        let refused = run(control_plane, &format!("kubectl {} --namespace default -f {FILE}", way.join(" "))).await;
        let why = refused.unwrap_err();
        assert!(why.contains("apiVersion not set") || why.contains("'Kind' is missing"), "{why}");
    }
}
