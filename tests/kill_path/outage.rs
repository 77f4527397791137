//! The API server goes away in the middle of a kill.

use std::time::Duration;

use serde_json::json;
use sessionkill::api::Outcome;
use testbed::gateway::{Backend, Fault, FaultKind};

use crate::scene::{Cluster, Request as _, Scene, eventually, session};

#[tokio::test]
async fn an_outcome_that_comes_while_the_api_server_is_down_is_stored_when_it_is_back() {
    let cluster = Cluster::start("outage").await;
    let backend = Backend::Memory((1..=9).map(session).collect());
    let scene = Scene::on(cluster, "outage", backend).await;
    scene.good_secret().await;
    scene.connection(json!({"requestTimeoutSeconds": 60})).await;
    let operator = scene.operator().await;
    scene.gateway().inject(Fault::new(FaultKind::Delay).after().delayed(Duration::from_secs(3)).times(1));
    let request = scene.request("in-flight");
    request.create().await;
    eventually("the kill", async || {
        let killed = !scene.gateway().kills_per_session().is_empty();
        killed.then_some(()).ok_or_else(|| "none yet".to_owned())
    })
    .await;
    scene.cluster.control_plane.stop_api_server();
    eventually("the answer, while the API server is down", async || {
        let answered = scene.gateway().calls().iter().any(|call| call.result.is_some());
        answered.then_some(()).ok_or_else(|| "none yet".to_owned())
    })
    .await;
    eventually("the operator to miss the API server", async || {
        let missed = operator.logs().map_err(|error| error.to_string())?.contains("outcome not stored yet");
        missed.then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    scene.cluster.control_plane.start_api_server().await.unwrap();

    let ended = scene.wait_finished("in-flight").await;
    assert_eq!(ended.reason(), "SessionsKilled", "what the answer said, not a guess");
    assert_eq!(scene.wait_recorded("in-flight").await.outcome, Outcome::SessionsKilled);
    scene.assert_killed_once([1]);

    // The watch has recovered too.
    scene.request("afterwards").sessions([2]).create().await;
    assert_eq!(scene.wait_finished("afterwards").await.reason(), "SessionsKilled");
    scene.delete("in-flight").await;
    request.create().await;
    assert_eq!(scene.wait_finished("in-flight").await.reason(), "AlreadyExecuted");
    scene.assert_killed_once([1, 2]);
    assert!(operator.process().is_running());
    scene.end().await;
}
