//! The environment of the tests: an arena for each, on one control plane.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client, Resource};
use serde_json::Value;
use sessionkill::api::{SessionKill, SessionKillSpec};
use testbed::arena::{Arena, Ground, Launch, manifest};
use testbed::gateway::Session;
use testbed::gitops::{Verdict, judge};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

/// Far longer than anything takes on a busy machine. It only ends a test that would hang.
const LIMIT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(50);

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What all arenas of this process share. Its servers end with the process, however it ends.
pub async fn ground() -> Arc<Ground> {
    static SHARED: OnceCell<Arc<Ground>> = OnceCell::const_new();
    let prepare = async || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        // Remove the files of an earlier run.
        let _ = fs::remove_dir_all(&directory);
        let binary = Path::new(env!("CARGO_BIN_EXE_sessionkill-operator"));
        Arc::new(Ground::prepare(&directory, binary).await.unwrap())
    };
    SHARED.get_or_init(prepare).await.clone()
}

/// Repeats `check` until it returns `Ok`, and returns that value. After the limit the test fails with the last error.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "waited in vain for {what}: {why}"),
        }
        sleep(POLL).await;
    }
}

/// A namespace with a gateway, and with an operator once it is started.
pub struct Stage {
    pub arena: Arena,
    pub ground: Arc<Ground>,
    client: Client,
}

impl Stage {
    /// Creates one without an operator.
    pub async fn set(name: &str, sessions: Vec<Session>) -> Self {
        let ground = ground().await;
        let arena = Arena::set(&ground, name, sessions).await.unwrap();
        let client = ground.control_plane.client().await.unwrap();
        Self { arena, ground, client }
    }

    /// Starts an operator and waits until it watches.
    pub async fn start_operator(&self) {
        self.arena.start(Launch::default()).await.unwrap().ready().await.unwrap();
    }

    /// An API that returns objects as the API server sends them, not as our types.
    pub fn raw<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.arena.namespace, &ApiResource::erase::<K>(&()))
    }

    /// Creates a request with these annotations and labels.
    pub async fn create(&self, name: &str, metadata: &Value, spec: &SessionKillSpec) {
        let object = serde_json::from_value(manifest(name, metadata, spec)).unwrap();
        self.raw::<SessionKill>().create(&PostParams::default(), &object).await.unwrap();
    }

    /// Deletes a request and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        let requests = self.raw::<SessionKill>();
        requests.delete(name, &DeleteParams::default()).await.unwrap();
        eventually(&format!("SessionKill {name} to be gone"), async || match requests.get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Waits until the request has `reason`, and returns it.
    pub async fn saying(&self, name: &str, reason: &str) -> Value {
        eventually(&format!("SessionKill {name} to say {reason:?}"), async || {
            let found = self.raw::<SessionKill>().get(name).await.map_err(|error| error.to_string())?;
            let found = serde_json::to_value(found).unwrap();
            if text(condition(&found, "Succeeded"), "reason") == reason { Ok(found) } else { Err(found.to_string()) }
        })
        .await
    }

    /// Waits until the request has ended, and returns it.
    pub async fn ended(&self, name: &str) -> Value {
        eventually(&format!("SessionKill {name} to end"), async || {
            let found = self.raw::<SessionKill>().get(name).await.map_err(|error| error.to_string())?;
            let found = serde_json::to_value(found).unwrap();
            if found["status"]["completionTime"].is_string() { Ok(found) } else { Err(found.to_string()) }
        })
        .await
    }

    /// Runs kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let arguments = [&["-n", &self.arena.namespace], arguments].concat();
        self.ground.control_plane.run_kubectl(&arguments).await.map_err(|error| format!("{error:#}"))
    }

    /// How many times the gateway has killed each session.
    pub fn kills(&self) -> Vec<u32> {
        self.arena.gateway.kills_per_session().into_values().collect()
    }
}

/// How GitOps tools interpret `objects`.
pub async fn verdicts(objects: Vec<Value>) -> Vec<Verdict> {
    let script = repository("deploy/argocd/health.lua");
    tokio::task::spawn_blocking(move || judge(&script, &objects)).await.unwrap().unwrap()
}

/// How kstatus and Argo CD interpret `object`.
pub async fn verdict(object: &Value) -> (String, String) {
    let Verdict { kstatus, argo_cd, .. } = verdicts(vec![object.clone()]).await.remove(0);
    (kstatus, argo_cd)
}

/// The condition of this type. Null if there is none.
pub fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

/// The text of a field. Empty if it is absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}
