//! Flux: its source-controller and kustomize-controller, built once from the Go modules that `testbed/flux/go.mod` pins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use serde_json::json;

use crate::{
    cache,
    control_plane::ControlPlane,
    go, port,
    process::{Output, Process},
};

/// The namespace of Flux.
pub const NAMESPACE: &str = "flux-system";
const SOURCE: &str = "source-controller";
const KUSTOMIZE: &str = "kustomize-controller";
/// The folder in the cache with the definitions of its kinds.
const DEFINITIONS: &str = "definitions";
const START_LIMIT: Duration = Duration::from_mins(2);

/// Both controllers, for all namespaces. They end when this value is dropped.
pub struct Flux {
    _controllers: [Process; 2],
}

impl Flux {
    /// Installs its kinds and starts its controllers with their files in `directory`. The first start on a machine
    /// builds them, which takes several minutes. Progress goes to standard error.
    pub async fn start(control_plane: &ControlPlane, directory: &Path) -> anyhow::Result<Self> {
        let programs = tokio::task::spawn_blocking(locate).await??;
        install(control_plane, &programs.join(DEFINITIONS)).await?;
        let storage = directory.join("artifacts");
        fs::create_dir_all(&storage).with_context(|| format!("cannot create {}", storage.display()))?;
        let source = port::start_on_free(async |port| {
            let flags = [
                format!("--storage-path={}", storage.display()),
                format!("--storage-addr=127.0.0.1:{port}"),
                format!("--storage-adv-addr=127.0.0.1:{port}"),
            ];
            start(control_plane, &programs, directory, SOURCE, &flags).await
        })
        .await?;
        // Check dependencies each second, as a test would only wait for the default of 30 s. Use 20 workers, as a
        // health check occupies one.
        let flags = ["--requeue-dependency=1s", "--concurrent=20"].map(str::to_owned);
        let kustomize = start(control_plane, &programs, directory, KUSTOMIZE, &flags).await?;
        Ok(Self { _controllers: [source, kustomize] })
    }

    /// The versions of source-controller and kustomize-controller.
    pub fn versions() -> anyhow::Result<[String; 2]> {
        let sources = go::module("flux");
        Ok([go::pinned(&sources, &module(SOURCE))?, go::pinned(&sources, &module(KUSTOMIZE))?])
    }
}

/// Starts a controller as its service account and returns when it serves.
async fn start(
    control_plane: &ControlPlane,
    programs: &Path,
    directory: &Path,
    name: &str,
    flags: &[String],
) -> anyhow::Result<Process> {
    let kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, name).await?;
    // Give it its own temporary directory: it removes there what an earlier controller left.
    let temporary = directory.join(format!("{name}.tmp"));
    fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
    port::start_on_free(async |port| {
        let mut command = Command::new(programs.join(name));
        command
            .args(["--watch-all-namespaces", "--metrics-addr=0"])
            .arg(format!("--health-addr=127.0.0.1:{port}"))
            .args(flags)
            .env("KUBECONFIG", &kubeconfig)
            .env("RUNTIME_NAMESPACE", NAMESPACE)
            .env("TMPDIR", &temporary);
        let process = Process::start(&command, Output::together(directory.join(format!("{name}.log"))))?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ready = format!("http://127.0.0.1:{port}/readyz");
        let check = async || Ok(http.get(&ready).send().await?.error_for_status().map(drop)?);
        process.ready(START_LIMIT, check).await?;
        Ok(process)
    })
    .await
}

/// Its kinds, its namespace, and an account for each controller. Both may do anything, as Flux's own installation
/// allows its kustomize-controller.
async fn install(control_plane: &ControlPlane, definitions: &Path) -> anyhow::Result<()> {
    control_plane.install_kinds(definitions).await?;
    let account = |name| json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name, "namespace": NAMESPACE}});
    let subject = |name| json!({"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        account(SOURCE),
        account(KUSTOMIZE),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "flux"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [subject(SOURCE), subject(KUSTOMIZE)],
        },
    ]});
    control_plane.apply(&objects.to_string()).await.map(drop)
}

fn module(controller: &str) -> String {
    format!("github.com/fluxcd/{controller}")
}

fn locate() -> anyhow::Result<PathBuf> {
    let sources = go::module("flux");
    // The key includes the replacements, as the build depends on them.
    cache::directory(&format!("flux-{}", go::fingerprint(&sources)?), |directory| {
        let modules = [SOURCE, KUSTOMIZE].map(module);
        eprintln!("building Flux's {SOURCE} and {KUSTOMIZE} (once, several minutes) ...");
        go::compile(&sources, &[], &modules.each_ref().map(String::as_str), directory)?;
        let definitions = directory.join(DEFINITIONS);
        modules.iter().try_for_each(|module| go::copy_manifests(&sources, module, "config/crd/bases", &definitions))
    })
}
