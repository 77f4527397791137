//! An Argo CD Application with a Git repository of its own, in a namespace with an operator.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, SessionKill, SessionKillSpec};
use tokio::time::{Instant, sleep};

use super::servers::NAMESPACE;
use crate::{
    arena::{Arena, CONNECTION, Ground, Launch, example_request, manifest},
    gateway::Session,
    git::Repository,
    manifests,
};

/// Far longer than anything takes. It only ends what would never end.
const LIMIT: Duration = Duration::from_mins(4);
const POLL: Duration = Duration::from_millis(200);

/// The folder of the Application.
const FOLDER: &str = "example";
/// The method with which Argo CD tracks objects.
const MARK: &str = "argocd.argoproj.io";

/// An Application of this namespace. It has the same name as the namespace.
pub(super) struct Application {
    pub(super) arena: Arena,
    repository: Repository,
    applications: Api<DynamicObject>,
    name: String,
}

impl Application {
    /// Puts the connection of the example into the folder. Argo CD does not know the Application yet.
    pub(super) async fn set(
        ground: &Arc<Ground>,
        directory: &Path,
        name: &str,
        sessions: Vec<Session>,
    ) -> anyhow::Result<Self> {
        let arena = Arena::set(ground, name, sessions).await?;
        // Remove it: the connection comes from Git.
        arena.api_of::<OceanBaseConnection>().delete(CONNECTION, &DeleteParams::default()).await?;
        arena.start(Launch::default()).await?.ready().await?;
        let repository = Repository::serve(&directory.join("git").join(name)).await?;
        let connection = arena.example_connection(&shipped("example/connection.yaml"))?;
        repository.put(&format!("{FOLDER}/connection.yaml"), &connection)?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Application"));
        let client = ground.control_plane.client().await?;
        let applications = Api::namespaced_with(client, NAMESPACE, &resource);
        Ok(Self { arena, repository, applications, name: name.into() })
    }

    /// Writes a request of the example for the session `number`, to be committed next, and returns its name.
    pub(super) fn put_example(&self, file: &str, number: i64, seconds: i64) -> anyhow::Result<String> {
        let request = example_request(&shipped(&format!("example/{file}")), number, seconds)?;
        self.repository.put(&format!("{FOLDER}/{file}"), &request)?;
        Ok(request["metadata"]["name"].as_str().unwrap_or_default().to_owned())
    }

    /// Writes a request of the last sync wave, to be committed next.
    pub(super) fn put(&self, name: &str, spec: &SessionKillSpec) -> anyhow::Result<()> {
        let metadata = json!({"annotations": {format!("{MARK}/sync-wave"): "2"}});
        let object = manifest(name, &metadata, spec);
        self.repository.put(&format!("{FOLDER}/{name}.yaml"), &object)
    }

    /// Removes a file, to be committed next.
    pub(super) fn remove(&self, file: &str) -> anyhow::Result<()> {
        self.repository.remove(&format!("{FOLDER}/{file}"))
    }

