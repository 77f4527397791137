//! All parts together on loopback: control plane, engine, gateway, and the operator with its service account.

mod environment;
mod options;
mod pods;
mod sql;
mod sts;
pub mod up;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use serde_json::json;

pub use self::{
    options::{Install, OperatorChoice, Pods, Sessions, StackOptions},
    pods::{NodeArgs, prepare},
    sql::{CLUSTER as SQL_CLUSTER, TENANT as SQL_TENANT},
    sts::StsEndpoints,
};
pub use crate::base::{NAMESPACE, SERVICE_ACCOUNT, start_control_plane};
use crate::{
    base::make_namespace,
    chart::Release,
    control_plane::ControlPlane,
    gateway::{AccessKey, Backend, Gateway, GatewayOptions},
    helm::Helm,
    node::{self, Nodes},
    oceanbase::{self, Engine},
    operator::{Operator, build_operator},
};

/// The running parts. Dropping it ends them all, the operator first.
pub struct Stack {
    /// The operator, unless none was wanted.
    pub operator: Option<Operator>,
    /// The gateway that the operator calls.
    pub gateway: Gateway,
    /// The engine, unless sessions are in memory.
    pub engine: Option<Engine>,
    /// The nodes, if the operator runs as Pods.
    pub nodes: Option<Nodes>,
    /// The control plane, with the custom resources and the operator's account installed.
    pub control_plane: ControlPlane,
    release: Option<Release>,
    directory: PathBuf,
    access_key: AccessKey,
    instance: String,
    tenant: String,
}

