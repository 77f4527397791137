//! Everything together on loopback: control plane, engine, gateway and the operator as its own service account.

mod environment;
mod pods;
mod up;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use serde_json::json;

pub use self::{
    pods::{NodeArgs, Pods, prepare},
    up::{UpArgs, up},
};
use crate::{
    chart::Release,
    control_plane::ControlPlane,
    gateway::{AccessKey, Backend, Gateway, GatewayOptions},
    helm::Helm,
    node::{self, Nodes},
    oceanbase::Engine,
    operator::{Operator, build_operator},
};

/// The namespace of `deploy/base`.
pub const NAMESPACE: &str = "sessionkill-system";
/// The service account in it, as which the operator runs.
pub const SERVICE_ACCOUNT: &str = "sessionkill-operator";
/// Selects the limits of objects in `deploy/base`, and what it has beside them.
const LIMITS: &str = "app.kubernetes.io/component=limits";
const WITHOUT_LIMITS: &str = "app.kubernetes.io/component!=limits";

/// Which parts to start, and where.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Data and logs of all parts, each in a directory of its own.
    pub directory: PathBuf,
    /// Where the gateway finds sessions.
    pub sessions: Sessions,
    /// Whether an operator runs.
    pub operator: OperatorChoice,
}

/// Where sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// In a real engine, which is started.
    OceanBase,
    /// In the gateway's memory.
    Memory,
}

/// Whether an operator runs, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorChoice {
    /// None: somebody starts one by hand.
    None,
    /// The one in this source tree, built as cargo's `dev` profile says.
    Build,
    /// This binary.
    Binary(PathBuf),
}

/// What is installed for the operator before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// The definitions and `deploy/base`, without its limits of objects.
    Base,
    /// The Helm chart; to work in these namespaces only, or if there is none, in all.
    Chart {
        /// They are made if they are not there.
        watch_namespaces: Vec<String>,
    },
    /// The Helm chart on nodes of its own, on which it runs as Pods. Only inside of [`crate::node::enter`].
    Pods(Pods),
}

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
    /// Starts the parts and returns when all of them serve, except for the operator, which is only started.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        Self::start_installed(options, Install::Base).await
    }

    /// The same with the operator installed in another way.
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
            Install::Pods(pods) => stack.nodes = Some(stack.install_pods(&pods).await?),
        }
        if let Some(binary) = binary {
            stack.operator = Some(stack.start_operator(&binary, "operator", &[]).await?);
        }
        Ok(stack)
    }

    /// Starts an operator, or one more, with its logs in the stack's directory `name`: as the service account of
    /// `deploy/base`, allowed to call the gateway, and with these further arguments.
    pub async fn start_operator(&self, binary: &Path, name: &str, arguments: &[&str]) -> anyhow::Result<Operator> {
        if let Some(release) = &self.release {
            ensure!(arguments.is_empty(), "what the chart installs has the arguments of its Deployment");
            return release.start_operator(&self.control_plane, binary, &self.directory.join(name)).await;
        }
        let kubeconfig = self.control_plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT).await?;
        let gateway = self.gateway.url();
        let mut all = vec!["run", "--allow-endpoint", &gateway];
        all.extend(arguments);
        Operator::start(binary, &kubeconfig, &self.directory.join(name), &all)
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
            "operator": {"allowEndpoints": [self.gateway.url()]},
        });
        Release::install(&helm, &self.control_plane, &values).await
    }

    /// Where the operator reaches the gateway.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        match self.nodes {
            Some(_) => format!("http://{}:{}", node::HOST, self.gateway.address().port()),
            None => self.gateway.url(),
        }
    }

    /// The user name that the operator's requests carry, as in the audit log.
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

    /// The server that sessions are on: the engine, or the first one that the gateway's memory names.
    pub async fn server_ip(&self) -> anyhow::Result<String> {
        if let Some(engine) = &self.engine {
            return Ok(engine.server_ip().into());
        }
        let first = self.gateway.sessions().await?.into_iter().next();
        Ok(first.context("the gateway has no sessions: give it some first")?.server_ip)
    }

    /// Writes what a shell needs to use the stack to the file `env` in its directory, which it returns.
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
        }
        let path = self.directory.join("env");
        environment::write(&path, &variables)?;
        Ok(path)
    }

    /// Ends the parts in the order of their dependence, letting each one finish.
    pub async fn stop(self) {
        if let Some(operator) = &self.operator {
            operator.stop().await;
        }
        self.gateway.stop().await;
        drop((self.engine, self.nodes));
        self.control_plane.stop().await;
    }
}

/// A control plane in `directory/control-plane` with the custom resources and `deploy/base` installed, but for its limits of
/// objects: what the operator withstands must get past them.
pub async fn start_control_plane(directory: &Path) -> anyhow::Result<ControlPlane> {
    let control_plane = ControlPlane::start(&directory.join("control-plane")).await?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crds = repository.join("crds");
    if crds.is_dir() {
        control_plane.install_kinds(&crds).await?;
    }
    make_namespace(&control_plane, NAMESPACE).await?;
    apply_base(&control_plane, WITHOUT_LIMITS).await?;
    Ok(control_plane)
}

/// A namespace may be there from the time before.
async fn make_namespace(control_plane: &ControlPlane, name: &str) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    control_plane.apply(&namespace.to_string()).await.map(drop)
}

/// Installs the limits of objects, too, which are part of every installation unless somebody leaves them out.
pub async fn install_limits(control_plane: &ControlPlane) -> anyhow::Result<()> {
    apply_base(control_plane, LIMITS).await
}

async fn apply_base(control_plane: &ControlPlane, selector: &str) -> anyhow::Result<()> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base");
    if base.is_dir() {
        let base = base.to_str().context("kubectl needs a path in UTF-8")?;
        control_plane.run_kubectl(&["apply", "-k", base, "-l", selector]).await?;
    }
    Ok(())
}

async fn start_engine(directory: &Path, sessions: Sessions) -> anyhow::Result<Option<Engine>> {
    Ok(match sessions {
        Sessions::OceanBase => Some(Engine::start(&directory.join("oceanbase")).await?),
        Sessions::Memory => None,
    })
}

async fn find_operator(choice: OperatorChoice) -> anyhow::Result<Option<PathBuf>> {
    Ok(match choice {
        OperatorChoice::None => None,
        OperatorChoice::Build => Some(tokio::task::spawn_blocking(|| build_operator("dev")).await??),
        OperatorChoice::Binary(binary) => Some(binary),
    })
}