    /// Commits, and creates the Application of the example. It syncs automatically, or only on request.
    pub(super) async fn create(&self, by_itself: bool) -> anyhow::Result<()> {
        self.repository.commit("the first").await?;
        let mut object = manifests::read(&shipped("application.yaml"))?.pop().context("there is no Application")?;
        object["metadata"]["name"] = self.name.clone().into();
        object["spec"]["source"]["repoURL"] = self.repository.url().into();
        object["spec"]["destination"]["namespace"] = self.arena.namespace.clone().into();
        if !by_itself && let Some(policy) = object["spec"]["syncPolicy"].as_object_mut() {
            policy.remove("automated");
        }
        self.applications.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    /// Commits, and tells Argo CD as a webhook does.
    pub(super) async fn commit(&self, message: &str) -> anyhow::Result<()> {
        self.repository.commit(message).await?;
        let refresh = json!({"metadata": {"annotations": {format!("{MARK}/refresh"): "normal"}}});
        self.applications.patch(&self.name, &PatchParams::default(), &Patch::Merge(refresh)).await?;
        Ok(())
    }

    /// Requests a sync of everything and waits for its end. Returns whether it succeeded, and Argo CD's message.
    pub(super) async fn sync(&self) -> anyhow::Result<(bool, String)> {
        // Wait first for a sync that Argo CD has started itself.
        self.until("no sync", |found| {
            found["operation"].is_null() && found["status"]["operationState"]["phase"] != "Running"
        })
        .await?;
        let token = jiff::Timestamp::now().to_string();
        let options = ["CreateNamespace=true", "ServerSideApply=true"];
        let operation = json!({"operation": {
            "info": [{"name": "token", "value": token}],
            "sync": {"prune": true, "syncOptions": options, "syncStrategy": {"hook": {}}},
        }});
        self.applications.patch(&self.name, &PatchParams::default(), &Patch::Merge(operation)).await?;
        let ended = self
            .until("the sync to end", |found| {
                let state = &found["status"]["operationState"];
                state["operation"]["info"][0]["value"] == *token && state["finishedAt"].is_string()
            })
            .await?;
        let state = &ended["status"]["operationState"];
        let results = state["syncResult"]["resources"].as_array().into_iter().flatten();
        let failed = results.filter(|it| it["hookPhase"] == "Failed").map(|it| text(&it["message"]));
        let said = [vec![text(&state["message"])], failed.collect()].concat().join(": ");
        Ok((state["phase"] == "Succeeded", said))
    }

    /// Waits until the Application is `Synced` and has this health. Returns the message of the object that has this
    /// health.
    pub(super) async fn health(&self, health: &str) -> anyhow::Result<String> {
        let found = self
            .until(&format!("Synced and {health}"), |found| {
                found["status"]["sync"]["status"] == "Synced" && found["status"]["health"]["status"] == *health
            })
            .await?;
        let mut resources = found["status"]["resources"].as_array().into_iter().flatten();
        let of_it = resources.find(|it| it["kind"] == "SessionKill" && it["health"]["status"] == *health);
        Ok(of_it.map(|it| text(&it["health"]["message"])).unwrap_or_default())
    }

    /// The reason of the request once it has ended.
    pub(super) async fn ended(&self, name: &str) -> anyhow::Result<String> {
        self.reason(name, |request| request["status"]["completionTime"].is_string()).await
    }

    /// Waits until the request has this reason, ended or not.
    pub(super) async fn saying(&self, name: &str, reason: &str) -> anyhow::Result<()> {
        self.reason(name, |request| succeeded_reason(request) == reason).await.map(drop)
    }

    /// Deletes the request directly, not through Argo CD.
    pub(super) async fn delete(&self, name: &str) -> anyhow::Result<()> {
        self.arena.api_of::<SessionKill>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until there is no such request.
    pub(super) async fn gone(&self, name: &str) -> anyhow::Result<()> {
        let requests = self.arena.api_of::<SessionKill>();
        eventually(&format!("SessionKill {name} to be gone"), async || Ok(requests.get_opt(name).await?.is_none()))
            .await
    }

    /// The request as it is stored.
    pub(super) async fn stored(&self, name: &str) -> anyhow::Result<SessionKill> {
        Ok(self.arena.api_of::<SessionKill>().get(name).await?)
    }

    /// Whether there is such a request.
    pub(super) async fn is_there(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.arena.api_of::<SessionKill>().get_opt(name).await?.is_some())
    }

    /// How often each killed session was killed.
    pub(super) fn kills(&self) -> Vec<u32> {
        self.arena.gateway.kills_per_session().into_values().collect()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let what = format!("Application {}: {what}", self.name);
        let met = eventually(&what, async || {
            last = serde_json::to_value(self.applications.get(&self.name).await?)?;
            Ok(is_so(&last))
        });
        met.await.with_context(|| format!("it says {}", last["status"]))?;
        Ok(last)
    }

    async fn reason(&self, name: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<String> {
        let requests = self.arena.api_of::<SessionKill>();
        let mut last = Value::Null;
        let what = format!("SessionKill {name}");
        let met = eventually(&what, async || {
            last = serde_json::to_value(requests.get_opt(name).await?)?;
            Ok(is_so(&last))
        });
        met.await.with_context(|| format!("it is {last}"))?;
        Ok(succeeded_reason(&last))
    }
}

/// Returns when `check` succeeds. Fails if it never does.
pub(super) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !check().await? {
        if Instant::now() >= deadline {
            bail!("waited in vain for {what}");
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// A file that is shipped for Argo CD.
fn shipped(file: &str) -> String {
    format!("deploy/argocd/{file}")
}

fn succeeded_reason(request: &Value) -> String {
    let mut conditions = request["status"]["conditions"].as_array().into_iter().flatten();
    let succeeded = conditions.find(|it| it["type"] == "Succeeded");
    succeeded.map(|it| text(&it["reason"])).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
