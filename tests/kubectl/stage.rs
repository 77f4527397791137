//! The environment of the tests: an arena for each, on one control plane, and the plugin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, SessionKill};
use testbed::arena::{Arena, CONNECTION, Ground, INSTANCE, Launch, TENANT, session};
use testbed::gateway::Session;
use testbed::operator::tested_plugin;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

/// Far longer than anything takes on a busy machine. It only ends a test that would hang.
const LIMIT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(50);

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

/// Another one, with an engine whose sessions are ended by SQL.
async fn ground_with_engine() -> Arc<Ground> {
    static SHARED: OnceCell<Arc<Ground>> = OnceCell::const_new();
    let prepare = async || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubectl-sql");
        let _ = fs::remove_dir_all(&directory);
        let binary = Path::new(env!("CARGO_BIN_EXE_sessionkill-operator"));
        let mut ground = Ground::prepare(&directory, binary).await.unwrap();
        ground.start_engine().await.unwrap();
        Arc::new(ground)
    };
    SHARED.get_or_init(prepare).await.clone()
}

/// The plugin's binary, which is no part of the operator's package.
pub async fn plugin() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let build = async || tokio::task::spawn_blocking(|| tested_plugin().unwrap()).await.unwrap();
    BUILT.get_or_init(build).await
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

/// What a run of the plugin did.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its answer.
    pub stdout: String,
    /// All else that it said.
    pub stderr: String,
}

/// A namespace with a gateway, and with an operator once it is started.
pub struct Stage {
    pub arena: Arena,
    pub ground: Arc<Ground>,
    client: Client,
}

impl Stage {
    /// Creates one without an operator. Its connection allows one instance and one tenant.
    pub async fn set(name: &str, sessions: Vec<Session>) -> Self {
        let ground = ground().await;
        let arena = Arena::set(&ground, name, sessions).await.unwrap();
        let client = ground.control_plane.client().await.unwrap();
        let stage = Self { arena, ground, client };
        let only = json!({"spec": {
            "alibabaCloud": {"instanceIDs": [INSTANCE]}, "tenantIDs": [TENANT], "sqlText": "Truncated",
        }});
        let connections: Api<OceanBaseConnection> = stage.api();
        connections.patch(CONNECTION, &PatchParams::default(), &Patch::Merge(only)).await.unwrap();
        stage
    }

    /// One with a connection by SQL to a real engine, and with an operator that watches.
    pub async fn by_sql(name: &str) -> Self {
        let ground = ground_with_engine().await;
        let arena = Arena::set_by_sql(&ground, name).await.unwrap();
        let client = ground.control_plane.client().await.unwrap();
        let stage = Self { arena, ground, client };
        stage.start_operator().await;
        stage
    }

    /// The same with an operator that watches.
    pub async fn ready(name: &str, sessions: Vec<Session>) -> Self {
        let stage = Self::set(name, sessions).await;
        stage.start_operator().await;
        stage
    }

    /// Starts an operator and waits until it watches.
    pub async fn start_operator(&self) {
        self.arena.start(Launch::default()).await.unwrap().ready().await.unwrap();
    }

    /// The objects of a kind.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), &self.arena.namespace)
    }

    /// All requests.
    pub async fn requests(&self) -> Vec<SessionKill> {
        self.api::<SessionKill>().list(&ListParams::default()).await.unwrap().items
    }

    /// The request of this name.
    pub async fn request(&self, name: &str) -> SessionKill {
        self.api::<SessionKill>().get(name).await.unwrap()
    }

    /// A command line of the plugin, as the user of this kubeconfig.
    pub async fn command(&self, kubeconfig: &Path, line: &[&str]) -> Command {
        let mut command = Command::new(plugin().await);
        command.args(line).args(["-n", &self.arena.namespace, "--kubeconfig"]).arg(kubeconfig);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs the plugin as an administrator.
    pub async fn run(&self, line: &[&str]) -> Said {
        self.run_as(self.ground.control_plane.kubeconfig(), line).await
    }

    /// Runs the plugin as the user of this kubeconfig.
    pub async fn run_as(&self, kubeconfig: &Path, line: &[&str]) -> Said {
        said(self.command(kubeconfig, line).await).await
    }

    /// Runs kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments = [&["-n", &self.arena.namespace], arguments].concat();
        self.ground.control_plane.run_kubectl(&arguments).await.unwrap()
    }

    /// How many times the gateway has killed each session: its number, and how often.
    pub fn kills(&self) -> Vec<(i64, u32)> {
        let kills = self.arena.gateway.kills_per_session();
        kills.into_iter().map(|((_, id), count)| (id - testbed::arena::session_id(0), count)).collect()
    }

    /// No list is left behind.
    pub async fn assert_no_list(&self) {
        let lists = self.requests().await;
        let names: Vec<_> = lists.iter().filter_map(|list| list.metadata.name.clone()).collect();
        assert!(!names.iter().any(|name| name.starts_with("list-")), "{names:?}");
    }
}

/// Runs a command to its end.
pub async fn said(mut command: Command) -> Said {
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The session number `number` of `user`, which has run its statement for `seconds`.
pub fn of(user: &str, number: i64, seconds: i64) -> Session {
    let sql_id = format!("{number:032X}");
    Session { user: user.into(), execute_time: seconds, sql_id, ..session(number) }
}

/// An idle one.
pub fn idle(user: &str, number: i64, seconds: i64) -> Session {
    let (command, status) = ("Sleep".into(), "SLEEP".into());
    Session { command, status, sql_text: String::new(), sql_id: String::new(), ..of(user, number, seconds) }
}

/// Some of three users.
pub fn sessions() -> Vec<Session> {
    vec![of("report", 1, 742), of("report", 2, 61), of("app", 3, 3), idle("app", 4, 4000)]
}

/// The lines of a text.
pub fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// The value of JSON.
pub fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
