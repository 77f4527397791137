//! An upgrade makes a definition so strict that it would refuse objects that are already stored. Their requests still
//! get an outcome.

use kube::Resource;
use kube::api::{ObjectMeta, PostParams};
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, Outcome};
use testbed::gateway::Backend;

use crate::scene::{
    At, Cluster, KEY_ID, KEY_SECRET, Launch, Request as _, Scene, Shown as _, eventually, in_seconds, session,
};

/// A connection whose receipts are still accepted after the upgrade.
const OTHER: &str = "other-ob";

/// Makes the definition of `plural` stricter: adds each value at its place in the schema of the spec's fields.
async fn make_stricter(scene: &Scene, plural: &str, additions: &[(&str, Value)]) {
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let add =
        |(place, value): &(&str, Value)| json!({"op": "add", "path": format!("{fields}/{place}"), "value": value});
    let patch = additions.iter().map(add).collect::<Value>().to_string();
    let definition = format!("{plural}.sessionkill.dev");
    let patch = ["patch", "crd", &definition, "--type=json", "-p", &patch];
    scene.cluster.control_plane.run_kubectl(&patch).await.unwrap();
}

/// Adds a limit, an enum and a rule. For receipts, the rule refuses one connection only.
async fn upgrade(scene: &Scene) {
    let rule = |rule: &str, message: &str| json!({"rule": rule, "message": message});
    let of_requests = [
        ("reason/maxLength", json!(3)),
        ("tenantID/enum", json!(["t-new"])),
        ("instanceID/x-kubernetes-validations/-", rule("self.startsWith('new')", "new instances only")),
    ];
    make_stricter(scene, "sessionkills", &of_requests).await;
    let not_of_this = json!([rule("self != 'prod-ob'", "not of this connection")]);
    make_stricter(scene, "sessionkillreceipts", &[("connectionName/x-kubernetes-validations", not_of_this)]).await;
    make_stricter(scene, "oceanbaseconnections", &[("alibabaCloud/properties/regionID/maxLength", json!(3))]).await;
}

/// Resumes a suspended request.
async fn let_go(scene: &Scene, name: &str) {
    scene.edit(name, json!({"spec": {"suspend": false}})).await;
}

/// Waits until the API server would refuse to create `stored`: the stricter definition is in force.
async fn refused_anew<K>(scene: &Scene, stored: &K, name: &str, words: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let mut another = stored.clone();
    *another.meta_mut() = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the stricter definition", async || match scene.api::<K>().create(&dry_run, &another).await {
        Err(kube::Error::Api(status)) if status.message.contains(words) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn what_was_stored_before_a_definition_became_stricter_still_gets_its_outcome() {
    let cluster = Cluster::start("stricter").await;
    let scene = Scene::on(cluster, "stricter", Backend::Memory((1..=9).map(session).collect())).await;
    let relay = scene.gateway_relay().await;
    scene.good_secret().await;
    scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 60})).await;
    scene.put_connection(OTHER, "later", json!({})).await;
    scene.launch(Launch { allow: vec![relay.url()], dispatch_window_seconds: Some(60), ..Launch::default() }).await;

    // At the time of the upgrade, one request has its call in flight, one waits for its Secret, and two are suspended.
    let call = Scene::hold_call(&relay, At::Answer);
    scene.request("called").sessions([1]).create().await;
    call.reached().await;
    let claim = scene.receipt().await;
    assert!(claim.status.is_none(), "claimed and not recorded");
    scene.request("held").sessions([2]).through(OTHER).suspended().create().await;
    scene.request("waiting").sessions([3]).through(OTHER).create().await;
    scene.wait_for_reason("waiting", "CredentialsUnavailable").await;
    scene.request("unclaimed").sessions([4]).suspended().not_after(in_seconds(60)).create().await;

    upgrade(&scene).await;
    refused_anew(&scene, &scene.request("called").object(), "another", "spec.reason: Too long").await;
    refused_anew(&scene, &claim, &format!("sk-{}", "0".repeat(40)), "not of this connection").await;
    refused_anew(&scene, &scene.connection_now().await, "another", "spec.alibabaCloud.regionID: Too long").await;

    call.release();
    let called = scene.wait_finished("called").await;
    assert_eq!(called.summary(), ["Succeeded=True(SessionsKilled)", "Ready=True(SessionsKilled)"]);
    assert_eq!(scene.wait_recorded("called").await.outcome, Outcome::SessionsKilled);

    // The API server refuses its claim, so nothing is sent. That is its outcome.
    let_go(&scene, "unclaimed").await;
    let unclaimed = scene.wait_for_reason("unclaimed", "Pending").await;
    assert!(unclaimed.message().contains("not of this connection"), "{}", unclaimed.message());

    scene.put_secret("later", true, &[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)]).await;
    assert_eq!(scene.wait_finished("waiting").await.reason(), "SessionsKilled");
    assert_eq!(scene.wait_recorded("waiting").await.outcome, Outcome::SessionsKilled);
    eventually("the connection to say that it works", async || {
        let connection = scene.api::<OceanBaseConnection>().get(OTHER).await.unwrap();
        let says = connection.summary();
        if says.contains(&"Ready=True(CallAnswered)".to_owned()) { Ok(()) } else { Err(format!("{says:?}")) }
    })
    .await;

    let_go(&scene, "held").await;
    assert_eq!(scene.wait_finished("held").await.reason(), "SessionsKilled");
    assert_eq!(scene.wait_recorded("held").await.outcome, Outcome::SessionsKilled);

    let unclaimed = scene.wait_finished("unclaimed").await;
    assert_eq!(unclaimed.reason(), "DeadlineExceeded", "{}", unclaimed.message());
    scene.assert_killed_once([1, 2, 3]);
    scene.end().await;
}
