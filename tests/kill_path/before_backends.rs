//! A connection that was stored before the spec had a choice of backends. Nothing is sent through it. The connection
//! and the requests that name it say what to do.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use sessionkill::api::BackendName;
use testbed::gateway::Backend;

use crate::scene::{Cluster, Launch, Request as _, Scene, Shown as _, eventually, session};

const MOVE: &str = "spec.alibabaCloud or spec.sql is required: move regionID, network, endpoint, killOperation, \
                    signatureMethod, instanceIDs and credentials below alibabaCloud";

/// The connections of the scene as dynamic objects, so that both forms of the spec can be written.
fn connections(scene: &Scene) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("sessionkill.dev", "v1alpha1", "OceanBaseConnection");
    Api::namespaced_with(scene.client.clone(), &scene.namespace, &ApiResource::from_gvk(&kind))
}

/// The fields of `spec.alibabaCloud` for a connection to the gateway.
fn alibaba_cloud(scene: &Scene) -> Value {
    json!({
        "regionID": "cn-hangzhou", "network": "Public", "endpoint": scene.gateway_url(), "killOperation": "Auto",
        "signatureMethod": "ACS3-HMAC-SHA256", "credentials": {"secretRef": {"name": Scene::SECRET}},
    })
}

/// A connection as the previous version stored it, with the defaults of its definition.
fn connection_before(scene: &Scene) -> DynamicObject {
    let mut spec = alibaba_cloud(scene);
    (spec["sqlText"], spec["requestTimeoutSeconds"]) = ("Digest".into(), 5.into());
    let kind = GroupVersionKind::gvk("sessionkill.dev", "v1alpha1", "OceanBaseConnection");
    DynamicObject::new(Scene::CONNECTION, &ApiResource::from_gvk(&kind)).data(json!({"spec": spec}))
}

