//! The API server as users see it: takes objects of any shape and returns its message.

use http::Request;
use kube::{Client, Error};
use serde_json::{Value, json};

use crate::created::{full_cluster_connection, full_connection, full_request};
use crate::scene::{Scene, eventually};

/// Sends `object` to the list of its kind (POST) or to the existing object (PUT). The error is the API server's
/// message.
async fn send(client: &Client, method: &str, path: &str, object: &Value) -> Result<Value, String> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    match client.request(request.body(serde_json::to_vec(object).unwrap()).unwrap()).await {
        Ok(answer) => Ok(answer),
        Err(Error::Api(status)) if (400..500).contains(&status.code) => Err(status.message),
        Err(error) => panic!("no word of the API server on {object}: {error}"),
    }
}

fn path(scene: &Scene, object: &Value) -> String {
    let plural = object["kind"].as_str().unwrap().to_lowercase();
    let is_namespaced = object["kind"] != "ClusterOceanBaseConnection";
    let scope = if is_namespaced { format!("namespaces/{}/", scene.namespace) } else { String::new() };
    format!("/apis/sessionkill.dev/v1alpha1/{scope}{plural}s")
}

/// Creates the object.
pub async fn create(scene: &Scene, object: &Value) -> Result<Value, String> {
    send(&scene.client, "POST", &path(scene, object), object).await
}

/// The same, and nothing is stored.
pub async fn try_out(scene: &Scene, object: &Value) -> Result<Value, String> {
    send(&scene.client, "POST", &format!("{}?dryRun=All", path(scene, object)), object).await
}

/// Installs the policies with which the API server refuses unknown fields, as in `deploy/base`.
pub async fn refuse_unknown_fields(scene: &Scene) {
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base/admission-fields.yaml");
    scene.cluster.control_plane.run_kubectl(&["apply", "--server-side", "-f", policies]).await.unwrap();
    let connections = [full_connection, full_cluster_connection].map(|of| of(scene, "unheard-of"));
    for mut object in [full_request(0)].into_iter().chain(connections) {
        object["spec"]["unheardOf"] = true.into();
        eventually("the policies", async || match try_out(scene, &object).await {
            Err(refusal) if refusal.contains(r#"unknown field "spec.unheardOf""#) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}

/// Changes the spec of the object with this kind and name. The rest of the object stays.
pub async fn replace_spec(scene: &Scene, kind: &str, name: &str, change: impl Fn(&mut Value)) -> Result<Value, String> {
    let path = format!("{}/{name}", path(scene, &json!({"kind": kind})));
    loop {
        let get = Request::get(&path).body(vec![]).unwrap();
        let mut object: Value = scene.client.request(get).await.unwrap();
        change(&mut object);
        match send(&scene.client, "PUT", &path, &object).await {
            // Try again, as the operator has written the status meanwhile.
            Err(message) if message.contains("the object has been modified") => {}
            answer => return answer,
        }
    }
}
