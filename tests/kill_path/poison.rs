//! Objects that the operator cannot read, because they were stored before the schema had a certain rule.

use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use testbed::gateway::Backend;

use crate::scene::{Cluster, Request as _, Scene, eventually, session};

fn kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("sessionkill.dev", "v1alpha1", "SessionKill"))
}

fn unread(scene: &Scene) -> Api<DynamicObject> {
    Api::namespaced_with(scene.client.clone(), &scene.namespace, &kind())
}

/// Relaxes the schema of the spec, stores objects with these specs, and restores the schema.
async fn store_poison(scene: &Scene, poison: &[(&str, Value)]) {
    let control_plane = &scene.cluster.control_plane;
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let anything = json!([{"op": "replace", "path": schema, "value": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        // The schema must give selectable fields a type.
        "properties": {
            "connectionRef": {"type": "object", "properties": {"kind": {"type": "string"}, "name": {"type": "string"}}},
            "instanceID": {"type": "string"},
            "tenantID": {"type": "string"},
        },
    }}]);
    let crd = ["patch", "crd", "sessionkills.sessionkill.dev", "--type=json", "-p"];
    control_plane.run_kubectl(&[&crd[..], &[&anything.to_string()]].concat()).await.unwrap();
    for (name, spec) in poison {
        let object = DynamicObject::new(name, &kind()).data(json!({"spec": spec}));
        eventually("the relaxed schema", async || {
            unread(scene).create(&PostParams::default(), &object).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    control_plane.run_kubectl(&["apply", "--server-side", "--force-conflicts", "-f", crds]).await.unwrap();
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_reported_and_holds_nobody_up() {
    let cluster = Cluster::start("poison").await;
    let backend = Backend::Memory((1..=9).map(session).collect());
    let scene = Scene::on(cluster, "poison", backend).await;
    scene.good_secret().await;
    scene.connection(json!({})).await;
    // The API server's own format check accepts a time without an offset. No client can parse it.
    let mut no_offset = json!(scene.request("poison").create().await.spec);
    scene.delete("poison").await;
    no_offset["notAfterTime"] = "2100-10-05T09:30:00".into();
    // Fields of the wrong types: the API server refuses every later write of this object, even of its status.
    let wreck = json!({"sessions": [{"serverIP": 7, "sessionID": "DROP"}], "notAfterTime": "tomorrow"});
    store_poison(&scene, &[("poison", no_offset), ("wreck", wreck)]).await;
    scene.request("before").sessions([1]).create().await;
    scene.operator().await;
    scene.request("after").sessions([2]).create().await;
    assert_eq!(scene.wait_finished("before").await.reason(), "SessionsKilled");
    assert_eq!(scene.wait_finished("after").await.reason(), "SessionsKilled");

    let status = eventually("the end of the poison", async || {
        let poison = unread(&scene).get("poison").await.map_err(|error| error.to_string())?;
        let ended = poison.data["status"]["completionTime"].is_string();
        if ended { Ok(poison.data["status"].clone()) } else { Err(poison.data.to_string()) }
    })
    .await;
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let conditions = status["conditions"].as_array().unwrap();
    let shown = conditions.iter().map(|it| (text(it, "type"), text(it, "status"), text(it, "reason")));
    let expected = [("Succeeded", "False"), ("Ready", "False"), ("Stalled", "True")];
    let expected = expected.map(|(type_, status)| (type_.into(), status.into(), "InvalidObject".into()));
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    let message = text(&conditions[0], "message");
    assert!(message.contains("sends nothing for it: delete it and create a valid one"), "{message}");
    for name in ["poison", "wreck"] {
        let note = scene.wait_for_event(name, "InvalidObject").await;
        assert!(note.contains("cannot be read") && note.contains("delete it"), "{note}");
    }
    eventually("a log line of what cannot be stored", async || {
        let logs = scene.logs();
        if logs.contains("invalid object keeps its status") { Ok(()) } else { Err(logs) }
    })
    .await;
    scene.assert_killed_once([1, 2]);
    // The end of a scene reads all requests, and these cannot be read.
    for name in ["poison", "wreck"] {
        unread(&scene).delete(name, &DeleteParams::default()).await.unwrap();
    }
    scene.end().await;
}
