//! The operators of a scene: how they are started and what they have written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use testbed::operator::Operator;

use super::Scene;
use super::relay::Relay;
use super::stage::named;

/// The options for the start of an operator.
#[derive(Default, Clone)]
pub struct Launch<'a> {
    /// Namespaces to work in, besides the scene's own.
    pub namespaces: Vec<&'a str>,
    /// Allowed endpoints, besides the gateway.
    pub allow: Vec<&'a str>,
    /// The relay on the way to the API server. `None` connects directly.
    pub api: Option<&'a Relay>,
    /// The kubeconfig of another service account.
    pub kubeconfig: Option<PathBuf>,
    /// The log filter.
    pub log: Option<&'a str>,
    /// How many seconds after its claim a call may be sent. `None` means 6 s.
    pub dispatch_window_seconds: Option<u16>,
    /// The most calls in flight at once. `None` means the operator's default.
    pub max_concurrent_calls: Option<u16>,
    /// More environment variables, as `NAME=value`.
    pub variables: Vec<String>,
    /// A program with arguments that runs the operator by `exec`.
    pub through: Vec<&'a str>,
}

impl Scene {
    /// Starts an operator that connects directly to the API server and the gateway.
    pub async fn operator(&self) -> Arc<Operator> {
        self.launch(Launch::default()).await
    }

    /// Starts an operator that may also call the gateway through this relay.
    pub async fn operator_through(&self, gateway: &Relay) -> Arc<Operator> {
        self.launch(Launch { allow: vec![gateway.url()], ..Launch::default() }).await
    }

    /// Starts an operator for this namespace and waits until it is ready.
    pub async fn launch(&self, launch: Launch<'_>) -> Arc<Operator> {
        let number = self.operators.lock().unwrap().len() + 1;
        let directory = self.directory.join(format!("operator-{number}"));
        fs::create_dir_all(&directory).unwrap();
        let kubeconfig = launch.kubeconfig.unwrap_or_else(|| self.cluster.operator_kubeconfig.clone());
        let kubeconfig = match launch.api {
            Some(relay) => rerouted(&kubeconfig, relay, &directory),
            None => kubeconfig,
        };
        let gateway = self.gateway_url();
        let window = launch.dispatch_window_seconds.unwrap_or(6).to_string();
        // Start it with `env`, as its log filter is an environment variable.
        let log = format!("RUST_LOG={}", launch.log.unwrap_or("info"));
        let mut arguments = vec![log.as_str()];
        arguments.extend(launch.variables.iter().map(String::as_str));
        arguments.extend(launch.through);
        arguments.extend([env!("CARGO_BIN_EXE_sessionkill-operator"), "run"]);
        let namespaces = [&[self.namespace.as_str()][..], &launch.namespaces].concat().join(",");
        arguments.extend(["--namespace", &namespaces, "--allow-endpoint", &gateway]);
        arguments.extend(["--dispatch-window-seconds", &window, "--sweep-interval-seconds", "1"]);
        arguments.extend(["--receipt-retention-seconds", "60", "--missed-kill-seconds", "30"]);
        let most = launch.max_concurrent_calls.map(|most| most.to_string());
        arguments.extend(most.iter().flat_map(|most| ["--max-concurrent-calls", most]));
        arguments.extend(launch.allow.iter().flat_map(|endpoint| ["--allow-endpoint", endpoint]));
        let operator = Operator::start(Path::new("env"), &kubeconfig, &directory, &arguments).unwrap();
        let operator = Arc::new(operator);
        self.operators.lock().unwrap().push(operator.clone());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let ready = format!("{}/readyz", operator.health_url());
        let check = async || Ok(http.get(&ready).send().await?.error_for_status().map(drop)?);
        let limit = Duration::from_mins(2);
        operator.process().ready(limit, check).await.unwrap();
        operator
    }

    /// The operator that was started first.
    pub fn first_operator(&self) -> Arc<Operator> {
        self.operators.lock().unwrap()[0].clone()
    }

    /// Makes the standard output of the first operator a pipe with a buffer of one page. The test decides whether to
    /// read it.
    pub fn audit_pipe(&self) -> fs::File {
        let path = self.audit_of_the_first();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Open both ends: opening one alone would wait for the other.
        let pipe = fs::File::options().read(true).write(true).open(path).unwrap();
        rustix::pipe::fcntl_setpipe_size(&pipe, 4096).unwrap();
        pipe
    }

