//! The control plane and the engine. Starting them for each test would take too long.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use kube::Api;
use kube::api::ListParams;
use sessionkill::api::{ClusterOceanBaseConnection, OceanBaseConnection, SessionKill, SessionKillReceipt};
use testbed::control_plane::{ControlPlane, client_for};
use testbed::oceanbase::Engine;
use testbed::stack::start_control_plane;
use tokio::sync::{Mutex, OnceCell};

use super::eventually;

const NAMESPACE: &str = "sessionkill-system";
const SERVICE_ACCOUNT: &str = "sessionkill-operator";

/// A control plane with the definitions and `deploy/base` installed.
pub struct Cluster {
    pub control_plane: ControlPlane,
    /// The kubeconfig of the operator's service account, which has the rights of `deploy/base` and no others.
    pub operator_kubeconfig: PathBuf,
    /// The directory with the files of this cluster.
    pub directory: PathBuf,
}

impl Cluster {
    /// The cluster that all tests of this process share. Statics are never dropped, but its servers ask the kernel to
    /// kill them when this process ends, so none is left behind.
    pub async fn shared() -> Arc<Self> {
        static SHARED: OnceCell<Arc<Cluster>> = OnceCell::const_new();
        SHARED.get_or_init(async || Self::start("shared").await).await.clone()
    }

    /// A cluster for one test alone, for changes that would disturb the others.
    pub async fn start(name: &str) -> Arc<Self> {
        let directory = process_directory().join(name);
        let control_plane = start_control_plane(&directory).await.unwrap();
        let operator_kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT).await.unwrap();
        let client = client_for(&operator_kubeconfig).await.unwrap();
        let requests: Api<SessionKill> = Api::all(client.clone());
        let receipts: Api<SessionKillReceipt> = Api::all(client.clone());
        let connections: Api<OceanBaseConnection> = Api::all(client.clone());
        let cluster_connections: Api<ClusterOceanBaseConnection> = Api::all(client);
        // Try again: the API server needs a moment for new rights, and at first cannot list a new kind.
        eventually("the operator's rights, and all kinds", async || {
            let params = ListParams::default();
            let listed = async {
                requests.list(&params).await?;
                receipts.list(&params).await?;
                connections.list(&params).await?;
                cluster_connections.list(&params).await.map(drop)
            };
            listed.await.map_err(|error: kube::Error| error.to_string())
        })
        .await;
        Arc::new(Self { control_plane, operator_kubeconfig, directory })
    }
}

/// The engine that all tests of this process share. It is stopped and its files are removed when no test holds it.
pub async fn shared_engine() -> Arc<Engine> {
    static SHARED: Mutex<Weak<Engine>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(engine) = shared.upgrade() {
        return engine;
    }
    let directory = process_directory().join("engine");
    // The files of a stopped engine take gigabytes.
    let _ = fs::remove_dir_all(&directory);
    let engine = Arc::new(Engine::start(&directory).await.unwrap());
    *shared = Arc::downgrade(&engine);
    engine
}

/// The directory of this process, kept so that you can look at it after a failure. The directories of processes that
/// have ended are removed.
fn process_directory() -> PathBuf {
    const PREFIX: &str = "kill-path-";
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(root).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Ignore errors: another test process may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    root.join(format!("{PREFIX}{}", std::process::id()))
}