/// Stores such a connection under a definition that accepts it, and then installs the current definition.
async fn upgrade(scene: &Scene, connection: &DynamicObject) {
    let control_plane = &scene.cluster.control_plane;
    let anything = json!([{
        "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }]);
    let definition = ["patch", "crd", "oceanbaseconnections.sessionkill.dev", "--type=json", "-p"];
    control_plane.run_kubectl(&[&definition[..], &[&anything.to_string()]].concat()).await.unwrap();
    eventually("the definition of before", async || {
        connections(scene).create(&PostParams::default(), connection).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let worked = json!({"status": {"observedGeneration": 1, "operation": "KillProcessList", "conditions": [{
        "type": "Ready", "status": "True", "reason": "CallAnswered", "message": "the last call was answered",
        "lastTransitionTime": "2026-10-05T09:10:02Z", "observedGeneration": 1,
    }]}});
    let status = Patch::Merge(worked);
    connections(scene).patch_status(Scene::CONNECTION, &PatchParams::default(), &status).await.unwrap();

    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    control_plane.run_kubectl(&["apply", "--server-side", "--force-conflicts", "-f", crds]).await.unwrap();
    let mut another = connection_before(scene);
    another.metadata.name = Some("another".into());
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the definition of now", async || match connections(scene).create(&dry_run, &another).await {
        Err(kube::Error::Api(status)) if status.message.contains(MOVE) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// Waits until the connection's status has these words for the current generation, and returns the status.
async fn told(scene: &Scene, words: &str) -> Value {
    eventually("the connection to say that it cannot be read", async || {
        let object = connections(scene).get(Scene::CONNECTION).await.map_err(|error| error.to_string())?;
        let status = &object.data["status"];
        let is_current = status["observedGeneration"].as_i64() == object.metadata.generation;
        let is_said = status["conditions"][0]["message"].as_str().is_some_and(|message| message.contains(words));
        if is_current && is_said { Ok(status.clone()) } else { Err(object.data.to_string()) }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_was_stored_before_backends_says_what_to_do_and_so_do_its_requests() {
    let cluster = Cluster::start("before-backends").await;
    let scene = Scene::on(cluster, "before-backends", Backend::Memory((1..=9).map(session).collect())).await;
    scene.good_secret().await;
    upgrade(&scene, &connection_before(&scene)).await;
    scene.put_connection("moved", Scene::SECRET, json!({})).await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    let launch = Launch { kubeconfig: Some(kubeconfig), ..Launch::default() };
    let first = scene.launch(launch.clone()).await;

    let status = told(&scene, MOVE).await;
    let conditions = status["conditions"].as_array().unwrap();
    let summary: Vec<_> = conditions.iter().map(|it| [&it["type"], &it["status"], &it["reason"]]).collect();
    assert_eq!(summary, [["Ready", "False", "InvalidObject"], ["Stalled", "True", "InvalidObject"]]);
    for condition in conditions {
        let message = condition["message"].as_str().unwrap();
        assert!(message.contains("nothing is sent through it: replace it by a valid one, or delete it"), "{message}");
    }
    assert!(status["operation"].is_null() && status["backend"].is_null(), "{status}");

    // The requests of this connection wait. Requests of other connections do not.
    scene.request("waits").sessions([1]).create().await;
    let waiting = scene.wait_for_reason("waits", "ConnectionNotFound").await;
    let words = format!("OceanBaseConnection {} cannot be read ({MOVE}): replace it", Scene::CONNECTION);
    assert!(waiting.message().contains(&words), "{}", waiting.message());
    scene.request("goes").sessions([2]).through("moved").create().await;
    assert_eq!(scene.wait_finished("goes").await.reason(), "SessionsKilled");

    // A restart does not report the same again.
    first.kill();
    scene.launch(launch).await;
    scene.request("goes-again").sessions([3]).through("moved").create().await;
    assert_eq!(scene.wait_finished("goes-again").await.reason(), "SessionsKilled");
    scene.wait_swept(3).await;
    assert_eq!(told(&scene, MOVE).await, status);

    // An update that leaves the spec alone is not refused.
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"team": "dba"}}}));
    connections(&scene).patch(Scene::CONNECTION, &PatchParams::default(), &labelled).await.unwrap();

    // A merge of the new form into the old spec keeps the old defaults.
    let moved = json!({"alibabaCloud": alibaba_cloud(&scene), "requestTimeoutSeconds": 5});
    let applied = Patch::Merge(json!({"spec": moved}));
    connections(&scene).patch(Scene::CONNECTION, &PatchParams::default(), &applied).await.unwrap();
    told(&scene, "expected one of `alibabaCloud`").await;
    scene.assert_killed_once([2, 3]);

    // Once the old spec is replaced by the new form, the connection works.
    let mut stored = connections(&scene).get(Scene::CONNECTION).await.unwrap();
    stored.data["spec"] = moved;
    connections(&scene).replace(Scene::CONNECTION, &PostParams::default(), &stored).await.unwrap();
    let mended = scene.wait_for_connection("Ready=True(CallAnswered)").await;
    assert!(mended.condition("Stalled").is_none(), "{:?}", mended.summary());
    assert_eq!(mended.status.unwrap().backend, Some(BackendName::AlibabaCloud));
    assert_eq!(scene.wait_finished("waits").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1, 2, 3]);
    scene.end().await;
}

#[tokio::test]
async fn a_stored_connection_of_before_keeps_its_clusters_when_it_is_moved() {
    let cluster = Cluster::start("before-backends-policies").await;
    let scene = Scene::on(cluster, "before-backends-policies", Backend::Memory(vec![])).await;
    let mut stored = connection_before(&scene);
    stored.data["spec"]["instanceIDs"] = json!(["ob1"]);
    upgrade(&scene, &stored).await;
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base/admission-fields.yaml");
    scene.cluster.control_plane.run_kubectl(&["apply", "-f", policies]).await.unwrap();
    let connections = connections(&scene);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut another = connection_before(&scene);
    another.metadata.name = Some("another".into());
    another.data["spec"] = json!({"alibabaCloud": alibaba_cloud(&scene), "unheardOf": true});
    refused("the policies", async || connections.create(&dry_run, &another).await, "unknown field \"spec.unheardOf\"")
        .await;

    // An update that leaves the spec alone is not refused.
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"team": "dba"}}}));
    connections.patch(Scene::CONNECTION, &PatchParams::default(), &labelled).await.unwrap();

    let moved = |instances: Value| {
        let mut spec = json!({"alibabaCloud": alibaba_cloud(&scene), "requestTimeoutSeconds": 5});
        if !instances.is_null() {
            spec["alibabaCloud"]["instanceIDs"] = instances;
        }
        spec
    };
    let applied = Patch::Merge(json!({"spec": moved(json!(["ob1"]))}));
    let patch = async || connections.patch(Scene::CONNECTION, &PatchParams::default(), &applied).await;
    refused("an apply of the new form", patch, "unknown field \"spec.").await;

    let replaced = async |spec: Value| {
        let mut stored = connections.get(Scene::CONNECTION).await.unwrap();
        stored.data["spec"] = spec;
        connections.replace(Scene::CONNECTION, &PostParams::default(), &stored).await
    };
    let forgotten = async || replaced(moved(Value::Null)).await;
    refused("the move without its clusters", forgotten, "move it to spec.alibabaCloud.instanceIDs").await;
    replaced(moved(json!(["ob1"]))).await.unwrap();
    // After the move, the owner may allow any instance by an explicit empty list.
    replaced(moved(json!([]))).await.unwrap();
    scene.end().await;
}

/// Waits until this is refused with these words. A policy takes effect only some time after it was created.
async fn refused(what: &str, act: impl AsyncFn() -> kube::Result<DynamicObject>, words: &str) {
    eventually(what, async || match act().await {
        Err(kube::Error::Api(status)) if status.message.contains(words) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
