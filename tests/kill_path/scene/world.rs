//! The objects of a scene, as a user writes them.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use serde_json::{Map, Value, json};
use sessionkill::api::{ClusterOceanBaseConnection, OceanBaseConnection, SessionKill};

use super::Scene;
use super::objects::RequestBuilder;
use super::{KEY_ID, KEY_SECRET, Keys, eventually};

/// The fields of a connection's spec that are outside of the backend's own part.
const SHARED: [&str; 4] = ["tenantIDs", "sqlText", "requestTimeoutSeconds", "allowedNamespaces"];

/// A spec with these fields. The fields of Alibaba Cloud go into `alibabaCloud`.
fn spec_of(fields: Map<String, Value>) -> Value {
    let is_shared = |(name, _): &(String, Value)| SHARED.contains(&name.as_str());
    let (mut spec, own): (Map<_, _>, Map<_, _>) = fields.into_iter().partition(is_shared);
    spec.insert("alibabaCloud".to_owned(), Value::Object(own));
    Value::Object(spec)
}

/// Writes the Secret `name` with exactly `keys`.
pub(super) async fn put_secret(secrets: &Api<Secret>, name: &str, mut metadata: Value, keys: Keys<'_>) {
    metadata["name"] = name.into();
    let keys: serde_json::Map<_, _> = keys.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys});
    // Replace it, as an apply would keep a key that is left out.
    let secret: Secret = serde_json::from_value(secret).unwrap();
    if secrets.get_opt(name).await.unwrap().is_some() {
        secrets.replace(name, &PostParams::default(), &secret).await.unwrap();
    } else {
        secrets.create(&PostParams::default(), &secret).await.unwrap();
    }
}

impl Scene {
    /// The API for objects of this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The API for requests of this namespace.
    pub fn requests(&self) -> Api<SessionKill> {
        self.api()
    }

    /// A builder of a request.
    pub fn request(&self, name: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(self, name)
    }

    /// Writes the labelled Secret with the long-term access key that the gateway accepts.
    pub async fn good_secret(&self) {
        self.secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)]).await;
    }

    /// Writes the labelled Secret with exactly `keys`.
    pub async fn secret(&self, keys: Keys<'_>) {
        self.put_secret(Self::SECRET, true, keys).await;
    }

    /// Writes the Secret with exactly `keys` and without the label.
    pub async fn unlabelled_secret(&self, keys: Keys<'_>) {
        self.put_secret(Self::SECRET, false, keys).await;
    }

    /// Writes the Secret `name` with exactly `keys`.
    pub async fn put_secret(&self, name: &str, labelled: bool, keys: Keys<'_>) {
        let labels = if labelled { json!({"sessionkill.dev/credentials": "true"}) } else { json!({}) };
        self.put_secret_with(name, json!({"labels": labels}), keys).await;
    }

    /// Writes the labelled Secret `name` with exactly `keys`, and with annotations that say which key is which.
    pub async fn put_annotated_secret(&self, name: &str, annotations: &Value, keys: Keys<'_>) {
        let metadata = json!({"labels": {"sessionkill.dev/credentials": "true"}, "annotations": annotations});
        self.put_secret_with(name, metadata, keys).await;
    }

    async fn put_secret_with(&self, name: &str, metadata: Value, keys: Keys<'_>) {
        put_secret(&self.api(), name, metadata, keys).await;
    }

    /// Writes the connection to the gateway with its defaults and these `changes`, which may be fields of Alibaba Cloud
    /// too.
    pub async fn connection(&self, changes: Value) {
        self.put_connection(Self::CONNECTION, Self::SECRET, changes).await;
    }

    /// The same for another name and another Secret.
    pub async fn put_connection(&self, name: &str, secret: &str, changes: Value) {
        let connections: Api<OceanBaseConnection> = self.api();
        let connection = self.to_gateway("OceanBaseConnection", name, secret, &changes);
        connections.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(connection)).await.unwrap();
    }

    /// The same for one of no namespace. Its name is its test's own, as the connections of all tests are together.
    pub async fn put_cluster_connection(&self, name: &str, secret: &str, changes: Value) {
        let connections: Api<ClusterOceanBaseConnection> = Api::all(self.client.clone());
        let connection = self.to_gateway("ClusterOceanBaseConnection", name, secret, &changes);
        connections.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(connection)).await.unwrap();
    }

    fn to_gateway(&self, kind: &str, name: &str, secret: &str, changes: &Value) -> Value {
        let mut fields = Map::from_iter([
            ("regionID".to_owned(), json!("cn-hangzhou")),
            ("endpoint".to_owned(), json!(self.gateway_url())),
            ("requestTimeoutSeconds".to_owned(), json!(5)),
            ("credentials".to_owned(), json!({"secretRef": {"name": secret}})),
        ]);
        fields.extend(changes.as_object().unwrap().clone());
        json!({
            "apiVersion": "sessionkill.dev/v1alpha1", "kind": kind, "metadata": {"name": name},
            "spec": spec_of(fields),
        })
    }

    /// Reads the connection.
    pub async fn connection_now(&self) -> OceanBaseConnection {
        self.api().get(Self::CONNECTION).await.unwrap()
    }

    /// Edits a request as a user does.
    pub async fn edit(&self, name: &str, change: Value) {
        let params = PatchParams::default();
        self.requests().patch(name, &params, &Patch::Merge(change)).await.unwrap();
    }

    /// Deletes a request and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.requests().delete(name, &DeleteParams::default()).await.unwrap();
        eventually(&format!("SessionKill {name} to be gone"), async || match self.requests().get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
}
