//! Where a command works: the API server and the namespace, from the user's kubeconfig.

use std::fmt::Debug;
use std::path::PathBuf;

use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use sessionkill_api::{ClusterOceanBaseConnection, OceanBaseConnection, SessionKill, SessionKillReceipt};

use crate::errors::{Attempt, Result, causes, failure};

/// Which cluster and namespace, as kubectl names them.
#[derive(clap::Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Flags {
    /// The kubeconfig file. Unset means $KUBECONFIG, then ~/.kube/config, then the Pod's own access
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,
    /// The namespace. Unset means that of the context
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub namespace: Option<String>,
}

/// The API server, and the namespace that a command works in.
#[derive(Clone)]
pub struct Place {
    /// The client of the API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

impl Place {
    /// Reads the kubeconfig. Nothing is sent yet.
    pub async fn open(flags: &Flags) -> Result<Self> {
        let mut config = config(flags).await?;
        if let Some(namespace) = &flags.namespace {
            config.default_namespace.clone_from(namespace);
        }
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config)
            .map_err(|error| failure(format!("the kubeconfig cannot be used: {}", causes(&error))))?;
        Ok(Self { client, namespace })
    }

    /// The requests of the namespace.
    pub fn requests(&self) -> Api<SessionKill> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The request of this name.
    pub async fn request(&self, name: &str) -> Result<SessionKill> {
        self.requests().get(name).await.map_err(|error| self.attempt("get", "sessionkills", name).failed(&error))
    }

    /// All requests of the namespace.
    pub async fn all_requests(&self) -> Result<Vec<SessionKill>> {
        self.list(&self.requests(), "sessionkills").await
    }

    /// All receipts of the namespace.
    pub async fn receipts(&self) -> Result<Vec<SessionKillReceipt>> {
        self.list(&Api::namespaced(self.client.clone(), &self.namespace), "sessionkillreceipts").await
    }

    /// The connections of the namespace.
    pub async fn connections(&self) -> Result<Vec<OceanBaseConnection>> {
        self.list(&Api::namespaced(self.client.clone(), &self.namespace), "oceanbaseconnections").await
    }

    /// The connections of no namespace.
    pub async fn cluster_connections(&self) -> Result<Vec<ClusterOceanBaseConnection>> {
        let all = Api::<ClusterOceanBaseConnection>::all(self.client.clone()).list(&ListParams::default()).await;
        let attempt = Attempt { verb: "list", resource: "clusteroceanbaseconnections", name: "", namespace: None };
        Ok(all.map_err(|error| attempt.failed(&error))?.items)
    }

    /// What is tried in the namespace, for the words of a failure.
    pub fn attempt<'a>(&'a self, verb: &'a str, resource: &'a str, name: &'a str) -> Attempt<'a> {
        Attempt { verb, resource, name, namespace: Some(&self.namespace) }
    }

    async fn list<K>(&self, api: &Api<K>, resource: &str) -> Result<Vec<K>>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let all = api.list(&ListParams::default()).await;
        Ok(all.map_err(|error| self.attempt("list", resource, "").failed(&error))?.items)
    }
}

async fn config(flags: &Flags) -> Result<Config> {
    let options = KubeConfigOptions { context: flags.context.clone(), ..KubeConfigOptions::default() };
    let unusable = |error: &(dyn std::error::Error + 'static)| {
        failure(format!(
            "no usable kubeconfig: {}\nname a file with --kubeconfig, or a context with --context",
            causes(error)
        ))
    };
    match (&flags.kubeconfig, &flags.context) {
        (Some(file), _) => {
            let read = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| unusable(&error))
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error)),
        (None, None) => Config::infer().await.map_err(|error| unusable(&error)),
    }
}
