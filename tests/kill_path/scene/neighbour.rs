//! A namespace beside the scene's own: of other users, or with what the operator itself keeps.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sessionkill::api::SessionKill;

use super::objects::Request as _;
use super::stage::named;
use super::waits::wait_for;
use super::world::put_secret;
use super::{KEY_ID, KEY_SECRET, Keys, RequestBuilder, Scene};

/// Such a namespace.
pub struct Neighbour<'a> {
    scene: &'a Scene,
    /// Its name.
    pub namespace: String,
}

impl Scene {
    /// Creates the namespace `name`.
    pub async fn neighbour(&self, name: &str) -> Neighbour<'_> {
        let namespace = Namespace { metadata: named(name), ..Namespace::default() };
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        Neighbour { scene: self, namespace: name.to_owned() }
    }

    /// Sets these labels of `namespace`; a null takes one away.
    pub async fn label(&self, namespace: &str, labels: Value) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let labels = Patch::Merge(json!({"metadata": {"labels": labels}}));
        namespaces.patch(namespace, &PatchParams::default(), &labels).await.unwrap();
    }
}

impl Neighbour<'_> {
    /// Writes the labelled Secret `name` with exactly `keys`.
    pub async fn put_secret(&self, name: &str, keys: Keys<'_>) {
        let labels = BTreeMap::from([("sessionkill.dev/credentials", "true")]);
        let secrets: Api<Secret> = Api::namespaced(self.scene.client.clone(), &self.namespace);
        put_secret(&secrets, name, json!({"labels": labels}), keys).await;
    }

    /// Writes the labelled Secret `name` with the access key that the gateway accepts.
    pub async fn good_secret(&self, name: &str) {
        self.put_secret(name, &[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)]).await;
    }

    /// Its requests.
    pub fn requests(&self) -> Api<SessionKill> {
        Api::namespaced(self.scene.client.clone(), &self.namespace)
    }

    /// Creates the request here.
    pub async fn create(&self, request: &RequestBuilder<'_>) {
        self.requests().create(&PostParams::default(), &request.object()).await.unwrap();
    }

    /// Waits until the request `name` has ended.
    pub async fn wait_finished(&self, name: &str) -> SessionKill {
        wait_for(&self.requests(), name, "to end", |object| object.is_finished().then(|| object.clone())).await
    }

    /// Waits until the `Succeeded` condition of the request has `reason`.
    pub async fn wait_for_reason(&self, name: &str, reason: &str) -> SessionKill {
        let is_it = |object: &SessionKill| (object.reason() == reason).then(|| object.clone());
        wait_for(&self.requests(), name, &format!("to say {reason}"), is_it).await
    }
}
