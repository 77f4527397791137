//! A folder of requests in a Git repository, which Flux syncs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use sessionkill::api::SessionKillSpec;
use testbed::arena::{CONNECTION, Ground, manifest};
use testbed::controller_manager::ControllerManager;
use testbed::flux::Flux;
use testbed::gateway::Session;
use testbed::git::Repository;
use testbed::manifests;
use tokio::sync::OnceCell;

use crate::stage::{Stage, condition, eventually, text};

/// The names in `deploy/flux/sync.yaml`.
const SOURCE: &str = "session-kills";
const CONNECTIONS: &str = "session-kill-connections";
const REQUESTS: &str = "session-kill-requests";

/// What runs besides the control plane. It ends with the process too, however that ends.
struct Tools {
    _controllers: ControllerManager,
    _flux: Flux,
}

async fn tools(ground: &Ground) -> Arc<Tools> {
    static SHARED: OnceCell<Arc<Tools>> = OnceCell::const_new();
    let start = async || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME")).join("tools");
        fs::create_dir_all(&directory).unwrap();
        let controllers = ControllerManager::start(&ground.control_plane, &directory).await.unwrap();
        let flux = Flux::start(&ground.control_plane, &directory).await.unwrap();
        Arc::new(Tools { _controllers: controllers, _flux: flux })
    };
    SHARED.get_or_init(start).await.clone()
}

/// A namespace with an operator, and the repository with its connection and requests.
pub struct Folder {
    pub stage: Stage,
    repository: Repository,
    sources: Api<DynamicObject>,
    kustomizations: Api<DynamicObject>,
}

impl Folder {
    /// Creates the folder with the shipped example of a connection. Flux does not sync the repository yet.
    pub async fn set(name: &str, sessions: Vec<Session>) -> Self {
        let stage = Stage::set(name, sessions).await;
        tools(&stage.ground).await;
        // The connection comes from Git.
        stage.kubectl(&["delete", "oceanbaseconnection", CONNECTION]).await.unwrap();
        stage.start_operator().await;
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME")).join("git").join(name);
        let repository = Repository::serve(&directory).await.unwrap();
        let connection = stage.arena.example_connection("deploy/flux/example/connections/connection.yaml").unwrap();
        repository.put("example/connections/connection.yaml", &connection).unwrap();
        let client = stage.ground.control_plane.client().await.unwrap();
        let of = |group, kind| {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
            Api::namespaced_with(client.clone(), name, &resource)
        };
        let sources = of("source.toolkit.fluxcd.io", "GitRepository");
        let kustomizations = of("kustomize.toolkit.fluxcd.io", "Kustomization");
        Self { stage, repository, sources, kustomizations }
    }

    /// Writes a request to the folder. It is part of the next commit.
    pub fn put(&self, name: &str, spec: &SessionKillSpec) {
        self.put_object(&manifest(name, &json!({}), spec));
    }

    /// The same for a whole object.
    pub fn put_object(&self, request: &Value) {
        self.repository.put(&path(text(&request["metadata"], "name")), request).unwrap();
    }

    /// Removes a request from the folder with the next commit.
    pub fn remove(&self, name: &str) {
        self.repository.remove(&path(name)).unwrap();
    }

    /// Commits, and makes Flux sync the repository. Returns the commit.
    pub async fn follow(&self) -> String {
        self.follow_with(&json!({})).await
    }

