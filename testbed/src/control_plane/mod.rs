//! A real control plane on loopback: etcd and kube-apiserver with RBAC, TLS, Pod Security admission and an audit log.
//!
//! No controllers run by themselves, unless a [`ControllerManager`](crate::controller_manager::ControllerManager) is started beside
//! it. Objects are stored, validated and watched as in any cluster, but nothing acts on them: no Pods start, owner references are not
//! collected, and a deleted namespace stays `Terminating`. `crate::node` is where they do.

mod access;
mod audit;
mod binaries;
mod kubectl;
mod nodes;
mod outage;
mod pki;
mod record;
mod servers;
mod token_key;

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use self::{
    access::Access,
    servers::{START_LIMIT, serves, start_api_server, start_etcd},
};
pub(crate) use self::{access::TEST_AGENT, binaries::build as build_component};
pub use self::{
    access::client_for,
    audit::{Request, RequestCounter},
    binaries::{Kubernetes, server_version},
    outage::Outage,
    record::RECORD,
    servers::ISSUER,
};
use crate::{inside::ensure_inside, port, process::Process};

const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Builds the programs if they are missing. Call it before the network is gone. It blocks, possibly for minutes.
pub fn prepare() -> anyhow::Result<()> {
    binaries::locate()?;
    token_key::locate().map(drop)
}

/// A running control plane. Both servers end when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    // Before etcd, so that it is dropped first: without etcd the API server floods its log.
    api_server: Mutex<Arc<Process>>,
    etcd: Mutex<Arc<Process>>,
    etcd_port: u16,
    port: u16,
    programs: PathBuf,
    directory: PathBuf,
    audit_log: PathBuf,
    access: Access,
    authority: pki::Authority,
    nodes: Option<Ipv4Addr>,
}

/// Process ids, for measurements of memory and processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pids {
    /// kube-apiserver.
    pub api_server: u32,
    /// etcd.
    pub etcd: u32,
}