impl Stack {
    /// Starts the parts and returns when all of them serve. The operator is only started.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        Self::start_installed(options, Install::Base).await
    }

    /// The same, with another installation of the operator.
    pub async fn start_installed(options: StackOptions, install: Install) -> anyhow::Result<Self> {
        let directory = options.directory;
        let (control_plane, engine, binary) = tokio::try_join!(
            async {
                match install {
                    Install::Base => start_control_plane(&directory).await,
                    Install::Chart { .. } => ControlPlane::start(&directory.join("control-plane")).await,
                    Install::Pods(_) => {
                        ControlPlane::start_for_nodes(&directory.join("control-plane"), node::HOST).await
                    }
                }
            },
            start_engine(&directory, options.sessions),
            find_operator(options.operator),
        )?;
        let access_key = AccessKey { id: "testbed".into(), secret: "testbed-secret".into(), token: None };
        let mut gateway = GatewayOptions { access_keys: vec![access_key.clone()], ..GatewayOptions::default() };
        if let Some(engine) = &engine {
            gateway.backend = Backend::OceanBase { url: engine.url() };
        }
        gateway.sts = options.sts.map(|lifetime| sts::options(lifetime, &access_key, control_plane.kubeconfig()));
        let (instance, tenant) = (gateway.instance.clone(), gateway.tenant.clone());
        let mut stack = Self {
            operator: None,
            gateway: Gateway::start(gateway).await?,
            engine,
            nodes: None,
            control_plane,
            release: None,
            directory,
            access_key,
            instance,
            tenant,
        };
        match install {
            Install::Base => {}
            Install::Chart { watch_namespaces } => stack.release = Some(stack.install_chart(watch_namespaces).await?),
            Install::Pods(pods) => {
                stack.nodes = Some(stack.install_pods(&pods).await?);
            }
        }
        if let Some(binary) = binary {
            stack.operator = Some(stack.start_operator(&binary, "operator", &[]).await?);
        }
        Ok(stack)
    }

    /// Starts an operator, or one more, with its logs in the stack's directory `name`. It has the service account of
    /// `deploy/base`, may call the gateway, and gets these further arguments.
    pub async fn start_operator(&self, binary: &Path, name: &str, arguments: &[&str]) -> anyhow::Result<Operator> {
        if let Some(release) = &self.release {
            ensure!(arguments.is_empty(), "what the chart installs has the arguments of its Deployment");
            return release.start_operator(&self.control_plane, binary, &self.directory.join(name)).await;
        }
        let kubeconfig = self.control_plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT).await?;
        let own = self.operator_arguments();
        let all: Vec<_> = own.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        Operator::start(binary, &kubeconfig, &self.directory.join(name), &all)
    }

    /// The arguments that every operator of this stack gets: what it may call, and where its keys come from.
    fn operator_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["run".into(), "--allow-endpoint".into(), self.gateway.url()];
        arguments.extend(self.sql_server().into_iter().flat_map(|server| ["--allow-sql-host".into(), server]));
        arguments.extend(self.sts_arguments());
        arguments
    }

    fn sts_arguments(&self) -> Vec<String> {
        self.sts_endpoints().iter().flat_map(StsEndpoints::arguments).collect()
    }

    async fn install_pods(&self, pods: &Pods) -> anyhow::Result<Nodes> {
        if let Some(engine) = &self.engine {
            engine.admit(&node::NETWORKS).await?;
        }
        let ports = pods::Ports {
            gateway: self.gateway.address().port(),
            metadata: self.gateway.metadata_address().map(|address| address.port()),
            sql: self.engine.as_ref().map(Engine::port),
        };
        pods::install(pods, &self.control_plane, &ports, &self.directory).await
    }

    async fn install_chart(&self, watch_namespaces: Vec<String>) -> anyhow::Result<Release> {
        let namespaces = watch_namespaces.iter().filter(|name| *name != "default");
        for name in namespaces {
            make_namespace(&self.control_plane, name).await?;
        }
        let home = self.directory.join("helm");
        let helm = tokio::task::spawn_blocking(move || Helm::in_home(&home)).await??;
        let values = json!({
            "watchNamespaces": watch_namespaces,
            "operator": {
                "allowEndpoints": [self.gateway.url()],
                "allowSQLHosts": self.sql_server().as_slice(),
                "extraArgs": self.sts_arguments(),
            },
        });
        Release::install(&helm, &self.control_plane, &values).await
    }

    /// The gateway's URL for the operator.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        self.url_of(self.gateway.address())
    }

    /// Where the operator finds STS and the metadata service, if the gateway has them.
    #[must_use]
    pub fn sts_endpoints(&self) -> Option<StsEndpoints> {
        let metadata = self.gateway.metadata_address()?;
        Some(StsEndpoints { sts: self.gateway_url(), metadata: self.url_of(metadata) })
    }

    /// The operator's URL of a part that listens at this address.
    fn url_of(&self, address: SocketAddr) -> String {
        match self.nodes {
            Some(_) => format!("http://{}:{}", node::HOST, address.port()),
            None => format!("http://{address}"),
        }
    }

    /// The host and port by which the operator reaches the engine. `None` without an engine.
    #[must_use]
    pub fn sql_server(&self) -> Option<String> {
        self.engine.as_ref().map(|engine| format!("{}:{}", self.sql_host(), engine.port()))
    }

    fn sql_host(&self) -> String {
        self.nodes.as_ref().map_or_else(|| oceanbase::HOST.to_owned(), |_| node::HOST.to_string())
    }

    /// The user name of the operator's requests in the audit log.
    #[must_use]
    pub fn operator_user(&self) -> String {
        format!("system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}")
    }

    /// The access key that the gateway accepts.
    #[must_use]
    pub fn access_key(&self) -> &AccessKey {
        &self.access_key
    }

    /// The instance that the sessions belong to.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The tenant that the sessions belong to.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The server of the sessions: the engine, or the first one that the gateway's memory names.
    pub async fn server_ip(&self) -> anyhow::Result<String> {
        if let Some(engine) = &self.engine {
            return Ok(engine.server_ip().into());
        }
        let first = self.gateway.sessions().await?.into_iter().next();
        Ok(first.context("the gateway has no sessions: give it some first")?.server_ip)
    }

    /// Writes the variables for a shell to the file `env` in the stack's directory. Returns its path.
    pub async fn write_environment(&self) -> anyhow::Result<PathBuf> {
        let control_plane = &self.control_plane;
        let mut variables = vec![
            ("KUBECONFIG", control_plane.kubeconfig().to_string_lossy().into_owned()),
            ("KUBECTL", control_plane.kubectl().get_program().to_string_lossy().into_owned()),
            ("GATEWAY_URL", self.gateway_url()),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", self.access_key.id.clone()),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", self.access_key.secret.expose_secret().into()),
            ("INSTANCE_ID", self.instance.clone()),
            ("TENANT_ID", self.tenant.clone()),
            ("SERVER_IP", self.server_ip().await?),
        ];
        if let Some(engine) = &self.engine {
            variables.push(("DATABASE_URL", engine.url()));
            variables.extend(sql::variables(engine, self.sql_host(), &self.directory)?);
        }
        variables.extend(self.sts_endpoints().into_iter().flat_map(sts::variables));
        let path = self.directory.join("env");
        environment::write(&path, &variables)?;
        Ok(path)
    }

    /// Ends the parts in the order of their dependencies, and lets each one finish.
    pub async fn stop(self) {
        if let Some(operator) = &self.operator {
            operator.stop().await;
        }
        self.gateway.stop().await;
        drop((self.engine, self.nodes));
        self.control_plane.stop().await;
    }
}

async fn start_engine(directory: &Path, sessions: Sessions) -> anyhow::Result<Option<Engine>> {
    let directory = directory.join("oceanbase");
    let engine = match sessions {
        Sessions::OceanBase => Engine::start(&directory).await?,
        Sessions::SecureOceanBase => Engine::start_secure(&directory).await?,
        Sessions::Memory => return Ok(None),
    };
    sql::prepare(&engine).await?;
    Ok(Some(engine))
}

async fn find_operator(choice: OperatorChoice) -> anyhow::Result<Option<PathBuf>> {
    Ok(match choice {
        OperatorChoice::None => None,
        OperatorChoice::Build => Some(tokio::task::spawn_blocking(|| build_operator("dev")).await??),
        OperatorChoice::Binary(binary) => Some(binary),
    })
}
