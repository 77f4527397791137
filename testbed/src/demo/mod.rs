//! `testbed demo`: the main job on real parts, explained on screen: first by the API, then by SQL.

mod by_api;
mod by_sql;
mod client;
mod identity;
mod without_key;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::{client::Client, identity::Identity};
use crate::{
    base::NAMESPACE,
    gateway::sts::roles::HOUR,
    node::Entered,
    oceanbase::Engine,
    scratch,
    stack::{Install, NodeArgs, OperatorChoice, Sessions, Stack, StackOptions},
};

/// Options of `testbed demo`.
#[derive(Args, Debug)]
#[command(
    about = "Show the main job: SessionKills end real sessions of a real OceanBase engine, by the API and by SQL, once"
)]
pub struct DemoArgs {
    /// Keep everything running at the end until interrupted, and say how to use it.
    #[arg(long)]
    keep: bool,
    /// How the operator is installed. It runs with the rights of this installation, and no others.
    #[arg(long, value_enum, default_value = "base", conflicts_with = "nodes")]
    install: InstallKind,
    /// Whose access key signs the calls of the API.
    #[arg(long, value_enum, default_value = "key")]
    identity: Identity,
    /// The binary of the operator. Unset means the one of this source tree, which is built.
    #[arg(long, value_name = "BINARY", conflicts_with = "image")]
    operator: Option<PathBuf>,
    #[command(flatten)]
    nodes: NodeArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InstallKind {
    /// The definitions and deploy/base.
    Base,
    /// The Helm chart with its default values.
    Chart,
    /// The Helm chart for two namespaces only: no `ClusterRole`.
    ChartNamespaced,
}

impl InstallKind {
    fn install(self) -> Install {
        match self {
            Self::Base => Install::Base,
            Self::Chart => Install::Chart { watch_namespaces: vec![] },
            Self::ChartNamespaced => Install::Chart { watch_namespaces: vec!["default".into(), "team-b".into()] },
        }
    }
}

impl DemoArgs {
    /// See [`NodeArgs::enter`].
    pub async fn enter(&self) -> anyhow::Result<Entered> {
        Client::environment().await?;
        self.nodes.enter(Sessions::SecureOceanBase).await
    }
}

/// Runs the demonstration. Ends with an error if anything is not as promised.
pub async fn demo(args: DemoArgs) -> anyhow::Result<()> {
    let directory = scratch::directory()?;
    say(
        "Starting a Kubernetes control plane, an OceanBase engine, the gateway and the operator (the first run builds them)",
    );
    let pods = args.nodes.pods(args.operator.clone())?;
    let operator = match &pods {
        Some(_) => OperatorChoice::None,
        None => args.operator.map_or(OperatorChoice::Build, OperatorChoice::Binary),
    };
    let options = StackOptions {
        directory: directory.path().into(),
        sessions: Sessions::SecureOceanBase,
        operator,
        sts: args.identity.is_issued().then_some(HOUR),
    };
    let install = pods.map_or_else(|| args.install.install(), Install::Pods);
    let stack = Stack::start_installed(options, install).await?;
    let shown = Demo { stack: &stack, directory: directory.path(), identity: args.identity }.run().await;
    if shown.is_ok() && args.keep {
        keep(&stack).await?;
    }
    stack.stop().await;
    shown
}

struct Demo<'a> {
    stack: &'a Stack,
    directory: &'a Path,
    identity: Identity,
}