    /// The same with more fields in the Kustomization of the requests.
    pub async fn follow_with(&self, more: &Value) -> String {
        let commit = self.repository.commit("the first").await.unwrap();
        let namespace = self.stage.arena.namespace.as_str();
        let mut objects = manifests::read("deploy/flux/sync.yaml").unwrap();
        for object in &mut objects {
            object["metadata"]["namespace"] = namespace.into();
            if object["kind"] == "GitRepository" {
                object["spec"]["url"] = self.repository.url().into();
            } else {
                object["spec"]["targetNamespace"] = namespace.into();
            }
            if object["metadata"]["name"] == REQUESTS {
                object["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.stage.ground.control_plane.apply(&list.to_string()).await.unwrap();
        commit
    }

    /// Commits, and notifies Flux as a webhook does. Returns the commit.
    pub async fn commit(&self, message: &str) -> String {
        let commit = self.repository.commit(message).await.unwrap();
        ask(&self.sources, SOURCE).await;
        commit
    }

    /// Waits until Flux has fetched this commit, even if it does not apply it.
    pub async fn fetched(&self, commit: &str) {
        eventually("the commit to be fetched", async || {
            let found = serde_json::to_value(self.sources.get(SOURCE).await.unwrap()).unwrap();
            let fetched = text(&found["status"]["artifact"], "revision").ends_with(commit);
            if fetched { Ok(()) } else { Err(found["status"].to_string()) }
        })
        .await;
    }

    /// Waits until Flux has applied this commit and is ready.
    pub async fn synced(&self, commit: &str) {
        let is_so = |found: &Value| text(&found["status"], "lastAppliedRevision").ends_with(commit) && is_ready(found);
        self.until("synced", is_so).await;
    }

    /// Makes Flux sync the same commit again, and waits until it is ready.
    pub async fn sync_again(&self) {
        let asked = self.ask_again().await;
        self.until("synced again", |found| has_handled(found, &asked) && is_ready(found)).await;
    }

    /// Waits until the sync of this commit has failed with a message that has `words`. Returns the message.
    pub async fn failed(&self, commit: &str, words: &str) -> String {
        let has_tried = |found: &Value| text(&found["status"], "lastAttemptedRevision").ends_with(commit);
        let what = format!("failed with {words:?}");
        let found = self.until(&what, |found| has_tried(found) && says_failed(found, words)).await;
        text(condition(&found, "Ready"), "message").to_owned()
    }

    /// Asks for another sync of the requests without waiting for it. Returns the token of the request.
    pub async fn ask_again(&self) -> String {
        ask(&self.kustomizations, REQUESTS).await
    }

    /// Waits until Flux has handled the request with this token and has failed with a message that has `words`.
    pub async fn failed_again(&self, asked: &str, words: &str) {
        let what = format!("failed again with {words:?}");
        self.until(&what, |found| has_handled(found, asked) && says_failed(found, words)).await;
    }

    /// Waits until Flux has handled the request with this token, whatever the result. Returns the Kustomization.
    pub async fn handled(&self, asked: &str) -> Value {
        self.until("looked at again", |found| has_handled(found, asked)).await
    }

    /// Waits until `is_so` is true of the Kustomization of the requests, and returns it.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("the requests to be {what}"), async || {
            let found = self.requests().await;
            if is_so(&found) { Ok(found) } else { Err(found["status"].to_string()) }
        })
        .await
    }

    /// Waits until exactly these requests exist.
    pub async fn holds(&self, names: &[&str]) {
        eventually(&format!("the requests to be {names:?}"), async || {
            let there = self.stage.arena.requests().await.map_err(|error| error.to_string())?;
            let there: Vec<_> = there.into_iter().filter_map(|it| it.metadata.name).collect();
            if there == names { Ok(()) } else { Err(format!("{there:?}")) }
        })
        .await;
    }

    /// Suspends or resumes Flux's sync of the requests.
    pub async fn suspend(&self, suspend: bool) {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        self.kustomizations.patch(REQUESTS, &PatchParams::default(), &patch).await.unwrap();
    }

    /// The Kustomization of the requests.
    pub async fn requests(&self) -> Value {
        serde_json::to_value(self.kustomizations.get(REQUESTS).await.unwrap()).unwrap()
    }

    /// The Kustomization of the connections.
    pub async fn connections(&self) -> Value {
        serde_json::to_value(self.kustomizations.get(CONNECTIONS).await.unwrap()).unwrap()
    }
}

/// Does what `flux reconcile` does. Returns the token of the request.
async fn ask(objects: &Api<DynamicObject>, name: &str) -> String {
    let token = jiff::Timestamp::now().to_string();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}}));
    objects.patch(name, &PatchParams::default(), &patch).await.unwrap();
    token
}

fn is_ready(kustomization: &Value) -> bool {
    let ready = condition(kustomization, "Ready");
    ready["status"] == "True" && ready["observedGeneration"] == kustomization["metadata"]["generation"]
}

fn has_handled(kustomization: &Value, asked: &str) -> bool {
    text(&kustomization["status"], "lastHandledReconcileAt") == asked
}

fn says_failed(kustomization: &Value, words: &str) -> bool {
    let ready = condition(kustomization, "Ready");
    ready["status"] == "False" && text(ready, "message").contains(words)
}

fn path(request: &str) -> String {
    format!("example/requests/{request}.yaml")
}
