//! `testbed demo`: the main job on real parts, explained on screen: first by the API, then by SQL.

mod by_sql;
mod client;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use self::client::Client;
use crate::{
    base::NAMESPACE,
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
    let options =
        StackOptions { directory: directory.path().into(), sessions: Sessions::SecureOceanBase, operator, sts: None };
    let install = pods.map_or_else(|| args.install.install(), Install::Pods);
    let stack = Stack::start_installed(options, install).await?;
    let shown = Demo { stack: &stack, directory: directory.path() }.run().await;
    if shown.is_ok() && args.keep {
        keep(&stack).await?;
    }
    stack.stop().await;
    shown
}

struct Demo<'a> {
    stack: &'a Stack,
    directory: &'a Path,
}

impl Demo<'_> {
    async fn run(&self) -> anyhow::Result<()> {
        if self.stack.nodes.is_some() {
            say("The operator runs as Pods, which its Helm chart has installed");
            self.kubectl(&["get", "nodes", "-o", "wide"]).await?;
            self.kubectl(&["get", "pods", "-n", NAMESPACE, "-o", "wide"]).await?;
        }
        self.by_api().await?;
        self.by_sql().await?;
        self.show_all().await
    }

    async fn by_api(&self) -> anyhow::Result<()> {
        let (session_id, client) = self.open_session("client.log").await?;
        self.apply_connection().await?;

        say("A DBA asks for the end of that session, provided that it still runs a query of that user");
        let request = self.request("inc-4711", ("prod-ob", self.stack.instance(), self.stack.tenant()), session_id)?;
        self.apply_request(&request).await?;
        client.assert_lost().await?;
        self.show_status("inc-4711", "SessionsKilled").await?;

        say("A GitOps tool deletes the request and applies it again");
        self.kubectl(&["delete", "sessionkill", "inc-4711"]).await?;
        self.apply_request(&request).await?;
        self.show_status("inc-4711", "AlreadyExecuted").await?;

        let kills: u32 = self.stack.gateway.kills_per_session().values().sum();
        say(&format!("Kills executed by the gateway, in all: {kills}"));
        ensure!(kills == 1, "expected one kill, the gateway executed {kills}");
        Ok(())
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

    async fn apply_connection(&self) -> anyhow::Result<()> {
        say("A Secret holds the access key; an OceanBaseConnection says where to call with it");
        let key = self.stack.access_key();
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "aliyun-ak", "labels": {"sessionkill.dev/credentials": "true"}},
                "stringData": {"accessKeyID": key.id, "accessKeySecret": key.secret.expose_secret()},
            },
            {
                "apiVersion": "sessionkill.dev/v1alpha1",
                "kind": "OceanBaseConnection",
                "metadata": {"name": "prod-ob"},
                "spec": {
                    "alibabaCloud": {
                        "regionID": "cn-hangzhou",
                        "endpoint": self.stack.gateway_url(),
                        "credentials": {"secretRef": {"name": "aliyun-ak"}},
                    },
                },
            },
        ]});
        self.apply("connection.yaml", &objects).await?;
        // The operator probes the gateway: does it accept the access key? A probe ends no session.
        self.kubectl(&["wait", "oceanbaseconnection/prod-ob", "--for=condition=Ready", "--timeout=60s"]).await?;
        self.kubectl(&["get", "oceanbaseconnection", "prod-ob"]).await
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
        println!("$ kubectl {}", arguments.join(" "));
        print(&self.stack.control_plane.run_kubectl(arguments).await?);
        Ok(())
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