impl Demo<'_> {
    async fn run(&self) -> anyhow::Result<()> {
        if self.stack.nodes.is_some() {
            say("The operator runs as Pods, which its Helm chart has installed");
            self.kubectl(&["get", "nodes", "-o", "wide"]).await?;
            self.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", "wide"]).await?;
        }
        self.by_api().await?;
        match self.identity {
            Identity::Key => self.by_sql().await?,
            // Not by SQL: that login is in a Secret.
            Identity::Rrsa => self.without_key().await?,
        }
        self.show_all().await
    }

    fn engine(&self) -> anyhow::Result<&Engine> {
        self.stack.engine.as_ref().context("the demonstration needs an engine")
    }

    /// A client whose query would run for minutes, with its output in the file `log`.
    async fn open_session(&self, log: &str) -> anyhow::Result<(i64, Client)> {
        let engine = self.engine()?;
        let client = Client::start(&self.directory.join(log), engine.port()).await?;
        let session_id = client.line(0).await?.parse().context("the client did not say its session's ID")?;
        say(&format!("A client runs a long query in session {session_id} on server {}", engine.server_ip()));
        self.wait_until_listed(session_id).await?;
        Ok((session_id, client))
    }

    /// Shows the session as the engine lists it, once its query runs.
    async fn wait_until_listed(&self, session_id: i64) -> anyhow::Result<()> {
        for _ in 0..100 {
            let sessions = self.stack.gateway.sessions().await?;
            let running = sessions.iter().find(|s| s.session_id == session_id && s.sql_text.contains("sleep"));
            if let Some(session) = running {
                println!("    {}  {}  {}  {}", session.session_id, session.user, session.command, session.sql_text);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the engine does not list session {session_id} with its query")
    }

    /// A request of this name for a session, through this connection to this instance and tenant.
    fn request(
        &self,
        name: &str,
        (connection, instance, tenant): (&str, &str, &str),
        session_id: i64,
    ) -> anyhow::Result<Value> {
        let engine = self.engine()?;
        let not_after = Timestamp::now() + SignedDuration::from_mins(30);
        Ok(json!({
            "apiVersion": "sessionkill.dev/v1alpha1",
            "kind": "SessionKill",
            "metadata": {"name": name},
            "spec": {
                "connectionRef": {"name": connection},
                "instanceID": instance,
                "tenantID": tenant,
                "sessions": [{
                    "serverIP": engine.server_ip(),
                    "sessionID": session_id,
                    "expect": {"user": "root", "command": "Query"},
                }],
                "notAfterTime": not_after.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "reason": format!("{} runaway report", name.to_uppercase()),
            },
        }))
    }

    async fn apply_request(&self, request: &Value) -> anyhow::Result<()> {
        self.apply("session-kill.yaml", request).await?;
        let ended = "--for=jsonpath={.status.completionTime}";
        let name = request["metadata"]["name"].as_str().context("a request without a name")?;
        self.kubectl(&["wait", &format!("sessionkill/{name}"), ended, "--timeout=60s"]).await
    }

    /// Shows the outcome as tables, and checks it.
    async fn show_status(&self, name: &str, expected: &str) -> anyhow::Result<()> {
        self.kubectl(&["get", "sessionkill", name]).await?;
        let columns = "-o=custom-columns=SERVER:.status.sessions[*].serverIP,SESSION:.status.sessions[*].sessionID,\
                       OUTCOME:.status.sessions[*].outcome,REASON:.status.sessions[*].reason,\
                       STATUS:.status.sessions[*].status,USER:.status.sessions[*].observed.user,SQL:.status.sessions[*].observed.sqlText";
        print(&self.stack.control_plane.run_kubectl(&["get", "sessionkill", name, columns]).await?);
        let reason = r#"-o=jsonpath={.status.conditions[?(@.type=="Succeeded")].reason}"#;
        let shown = self.stack.control_plane.run_kubectl(&["get", "sessionkill", name, reason]).await?;
        ensure!(shown == expected, "the request ended as {shown}, not as {expected}");
        Ok(())
    }

    /// Shows all objects with all columns.
    async fn show_all(&self) -> anyhow::Result<()> {
        say("What there is to see");
        self.kubectl(&["get", "sessionkills", "-o", "wide"]).await?;
        self.kubectl(&["get", "oceanbaseconnections", "-o", "wide"]).await?;
        self.kubectl(&["get", "sessionkillreceipts"]).await?;
        self.kubectl(&["describe", "sessionkill", "inc-4711"]).await
    }

    async fn apply(&self, file: &str, object: &Value) -> anyhow::Result<()> {
        println!("$ kubectl apply -f {file}");
        print(&self.stack.control_plane.apply(&object.to_string()).await?);
        Ok(())
    }

    async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        self.told(arguments).await.map(drop)
    }

    /// Runs kubectl, and shows and returns what it said.
    async fn told(&self, arguments: &[&str]) -> anyhow::Result<String> {
        println!("$ kubectl {}", arguments.join(" "));
        let output = self.stack.control_plane.run_kubectl(arguments).await?;
        print(&output);
        Ok(output)
    }
}

/// Keeps everything running until it is interrupted.
async fn keep(stack: &Stack) -> anyhow::Result<()> {
    let environment: PathBuf = stack.write_environment().await?;
    say("Everything keeps running. In another terminal:");
    println!("    . {}", environment.display());
    println!("    $KUBECTL get sessionkills,oceanbaseconnections,sessionkillreceipts");
    if let Some(engine) = &stack.engine {
        println!("    mysql -h127.0.0.1 -uroot -P{}   # any MySQL client, to open sessions", engine.port());
    }
    println!("Interrupt to end it.");
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn say(what: &str) {
    println!("\n== {what}");
}

fn print(output: &str) {
    for line in output.lines() {
        println!("    {line}");
    }
}
