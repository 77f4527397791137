//! The API server as a user meets it: objects of any shape in, its word out.

use http::Request;
use kube::{Client, Error};
use serde_json::{Value, json};

use crate::created::{full_connection, full_request};
use crate::scene::{Scene, eventually};

/// Sends `object` to a kind's list (POST) or over the object that is there (PUT). The error is the API server's message.
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
    format!("/apis/sessionkill.dev/v1alpha1/namespaces/{}/{plural}s", scene.namespace)
}

/// Creates it.
pub async fn create(scene: &Scene, object: &Value) -> Result<Value, String> {
    send(&scene.client, "POST", &path(scene, object), object).await
}

/// Lets the API server refuse unknown fields, as `deploy/base` does.
pub async fn refuse_unknown_fields(scene: &Scene) {
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/base/admission-fields.yaml");
    scene.cluster.control_plane.run_kubectl(&["apply", "--server-side", "-f", policies]).await.unwrap();
    for mut object in [full_request(0), full_connection(scene, "unheard-of")] {
        object["spec"]["unheardOf"] = true.into();
        let dry_run = format!("{}?dryRun=All", path(scene, &object));
        eventually("the policies", async || match send(&scene.client, "POST", &dry_run, &object).await {
            Err(refusal) if refusal.contains(r#"unknown field "spec.unheardOf""#) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}

/// Puts `spec` in place of the spec that the object of this kind and name has; what else it has stays.
pub async fn replace_spec(scene: &Scene, kind: &str, name: &str, change: impl Fn(&mut Value)) -> Result<Value, String> {
    let path = format!("{}/{name}", path(scene, &json!({"kind": kind})));
    loop {
        let get = Request::get(&path).body(vec![]).unwrap();
        let mut object: Value = scene.client.request(get).await.unwrap();
        change(&mut object);
        match send(&scene.client, "PUT", &path, &object).await {
            // The operator has written its status meanwhile.
            Err(message) if message.contains("the object has been modified") => {}
            answer => return answer,
        }
    }
}
