//! A field that the schema does not name may be a misspelled precondition. If no admission policy refuses such an
//! object, the operator does, and sends nothing for it.

use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use sessionkill::api::OceanBaseConnection;

use crate::scene::{Request as _, Scene, eventually};

/// An API without types, for clients that do not know the schema.
fn lax(scene: &Scene, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("sessionkill.dev", "v1alpha1", kind));
    Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource)
}

#[tokio::test]
async fn a_request_with_an_unknown_field_is_never_sent() {
    let scene = Scene::ready("unknown-fields").await;
    let requests = lax(&scene, "SessionKill");
    let mistakes = [
        ("/spec", "dryRun", json!(true)),
        ("/spec", "Mode", json!("DryRun")),
        ("/spec/sessions/0", "expects", json!({"user": "report_ro"})),
        ("/spec/sessions/0/expect", "clientIp", json!("10.2.3.4")),
        ("", "suspend", json!(true)),
    ];
    let template = serde_json::to_value(scene.request("template").object()).unwrap();
    for (at, (object, field, value)) in mistakes.iter().enumerate() {
        let mut request = template.clone();
        request["metadata"]["name"] = format!("inc-{at}").into();
        request["spec"]["sessions"][0]["expect"] = json!({"user": "report_ro"});
        request.pointer_mut(object).unwrap()[*field] = value.clone();
        requests.create(&PostParams::default(), &serde_json::from_value(request).unwrap()).await.unwrap();
    }
    for (at, (_, field, _)) in mistakes.iter().enumerate() {
        let name = format!("inc-{at}");
        let status = eventually("the end of a request with an unknown field", async || {
            let request = requests.get(&name).await.map_err(|error| error.to_string())?;
            let is_finished = request.data["status"]["completionTime"].is_string();
            if is_finished { Ok(request.data["status"].clone()) } else { Err(request.data.to_string()) }
        })
        .await;
        let summary = &status["conditions"][0];
        assert_eq!([&summary["type"], &summary["reason"]], ["Succeeded", "InvalidObject"], "{status}");
        let message = summary["message"].as_str().unwrap_or_default();
        assert!(message.contains(&format!("unknown field `{field}`")), "{message}");
        assert!(message.contains("sends nothing for it: delete it and create a valid one"), "{message}");
        // The end of a scene reads all requests, and this one cannot be read.
        requests.delete(&name, &DeleteParams::default()).await.unwrap();
    }
    scene.assert_nothing_sent();
    scene.request("valid").create().await;
    assert_eq!(scene.wait_finished("valid").await.reason(), "SessionsKilled");
    scene.end().await;
}

/// As `kubectl apply` writes it: the null is missing in the object, and is only in the annotation with the manifest.
#[tokio::test]
async fn a_request_of_which_kubectl_left_out_a_null_is_never_sent() {
    let scene = Scene::ready("lost-null").await;
    let mut request = serde_json::to_value(scene.request("inc-1").object()).unwrap();
    let mut manifest = request.clone();
    manifest["spec"]["mode"] = Value::Null;
    let applied = json!({"kubectl.kubernetes.io/last-applied-configuration": manifest.to_string()});
    request["metadata"]["annotations"] = applied;
    lax(&scene, "SessionKill").create(&PostParams::default(), &serde_json::from_value(request).unwrap()).await.unwrap();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "InvalidObject");
    assert!(ended.message().contains("`mode` is null in the manifest that kubectl applied"), "{}", ended.message());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn nothing_is_sent_through_a_connection_with_an_unknown_field() {
    let scene = Scene::ready("unknown-limits").await;
    let connections = lax(&scene, "OceanBaseConnection");
    let change = async |spec: Value| {
        let patch = Patch::Merge(json!({"spec": spec}));
        connections.patch(Scene::CONNECTION, &PatchParams::default(), &patch).await.unwrap();
    };
    change(json!({"tenantIds": ["another"]})).await;
    scene.request("inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "ConnectionNotFound").await;
    assert!(waiting.message().contains("unknown field `tenantIds`"), "{}", waiting.message());
    let told = eventually("the connection to say that it cannot be read", async || {
        let connection = connections.get(Scene::CONNECTION).await.map_err(|error| error.to_string())?;
        let ready = connection.data["status"]["conditions"][0].clone();
        if ready["reason"] == "InvalidObject" { Ok(ready) } else { Err(connection.data.to_string()) }
    })
    .await;
    let message = told["message"].as_str().unwrap_or_default();
    assert!(message.contains("unknown field `tenantIds`") && message.contains("delete it"), "{message}");
    scene.assert_nothing_sent();
    change(json!({"tenantIds": null, "tenantIDs": [Scene::TENANT]})).await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    let connection: OceanBaseConnection = scene.connection_now().await;
    assert_eq!(connection.spec.tenant_ids, [Scene::TENANT]);
    scene.wait_for_connection("Ready=True(CallAnswered)").await;
    scene.end().await;
}
