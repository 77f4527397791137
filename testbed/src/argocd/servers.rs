//! Argo CD's servers, built once from the Go modules that `testbed/argocd/go.mod` pins.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    cache,
    control_plane::ControlPlane,
    go, port,
    process::{Output, Process},
};

/// The namespace of Argo CD.
pub(super) const NAMESPACE: &str = "argocd";
const MODULE: &str = "github.com/argoproj/argo-cd/v3";
const PROGRAM: &str = "argocd";
/// Folders in the cache: the definitions of its kinds, and its settings.
const DEFINITIONS: &str = "definitions";
const SETTINGS: &str = "settings";
/// The program that the repo-server runs to verify each commit, signed or not.
const SIGNATURE: &str = "git-verify-wrapper.sh";
/// The directory that the repo-server makes in its temporary directory.
const COPIES: &str = "_argocd-repo";
const START_LIMIT: Duration = Duration::from_mins(2);

/// The running servers. They end when this value is dropped.
pub(super) struct Servers {
    _controller: Process,
    _repo_server: Process,
    _redis: Process,
    _copies: Copies,
}

/// Where the repo-server keeps copies of repositories. It removes all permissions from them. Dropping this value
/// restores the permissions, so that the directory can be deleted.
struct Copies(PathBuf);

impl Drop for Copies {
    fn drop(&mut self) {
        let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        // Ignore what cannot be opened: that harms no run.
        if open(&self.0).is_ok() {
            let copies = fs::read_dir(&self.0).into_iter().flatten().flatten();
            copies.for_each(|copy| drop(open(&copy.path())));
        }
    }
}

impl Servers {
    /// Installs Argo CD with its own manifests and with our health check, patched in as our page says. Starts its
    /// servers with their files in `directory`.
    pub(super) async fn start(control_plane: &ControlPlane, directory: &Path) -> anyhow::Result<Self> {
        let built = tokio::task::spawn_blocking(locate).await??;
        install(control_plane, &built).await?;
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, PROGRAM).await?;
        let mut path = vec![built.clone()];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let path = env::join_paths(path)?;
        let start = async |name: &str, port: u16, flags: &[String]| {
            let mut command = Command::new(built.join(PROGRAM));
            command
                .arg(name)
                .args(flags)
                .env("KUBECONFIG", &kubeconfig)
                // Its destination cluster is the one of the kubeconfig.
                .env("ARGOCD_FAKE_IN_CLUSTER", "true")
                .env("ARGOCD_GPG_ENABLED", "false")
                .env("ARGOCD_ASK_PASS_SOCK", directory.join("ask-pass.sock"))
                .env("PATH", &path)
                .env("HOME", directory)
                .env("TMPDIR", directory);
            let process = Process::start(&command, Output::together(directory.join(format!("{name}.log"))))?;
            process.ready(START_LIMIT, async || Ok(TcpStream::connect(("127.0.0.1", port)).await.map(drop)?)).await?;
            anyhow::Ok((process, format!("127.0.0.1:{port}")))
        };
        let (redis, store) =
            port::start_on_free(async |port| start("redis", port, &[format!("127.0.0.1:{port}")]).await).await?;
        let (repo_server, repositories) = port::start_on_free(async |port| {
            // Set --client-ca-path, as with its default the server does not start without TLS.
            let flags = ["--disable-tls", "--client-ca-path=", "--address=127.0.0.1", "--metrics-address=127.0.0.1"]
                .map(str::to_owned);
            let ports = [format!("--port={port}"), format!("--metrics-port={}", port::free()?)];
            start("repo-server", port, &[&flags[..], &ports, &[format!("--redis={store}")]].concat()).await
        })
        .await?;
        let (controller, _) = port::start_on_free(async |port| {
            let flags = [
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--redis={store}"),
                format!("--repo-server={repositories}"),
                format!("--metrics-address=127.0.0.1:{port}"),
            ];
            start("application-controller", port, &flags).await
        })
        .await?;
        let copies = Copies(directory.join(COPIES));
        Ok(Self { _controller: controller, _repo_server: repo_server, _redis: redis, _copies: copies })
    }
}

/// The version of Argo CD.
pub(super) fn version() -> anyhow::Result<String> {
    go::pinned(&go::module(PROGRAM), MODULE)
}

async fn install(control_plane: &ControlPlane, built: &Path) -> anyhow::Result<()> {
    control_plane.install_kinds(&built.join(DEFINITIONS)).await?;
    control_plane.run_kubectl(&["create", "namespace", NAMESPACE]).await?;
    // Apply on the client's side, as Argo CD's own documentation said before its version 3.3.
    let settings = built.join(SETTINGS);
    let settings = settings.to_str().context("kubectl needs a path in UTF-8")?;
    control_plane.run_kubectl(&["apply", "--namespace", NAMESPACE, "-f", settings]).await?;
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": PROGRAM, "namespace": NAMESPACE}},
        // It may do anything, as Argo CD's own installation allows its application-controller.
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": PROGRAM},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": PROGRAM, "namespace": NAMESPACE}],
        },
        // Create the project that Argo CD's API server would create. It does not run here.
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": {"name": "default", "namespace": NAMESPACE},
            "spec": {
                "sourceRepos": ["*"],
                "destinations": [{"namespace": "*", "server": "*"}],
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
            },
        },
    ]});
    control_plane.apply(&objects.to_string()).await?;
    patch_health_check(control_plane).await
}

/// Patches Argo CD's own ConfigMap with the command of our page. Its other content must stay.
async fn patch_health_check(control_plane: &ControlPlane) -> anyhow::Result<()> {
    let read = async || -> anyhow::Result<Value> {
        let get = ["get", "configmap", "argocd-cm", "--namespace", NAMESPACE, "-o", "json"];
        Ok(serde_json::from_str(&control_plane.run_kubectl(&get).await?)?)
    };
    let before = read().await?;
    let patch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/argocd/argocd-cm.yaml");
    let patch = patch.to_str().context("kubectl needs a path in UTF-8")?;
    let command =
        ["patch", "configmap", "argocd-cm", "--namespace", NAMESPACE, "--type", "merge", "--patch-file", patch];
    control_plane.run_kubectl(&command).await?;
    let after = read().await?;
    let theirs = before["data"].as_object().context("Argo CD's ConfigMap has no data")?;
    let lost: Vec<_> =
        theirs.iter().filter(|(key, value)| after["data"][*key] != **value).map(|(key, _)| key).collect();
    ensure!(lost.is_empty(), "the patch took from Argo CD's ConfigMap: {lost:?}");
    ensure!(
        after["metadata"]["labels"] == before["metadata"]["labels"],
        "the patch changed the labels of its ConfigMap"
    );
    Ok(())
}

fn locate() -> anyhow::Result<PathBuf> {
    let sources = go::module(PROGRAM);
    cache::directory(&format!("{PROGRAM}-{}", go::fingerprint(&sources)?), |directory| {
        eprintln!("building Argo CD {} (once, several minutes) ...", version()?);
        go::compile(&sources, &[], &["."], &directory.join(PROGRAM))?;
        go::copy_manifests(&sources, MODULE, "manifests/crds", &directory.join(DEFINITIONS))?;
        go::copy_manifests(&sources, MODULE, "manifests/base/config", &directory.join(SETTINGS))?;
        let script = directory.join(SIGNATURE);
        fs::copy(go::folder_of(&sources, MODULE)?.join("hack").join(SIGNATURE), &script)
            .and_then(|_| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot copy {SIGNATURE}"))
    })
}