    /// Stores the text that was read from that pipe as an audit file, so that the end of the scene checks it too.
    pub fn audit_was(&self, text: &str) {
        let path = self.audit_of_the_first();
        fs::remove_file(&path).unwrap();
        fs::write(path, text).unwrap();
    }

    fn audit_of_the_first(&self) -> PathBuf {
        self.directory.join("operator-1/audit.jsonl")
    }

    /// Starts a relay in front of the API server, for an operator to connect through.
    pub async fn api_relay(&self) -> Relay {
        let control_plane = &self.cluster.control_plane;
        let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
        let cluster = kubeconfig.clusters[0].cluster.as_ref().unwrap();
        let authority = base64_decoded(cluster.certificate_authority_data.as_ref().unwrap());
        Relay::start(&control_plane.url(), Some(&authority)).await
    }

    /// The operator's kubeconfig with the address of `relay`, for a command that the test runs.
    pub fn kubeconfig_through(&self, relay: &Relay) -> PathBuf {
        let directory = self.directory.join("command");
        fs::create_dir_all(&directory).unwrap();
        rerouted(&self.cluster.operator_kubeconfig, relay, &directory)
    }

    /// Creates the scene's own service account for operators, and returns its kubeconfig. With it, a test can count an
    /// operator's requests and change its rights.
    pub async fn own_account(&self, rights: &Value) -> PathBuf {
        let account = ServiceAccount { metadata: named(Self::OWN_ACCOUNT), ..ServiceAccount::default() };
        self.api::<ServiceAccount>().create(&PostParams::default(), &account).await.unwrap();
        self.grant(rights).await;
        let control_plane = &self.cluster.control_plane;
        control_plane.service_account_kubeconfig(&self.namespace, Self::OWN_ACCOUNT).await.unwrap()
    }

    /// The rights of `deploy/base`, for this namespace only.
    pub fn full_rights() -> Value {
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sessionkill-operator"})
    }

    /// Gives the scene's own account the full rights, except to `verb` `resource`.
    pub async fn grant_all_but(&self, verb: &str, resource: &str) {
        let all: Api<ClusterRole> = Api::all(self.client.clone());
        let mut rules = all.get("sessionkill-operator").await.unwrap().rules.unwrap();
        let of_it = |rule: &&mut PolicyRule| rule.resources.iter().flatten().any(|name| name == resource);
        for rule in rules.iter_mut().filter(of_it) {
            rule.verbs.retain(|granted| granted != verb);
        }
        rules.retain(|rule| !rule.verbs.is_empty());
        let name = format!("all-but-{verb}-{resource}");
        let role = Role { metadata: named(&name), rules: Some(rules) };
        self.api::<Role>().create(&PostParams::default(), &role).await.unwrap();
        self.grant(&json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name})).await;
    }

    /// Gives the scene's own account the rights of this role and no others.
    pub async fn grant(&self, role: &Value) {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": Self::OWN_ACCOUNT}, "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": Self::OWN_ACCOUNT, "namespace": self.namespace}],
        });
        // Create the binding anew, as its role cannot be changed.
        let bindings: Api<RoleBinding> = self.api();
        let _ = bindings.delete(Self::OWN_ACCOUNT, &DeleteParams::default()).await;
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }

    /// The metrics of `operator`, as text.
    pub async fn metrics(operator: &Operator) -> String {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.get(format!("{}/metrics", operator.health_url())).send().await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    }

    /// The logs and audit lines of all operators so far, as one text.
    pub fn logs(&self) -> String {
        let operators = self.operators.lock().unwrap();
        let logs = operators.iter().map(|it| it.logs().unwrap() + &fs::read_to_string(it.process().stdout()).unwrap());
        logs.collect()
    }

    /// The audit lines of all operators so far.
    pub fn audit_lines(&self) -> Vec<Value> {
        self.operators.lock().unwrap().iter().flat_map(|operator| operator.audit_lines().unwrap()).collect()
    }
}

/// Whether `sessionkill-operator check` succeeded with these arguments, and what it printed.
pub async fn check(kubeconfig: &Path, arguments: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sessionkill-operator"))
        .arg("check")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.success(), said.concat())
}

/// The kubeconfig of the same user with the address of `relay`.
fn rerouted(kubeconfig: &Path, relay: &Relay, directory: &Path) -> PathBuf {
    let mut config: Value = serde_json::from_slice(&fs::read(kubeconfig).unwrap()).unwrap();
    config["clusters"][0]["cluster"]["server"] = relay.url().into();
    let path = directory.join("kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    path
}

fn base64_decoded(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