impl ControlPlane {
    /// Starts etcd and kube-apiserver with their data, certificates and logs in `directory`, and returns when `/readyz`
    /// says ok. Data of an earlier control plane in the same directory is there again, but its kubeconfigs and tokens
    /// are not valid any more. The first start on a machine builds the programs, which takes several minutes: those of
    /// the newest Kubernetes that is tested, or with `TESTBED_KUBERNETES=oldest` those of the oldest supported one.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        Self::start_for(directory, None).await
    }

    /// The same for nodes. They reach the API server at this address, and it reads logs and runs commands on them. It
    /// listens on all addresses, so use it only inside of [`crate::node::enter`].
    pub async fn start_for_nodes(directory: &Path, address: Ipv4Addr) -> anyhow::Result<Self> {
        ensure_inside()?;
        Self::start_for(directory, Some(address)).await
    }

    async fn start_for(directory: &Path, nodes: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        let programs = spawn_blocking(binaries::locate).await??;
        let (authority, identity) = {
            let directory = directory.clone();
            spawn_blocking(move || pki::create(&directory, &nodes::addresses(nodes))).await??
        };
        fs::write(directory.join("audit-policy.json"), audit::POLICY)?;
        let audit_log = record::file()?.unwrap_or_else(|| directory.join("audit.log"));
        let (etcd, etcd_port) = port::start_on_free(|port| start_etcd(&programs, &directory, port)).await?;
        let (api_server, access, port) = port::start_on_free(async |port| {
            let access = Access::create(&directory, port, &identity)?;
            let client = access.client().await?;
            let place = (programs.as_path(), directory.as_path(), audit_log.as_path());
            let process = start_api_server(place, nodes, port, etcd_port, client).await?;
            Ok((process, access, port))
        })
        .await?;
        let (api_server, etcd) = (Mutex::new(Arc::new(api_server)), Mutex::new(Arc::new(etcd)));
        Ok(Self { api_server, etcd, etcd_port, port, programs, directory, audit_log, access, authority, nodes })
    }

    /// The administrator's kubeconfig, with its certificates inline.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.access.kubeconfig()
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        access::url(self.port)
    }

    /// A new client with the administrator's rights, for the runtime that calls this. It never retries, so that tests
    /// see each failure.
    pub async fn client(&self) -> anyhow::Result<Client> {
        self.access.client().await
    }

    /// A kubeconfig for this service account, with a token that is valid for a day.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
        self.access.service_account_kubeconfig(namespace, name).await
    }

    /// A new token of this service account for `audience` only, that is valid for a day.
    pub async fn service_account_token(&self, namespace: &str, name: &str, audience: &str) -> anyhow::Result<String> {
        self.access.service_account_token(namespace, name, &[audience]).await
    }

    /// A kubeconfig for this user of this group, with a certificate, for a component that reaches the API server at
    /// `host`. The file has the user's name.
    pub(crate) fn component_kubeconfig(
        &self,
        user: &str,
        group: Option<&str>,
        host: Ipv4Addr,
    ) -> anyhow::Result<PathBuf> {
        let identity = self.authority.client(user, group)?;
        self.access.kubeconfig_of(&user.replace(':', "-"), &identity, host)
    }

    /// The file with the certificate of the authority that signs for all, including clients of a kubelet.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.directory.join(pki::CA)
    }

    /// The file with the private key that signs service accounts' tokens: of RSA, in PEM, PKCS#8.
    #[must_use]
    pub fn token_key_file(&self) -> PathBuf {
        self.directory.join(pki::TOKEN_KEY)
    }

    /// kubectl of the server's version, as administrator. Add the arguments and run it.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        kubectl::command(&self.programs, &self.directory, self.kubeconfig())
    }

    /// Runs kubectl and returns its output. Its error output becomes the error.
    pub async fn run_kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        kubectl::run(self.kubectl(), arguments, "").await
    }

    /// `kubectl apply` of YAML or JSON text, which may hold several documents. Returns the output of kubectl.
    pub async fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        kubectl::run(self.kubectl(), &["apply", "-f", "-"], manifest).await
    }

    /// `kubectl apply` of a file or a directory. If the directory has a kustomization, it is applied.
    pub async fn apply_path(&self, path: &Path) -> anyhow::Result<String> {
        let option = if path.join("kustomization.yaml").is_file() { "-k" } else { "-f" };
        let path = path.to_str().context("kubectl needs a path in UTF-8")?;
        self.run_kubectl(&["apply", option, path]).await
    }

    /// Installs the definitions in a file or a directory, and returns when their kinds are served.
    pub async fn install_kinds(&self, path: &Path) -> anyhow::Result<()> {
        let path = path.to_str().context("kubectl needs a path in UTF-8")?;
        let applied = self.run_kubectl(&["apply", "--server-side", "-o", "name", "-f", path]).await?;
        let definitions = Api::<CustomResourceDefinition>::all(self.client().await?);
        // Wait for the first condition, as `kubectl wait` fails on a definition without one.
        for name in applied.lines().filter_map(|line| Some(line.rsplit_once('/')?.1)) {
            let established = await_condition(definitions.clone(), name, is_crd_established());
            timeout(START_LIMIT, established).await.with_context(|| format!("{name} is not served"))??;
        }
        Ok(())
    }

    /// The audit log: JSON lines at level `Metadata`, one per stage of each request.
    #[must_use]
    pub fn audit_log(&self) -> &Path {
        &self.audit_log
    }

    /// The number of answered requests of each kind by `user`, which is `system:serviceaccount:NAMESPACE:NAME` or
    /// `admin`. A watch counts when it ends. The API server may write an entry shortly after the answer has arrived.
    pub fn requests_by_verb(&self, user: &str) -> anyhow::Result<BTreeMap<Request, u64>> {
        RequestCounter::from_start(&self.audit_log, user).count().cloned()
    }

    /// Counts the requests of `user` from now on.
    pub fn count_requests(&self, user: &str) -> anyhow::Result<RequestCounter> {
        RequestCounter::from_now(&self.audit_log, user)
    }

    /// The current process IDs. A restarted server has a new one.
    #[must_use]
    pub fn pids(&self) -> Pids {
        Pids { api_server: self.api_server().pid(), etcd: self.etcd().pid() }
    }

    /// Kills the API server like a crash. What it has acknowledged is in etcd.
    pub fn stop_api_server(&self) {
        self.api_server().kill();
    }

    /// Starts the API server again on the same port and returns when it is ready. Kills it first if it runs.
    pub async fn start_api_server(&self) -> anyhow::Result<()> {
        self.stop_api_server();
        let client = self.client().await?;
        let place = (self.programs.as_path(), self.directory.as_path(), self.audit_log.as_path());
        let process = start_api_server(place, self.nodes, self.port, self.etcd_port, client).await?;
        *self.api_server.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(process);
        Ok(())
    }

    /// Begins the `outage`, calls `begun`, and ends the outage after `pause`. Returns when the API server is ready
    /// again.
    pub async fn suffer(&self, outage: Outage, pause: Duration, begun: impl FnOnce()) -> anyhow::Result<()> {
        match outage {
            Outage::ApiServerKilled => self.stop_api_server(),
            Outage::EtcdKilled => self.etcd().kill(),
            Outage::EtcdFrozen => self.etcd().pause()?,
        }
        begun();
        sleep(pause).await;
        match outage {
            Outage::ApiServerKilled => return self.start_api_server().await,
            Outage::EtcdKilled => {
                let (etcd, _) = start_etcd(&self.programs, &self.directory, self.etcd_port).await?;
                *self.etcd.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(etcd);
            }
            Outage::EtcdFrozen => self.etcd().resume()?,
        }
        serves(&self.api_server(), &self.client().await?).await
    }

    /// Stops both servers in order. Dropping kills them instead.
    pub async fn stop(self) {
        // Kill it: its graceful end waits for watches to finish, and it has nothing to save.
        self.stop_api_server();
        self.etcd().stop(STOP_PATIENCE).await;
    }

    fn api_server(&self) -> Arc<Process> {
        self.api_server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn etcd(&self) -> Arc<Process> {
        self.etcd.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    #[tokio::test]
    async fn nothing_listens_for_nodes_outside_of_their_namespaces() {
        let directory = scratch::directory().unwrap();
        let refused = ControlPlane::start_for_nodes(directory.path(), Ipv4Addr::LOCALHOST).await.unwrap_err();
        assert!(format!("{refused:#}").contains("call node::enter first"), "{refused:#}");
    }
}
