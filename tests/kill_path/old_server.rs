//! An API server whose version is too old. The operator must say so, and not only report the errors that follow from
//! it.

use serde_json::json;

use crate::scene::{Launch, Request as _, Scene, check, eventually};

const SENTENCE: &str = "the API server is of Kubernetes v1.32.13, and 1.33 or newer is needed: upgrade the cluster";

#[tokio::test]
async fn an_api_server_that_is_too_old_is_named_at_the_start_and_by_the_check() {
    let scene = Scene::set("old-server").await;
    let old = scene.api_relay().await;
    let version = json!({
        "major": "1", "minor": "32", "gitVersion": "v1.32.13", "gitCommit": "c", "gitTreeState": "clean",
        "buildDate": "2026-02-10T00:00:00Z", "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64",
    });
    old.say("/version", version.to_string());
    scene.launch(Launch { api: Some(&old), ..Launch::default() }).await;
    eventually("the log to name the version", async || {
        let logs = scene.logs();
        if logs.contains("API server is too old") && logs.contains(SENTENCE) { Ok(()) } else { Err(logs) }
    })
    .await;
    // Functions that the old version supports still work.
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);

    let (content, said) = check(&scene.kubeconfig_through(&old), &["--watch-namespaces", &scene.namespace]).await;
    assert!(!content && said.contains(SENTENCE) && !said.contains("granted"), "{said}");
    let (content, said) = check(&scene.cluster.operator_kubeconfig, &["--watch-namespaces", &scene.namespace]).await;
    assert!(content && said.contains("API server: Kubernetes v1."), "{said}");
    scene.end().await;
}
