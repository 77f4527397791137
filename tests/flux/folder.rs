//! A folder of requests in a Git repository, and what Flux makes of it.

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

/// What runs beside the control plane. Like that it ends with the process, in whatever way that ends.
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

/// A namespace with an operator, and the repository that brings its connection and its requests.
pub struct Folder {
    pub stage: Stage,
    repository: Repository,
    sources: Api<DynamicObject>,
    kustomizations: Api<DynamicObject>,
}

impl Folder {
    /// With the connection that is shipped as an example, in a repository that nobody follows yet.
    pub async fn set(name: &str, sessions: Vec<Session>) -> Self {
        let stage = Stage::set(name, sessions).await;
        tools(&stage.ground).await;
        // It comes from Git.
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

    /// Writes a request, for the next commit.
    pub fn put(&self, name: &str, spec: &SessionKillSpec) {
        self.put_object(&manifest(name, &json!({}), spec));
    }

    /// The same with all of the object.
    pub fn put_object(&self, request: &Value) {
        self.repository.put(&path(text(&request["metadata"], "name")), request).unwrap();
    }

    /// Removes a request, for the next commit.
    pub fn remove(&self, name: &str) {
        self.repository.remove(&path(name)).unwrap();
    }

    /// Commits, and lets Flux follow the repository.
    pub async fn follow(&self) -> String {
        self.follow_with(&json!({})).await
    }

    /// The same with more in the Kustomization of the requests.
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

    /// Commits, and tells Flux as a webhook does.
    pub async fn commit(&self, message: &str) -> String {
        let commit = self.repository.commit(message).await.unwrap();
        ask(&self.sources, SOURCE).await;
        commit
    }

    /// Waits until Flux has fetched this commit, whether it applies it or not.
    pub async fn fetched(&self, commit: &str) {
        eventually("the commit to be fetched", async || {
            let found = serde_json::to_value(self.sources.get(SOURCE).await.unwrap()).unwrap();
            let fetched = text(&found["status"]["artifact"], "revision").ends_with(commit);
            if fetched { Ok(()) } else { Err(found["status"].to_string()) }
        })
        .await;
    }

    /// Waits until Flux has applied this commit and all that is in it is well.
    pub async fn synced(&self, commit: &str) {
        let is_so = |found: &Value| text(&found["status"], "lastAppliedRevision").ends_with(commit) && is_ready(found);
        self.until("synced", is_so).await;
    }

    /// Syncs once more what is in Git, and waits until all is well.
    pub async fn sync_again(&self) {
        let asked = self.ask_again().await;
        self.until("synced again", |found| has_handled(found, &asked) && is_ready(found)).await;
    }

    /// Waits until Flux says that the sync of this commit failed, in these words among others. What it says.
    pub async fn failed(&self, commit: &str, words: &str) -> String {
        let has_tried = |found: &Value| text(&found["status"], "lastAttemptedRevision").ends_with(commit);
        let what = format!("failed with {words:?}");
        let found = self.until(&what, |found| has_tried(found) && says_failed(found, words)).await;
        text(condition(&found, "Ready"), "message").to_owned()
    }

    /// Asks for another sync of the requests, which is not waited for. By what it was asked.
    pub async fn ask_again(&self) -> String {
        ask(&self.kustomizations, REQUESTS).await
    }

    /// Waits until Flux is done with what it was asked by, and says that it failed, in these words among others.
    pub async fn failed_again(&self, asked: &str, words: &str) {
        let what = format!("failed again with {words:?}");
        self.until(&what, |found| has_handled(found, asked) && says_failed(found, words)).await;
    }

    /// Waits until Flux is done with what it was asked by, whatever came of it. The Kustomization then.
    pub async fn handled(&self, asked: &str) -> Value {
        self.until("looked at again", |found| has_handled(found, asked)).await
    }

    /// The Kustomization of the requests once it is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("the requests to be {what}"), async || {
            let found = self.requests().await;
            if is_so(&found) { Ok(found) } else { Err(found["status"].to_string()) }
        })
        .await
    }

    /// Waits until these requests are there, and no other.
    pub async fn holds(&self, names: &[&str]) {
        eventually(&format!("the requests to be {names:?}"), async || {
            let there = self.stage.arena.requests().await.map_err(|error| error.to_string())?;
            let there: Vec<_> = there.into_iter().filter_map(|it| it.metadata.name).collect();
            if there == names { Ok(()) } else { Err(format!("{there:?}")) }
        })
        .await;
    }

    /// Holds Flux back, or lets it go on.
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

/// What `flux reconcile` does. What it has asked by.
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
