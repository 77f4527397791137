//! The API server, or the right to write to it, is lost in the middle of a kill.

use std::time::Duration;

use http::Method;
use serde_json::json;
use sessionkill::api::Outcome;
use testbed::gateway::{Backend, Fault, FaultKind};

use crate::scene::{At, Cluster, Launch, Request as _, Scene, eventually, session};

async fn wait_killed(scene: &Scene) {
    eventually("the kill", async || {
        let killed = !scene.gateway().kills_per_session().is_empty();
        killed.then_some(()).ok_or_else(|| "none yet".to_owned())
    })
    .await;
}

/// Waits until an operator has failed to store an outcome.
async fn wait_not_stored(scene: &Scene) {
    eventually("an outcome that cannot be stored", async || {
        let failed = scene.logs().contains("outcome not stored yet");
        failed.then_some(()).ok_or_else(|| "none yet".to_owned())
    })
    .await;
}

#[tokio::test]
async fn an_outcome_that_comes_while_the_api_server_is_down_is_stored_when_it_is_back() {
    let cluster = Cluster::start("outage").await;
    let backend = Backend::Memory((1..=9).map(session).collect());
    let scene = Scene::on(cluster, "outage", backend).await;
    scene.good_secret().await;
    scene.connection(json!({"requestTimeoutSeconds": 60})).await;
    let operator = scene.operator().await;
    scene.inject(Fault::new(FaultKind::Delay).after().delayed(Duration::from_secs(3)).times(1));
    let request = scene.request("in-flight");
    request.create().await;
    wait_killed(&scene).await;
    scene.cluster.control_plane.stop_api_server();
    eventually("the answer, while the API server is down", async || {
        let answered = scene.kill_calls().iter().any(|call| call.result.is_some());
        answered.then_some(()).ok_or_else(|| "none yet".to_owned())
    })
    .await;
    wait_not_stored(&scene).await;
    scene.cluster.control_plane.start_api_server().await.unwrap();

    let ended = scene.wait_finished("in-flight").await;
    assert_eq!(ended.reason(), "SessionsKilled", "what the answer said, not a guess");
    assert_eq!(scene.wait_recorded("in-flight").await.outcome, Outcome::SessionsKilled);
    scene.assert_killed_once([1]);

    // A new request is processed, so the watch has recovered too.
    scene.request("afterwards").sessions([2]).create().await;
    assert_eq!(scene.wait_finished("afterwards").await.reason(), "SessionsKilled");
    scene.delete("in-flight").await;
    request.create().await;
    assert_eq!(scene.wait_finished("in-flight").await.reason(), "AlreadyExecuted");
    scene.assert_killed_once([1, 2]);
    assert!(operator.process().is_running());
    scene.end().await;
}

/// A broken load balancer accepts every connection and answers nothing.
#[tokio::test]
async fn a_list_that_is_never_answered_is_given_up_and_asked_for_again() {
    let scene = Scene::set("silent").await;
    scene.good_secret().await;
    scene.connection(json!({})).await;
    let api = scene.api_relay().await;
    let list = api.hold(At::Request, Method::GET, "/oceanbaseconnections");
    let asked_again = async {
        eventually("a second list", async || {
            let count = list.count();
            (count > 1).then_some(()).ok_or_else(|| format!("{count} so far"))
        })
        .await;
        list.release();
    };
    tokio::join!(asked_again, scene.launch(Launch { api: Some(&api), ..Launch::default() }));

    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// This happens whenever an API server starts: it serves requests before it has loaded all roles and bindings.
#[tokio::test]
async fn an_outcome_that_may_not_be_written_for_a_while_is_stored_whole_afterwards() {
    let scene = Scene::set("rights").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.launch(Launch { kubeconfig: Some(kubeconfig), ..Launch::default() }).await;
    let read_only = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "read-only", "namespace": scene.namespace},
        "rules": [{"apiGroups": ["sessionkill.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
    });
    scene.cluster.control_plane.apply(&read_only.to_string()).await.unwrap();
    scene.inject(Fault::new(FaultKind::Delay).after().delayed(Duration::from_secs(3)).times(1));
    scene.request("inc-1").create().await;
    wait_killed(&scene).await;
    scene.grant(&json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read-only"})).await;
    wait_not_stored(&scene).await;
    scene.grant(&Scene::full_rights()).await;

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled");
    let observed = ended.status.unwrap().sessions[0].observed.clone();
    assert_eq!(observed.expect("with all that was observed").user, "report_ro");
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::SessionsKilled);
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// There is only one permit for calls, and all requests share it. It must not be held while the right is missing.
#[tokio::test]
async fn a_claim_that_may_not_be_deleted_is_given_up_before_the_next_attempt() {
    let scene = Scene::set("undeletable").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.grant_all_but("delete", "sessionkillreceipts").await;
    let launch = Launch { kubeconfig: Some(kubeconfig), max_concurrent_calls: Some(1), ..Launch::default() };
    scene.launch(launch).await;
    scene.inject(Fault::new(FaultKind::Error));
    scene.request("refused").create().await;
    let waits = scene.wait_for_reason("refused", "PermissionDenied").await;
    assert!(waits.message().contains("Forbidden.RAM"), "{}", waits.message());
    assert!(scene.receipt().await.status.is_none(), "its claim is still there");

    scene.gateway().clear_faults();
    scene.request("another").tenant("t-another").sessions([2]).create().await;
    let other = scene.wait_finished("another").await;
    assert_eq!(other.reason(), "KillFailed", "it had its turn: {}", other.message());
    scene
        .wait_for("refused", "to say what is missing", |object| {
            object.message().contains("delete SessionKillReceipt").then_some(())
        })
        .await;
    scene.grant(&Scene::full_rights()).await;
    assert_eq!(scene.wait_finished("refused").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}
