//! Everything that users install or write: the real API server accepts every manifest strictly and without a warning.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::control_plane::{Cluster, cluster, repository};

#[path = "../control_plane/mod.rs"]
mod control_plane;
mod limits;
mod ownership;

const STRICTLY: [&str; 4] = ["apply", "--server-side", "--validate=strict", "--warnings-as-errors"];

impl Cluster {
    /// Applies `manifest` with `options`, as strictly as possible, and asserts that there is no warning.
    async fn applies(&self, options: &[&str], manifest: &str) -> String {
        let said = self.kubectl_with(&[&STRICTLY, options].concat(), manifest).await;
        assert!(said.success && said.stderr.is_empty(), "{options:?}: {}\n{manifest}", said.stderr);
        said.stdout
    }

    async fn get(&self, what: &str) -> Value {
        let arguments = [&["get", "-o", "json"], what.split(' ').collect::<Vec<_>>().as_slice()].concat();
        let said = self.kubectl(&arguments).await;
        assert!(said.success, "{what}: {}", said.stderr);
        serde_json::from_str(&said.stdout).unwrap()
    }
}

/// The labels of the operator's namespace, as its administrators have set them.
const LABELS: [(&str, &str); 2] = [("team", "platform"), ("pod-security.kubernetes.io/enforce", "restricted")];

/// The control plane with the definitions and `deploy/base` installed, in a namespace that existed before.
async fn installed() -> &'static Cluster {
    static NAMESPACE: OnceCell<()> = OnceCell::const_new();
    let cluster = cluster().await;
    NAMESPACE.get_or_init(async || cluster.namespace("sessionkill-system", &LABELS).await).await;
    cluster.applies(&["-k", repository("deploy/base").to_str().unwrap()], "").await;
    cluster
}

async fn deployment() -> Value {
    installed().await.get("deployment -n sessionkill-system sessionkill-operator").await
}

#[tokio::test]
async fn the_base_is_installed_without_a_warning() {
    let cluster = installed().await;
    let base = repository("deploy/base");
    let again = cluster.applies(&["-k", base.to_str().unwrap()], "").await;
    let cluster_wide = ["clusterrole.", "clusterrolebinding."];
    let limits = ["validatingadmissionpolicy.", "validatingadmissionpolicybinding."];
    let in_it = ["serviceaccount", "role.", "rolebinding.", "deployment", "poddisruptionbudget"];
    for object in cluster_wide.into_iter().chain(limits).chain(in_it) {
        assert!(again.lines().any(|line| line.starts_with(object)), "no {object} in\n{again}");
    }
    assert!(!again.lines().any(|line| line.starts_with("namespace")), "whoever made it keeps it:\n{again}");
    let labels = &cluster.get("namespace sessionkill-system").await["metadata"]["labels"];
    assert_eq!(labels["team"], "platform", "{labels}");
    // A file that the kustomization does not list would not be installed.
    let kustomization = fs::read_to_string(base.join("kustomization.yaml")).unwrap();
    for entry in fs::read_dir(&base).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let named = name == "kustomization.yaml" || kustomization.contains(&format!("- {name}"));
        assert!(named, "deploy/base/kustomization.yaml does not name {name}");
    }
}

#[tokio::test]
async fn the_operators_pod_is_admitted_under_the_restricted_standard() {
    let cluster = cluster().await;
    cluster.namespace("restricted", &[("pod-security.kubernetes.io/enforce", "restricted")]).await;
    let template = deployment().await["spec"]["template"].clone();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "operator", "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    });
    let options = ["--dry-run=server", "-n", "restricted", "-f", "-"];
    cluster.applies(&options, &pod.to_string()).await;

    for weakened in [
        "/spec/securityContext/runAsNonRoot",
        "/spec/securityContext/seccompProfile",
        "/spec/containers/0/securityContext/allowPrivilegeEscalation",
        "/spec/containers/0/securityContext/capabilities",
    ] {
        let mut pod = pod.clone();
        let (parent, name) = weakened.rsplit_once('/').unwrap();
        assert!(pod.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).is_some(), "no {weakened}");
        let said = cluster.kubectl_with(&[&STRICTLY[..], &options].concat(), &pod.to_string()).await;
        let refused = !said.success && said.stderr.contains("violates PodSecurity \"restricted:latest\"");
        assert!(refused, "without {weakened}: {}", said.stderr);
    }
}

#[tokio::test]
async fn the_container_has_a_read_only_root_and_nothing_mounted() {
    let pod = deployment().await["spec"]["template"]["spec"].clone();
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    assert_eq!(pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
    assert!(pod["containers"][0]["resources"]["limits"]["memory"].is_string());
    for absent in ["volumes", "initContainers", "hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(pod[absent], Value::Null, "{absent}");
    }
}

#[tokio::test]
async fn the_image_is_of_this_version_and_its_pod_is_asked_where_the_operator_answers() {
    let deployment = deployment().await;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], concat!("sessionkill-operator:", env!("CARGO_PKG_VERSION")));
    let config = fs::read_to_string(repository("src/config.rs")).unwrap();
    let port = container["ports"][0]["containerPort"].to_string();
    assert!(config.contains(&format!("default_value = \"0.0.0.0:{port}\"")), "the operator does not listen on {port}");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{probe}");
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        let health = fs::read_to_string(repository("src/health_port.rs")).unwrap();
        assert!(health.contains(&format!("\"{path}\"")), "the operator does not serve {path}");
    }
}

/// If a Pod were killed before the operator has finished, outcomes would stay unknown.
#[tokio::test]
async fn the_grace_period_is_longer_than_the_operators_own_shutdown() {
    let run = fs::read_to_string(repository("src/run.rs")).unwrap();
    let limit = "const SHUTDOWN_LIMIT: Duration = Duration::from_secs(";
    let limit = run.split_once(limit).and_then(|(_, rest)| rest.split_once(')')).map(|(seconds, _)| seconds);
    let limit: u64 = limit.unwrap_or_else(|| panic!("src/run.rs has no shutdown limit")).parse().unwrap();
    let pod = &deployment().await["spec"]["template"]["spec"];
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= limit + 5, "{pod}");
}

#[tokio::test]
async fn the_operator_has_the_least_rights() {
    let role = installed().await.get("clusterrole sessionkill-operator").await;
    let mut rules = role["rules"].as_array().unwrap().clone();
    assert!(rules.iter().all(|rule| rule["resources"] != json!(["leases"])), "Leases of the whole cluster");
    let role = installed().await.get("role -n sessionkill-system sessionkill-operator-leases").await;
    rules.extend(role["rules"].as_array().unwrap().clone());
    let excesses: Vec<String> = rules.iter().flat_map(excess).collect();
    assert_eq!(excesses, [""; 0]);

    let too_much = [
        json!({"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]}),
        json!({"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}),
        json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}),
        json!({"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}),
        json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["watch"]}),
        json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}),
        json!({"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}),
        json!({"apiGroups": [""], "resources": ["services", "pods"], "verbs": ["get"]}),
        json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"]}),
        json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["escalate"]}),
        json!({"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}),
        json!({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}),
        json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases", "leasecandidates"], "verbs": ["get"]}),
        json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["update"]}),
    ];
    for rule in &too_much {
        assert!(!excess(rule).is_empty(), "{rule}");
    }
}

/// The operator has a right on exactly the Lease that it uses, and a drain always leaves one of the two replicas.
#[tokio::test]
async fn two_replicas_elect_a_leader_and_a_drain_leaves_one_of_them() {
    let cluster = installed().await;
    let spec = &deployment().await["spec"];
    assert_eq!(spec["replicas"], 2);
    assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let container = &spec["template"]["spec"]["containers"][0];
    let namespace = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}});
    let variables = container["env"].as_array().unwrap();
    assert!(variables.contains(&json!({"name": "POD_NAMESPACE", "valueFrom": namespace})), "{variables:?}");
    let role = cluster.get("role -n sessionkill-system sessionkill-operator-leases").await;
    let lease = role["rules"][0]["resourceNames"][0].as_str().unwrap();
    assert_eq!(container["args"], json!(["run", "--leader-election", format!("--lease-name={lease}")]));
    let budget = cluster.get("poddisruptionbudget -n sessionkill-system sessionkill-operator").await;
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(budget["spec"]["selector"], spec["selector"]);
}

/// The parts of a rule that the operator does not need.
fn excess(rule: &Value) -> Vec<String> {
    let list = |name: &str| -> BTreeSet<&str> {
        rule[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (groups, resources, verbs) = (list("apiGroups"), list("resources"), list("verbs"));
    let mut found = vec![];
    for (name, words) in [("apiGroups", &groups), ("resources", &resources), ("verbs", &verbs)] {
        if words.iter().any(|word| word.contains('*')) {
            found.push(format!("a wildcard in {name}"));
        }
    }
    for named in ["secrets", "services", "namespaces"] {
        if resources.contains(named) && verbs != BTreeSet::from(["get"]) {
            found.push(format!("{named}: {verbs:?}, where get is enough"));
        }
    }
    let names_it = rule["resourceNames"] == json!(["sessionkill-operator"]);
    if resources.contains("leases") && !names_it && verbs != BTreeSet::from(["create"]) {
        found.push("Leases of others".to_owned());
    }
    for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
        if verbs.contains(verb) {
            found.push(format!("the verb {verb}"));
        }
    }
    if !groups.is_subset(&BTreeSet::from(["", "coordination.k8s.io", "events.k8s.io", "sessionkill.dev"]))
        || groups.contains("") && !resources.is_subset(&BTreeSet::from(["secrets", "services", "namespaces"]))
        || groups.contains("coordination.k8s.io") && resources != BTreeSet::from(["leases"])
    {
        found.push(format!("{resources:?} of {groups:?}"));
    }
    found
}

#[tokio::test]
async fn the_role_is_bound_to_the_operators_account_only() {
    let cluster = installed().await;
    let binding = cluster.get("clusterrolebinding sessionkill-operator").await;
    assert_eq!(binding["roleRef"]["name"], "sessionkill-operator");
    let account =
        json!([{"kind": "ServiceAccount", "name": "sessionkill-operator", "namespace": "sessionkill-system"}]);
    assert_eq!(binding["subjects"], account);
    let in_its_namespace = cluster.get("rolebinding -n sessionkill-system sessionkill-operator-leases").await;
    assert_eq!((&in_its_namespace["roleRef"]["kind"], &in_its_namespace["subjects"]), (&json!("Role"), &account));
    let pod = &deployment().await["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "sessionkill-operator");
    // Only the Pod itself mounts a token. The account gives none to other Pods.
    assert_eq!(pod["automountServiceAccountToken"], true);
    let account = cluster.get("serviceaccount -n sessionkill-system sessionkill-operator").await;
    assert_eq!(account["automountServiceAccountToken"], false);
}

#[tokio::test]
async fn each_sample_applies_and_together_they_are_complete() {
    let cluster = cluster().await;
    cluster.namespace("samples", &[]).await;
    let mut kinds = BTreeSet::new();
    for entry in fs::read_dir(repository("deploy/samples")).unwrap() {
        let sample = sample(&entry.unwrap().path());
        let applied = cluster.applies(&["-n", "samples", "-f", "-"], &sample).await;
        kinds.extend(applied.lines().filter_map(|line| line.split(['.', '/']).next()).map(str::to_owned));
    }
    let expected =
        ["clusteroceanbaseconnection", "oceanbaseconnection", "secret", "service", "serviceaccount", "sessionkill"];
    assert_eq!(kinds, BTreeSet::from(expected.map(str::to_owned)));
    fit_together(cluster, "samples").await;
}

/// A user copies the sample. It must not kill another session that has the ID by now.
#[tokio::test]
async fn the_sample_kills_only_the_session_that_it_describes() {
    let kill = dry_run_of("session-kill.yaml").await;
    assert_eq!(kill["spec"]["mode"], "Kill");
    assert_eq!(kill["spec"]["verification"]["policy"], "Required");
    for session in kill["spec"]["sessions"].as_array().unwrap() {
        let expected: BTreeSet<&str> =
            session["expect"].as_object().into_iter().flatten().map(|(field, _)| field.as_str()).collect();
        assert_eq!(expected, BTreeSet::from(["user", "clientIP", "command", "minExecutionSeconds"]), "{session}");
    }
}

#[tokio::test]
async fn the_dry_run_is_the_same_request_but_for_its_mode() {
    let [mut dry, kill] = [dry_run_of("dry-run.yaml").await, dry_run_of("session-kill.yaml").await];
    assert_eq!(dry["spec"]["mode"], "DryRun");
    assert_ne!(dry["metadata"]["name"], kill["metadata"]["name"]);
    dry["spec"]["mode"] = kill["spec"]["mode"].clone();
    assert_eq!(dry["spec"], kill["spec"]);
}

/// A dry run of a sample: the object with its defaults, which is not stored.
async fn dry_run_of(sample: &str) -> Value {
    let sample = self::sample(&repository("deploy/samples").join(sample));
    let options = ["--dry-run=server", "-o", "json", "-f", "-"];
    serde_json::from_str(&cluster().await.applies(&options, &sample).await).unwrap()
}

fn sample(path: &Path) -> String {
    in_time(&fs::read_to_string(path).unwrap())
}

/// The example with a `notAfterTime` in the near future, as a user must write it.
fn in_time(manifest: &str) -> String {
    static SOON: LazyLock<String> =
        LazyLock::new(|| (Timestamp::now() + SignedDuration::from_hours(1)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    manifest.replace("2026-10-05T09:30:00Z", &SOON)
}

/// The namespace in the examples of the pages.
async fn shop() -> &'static Cluster {
    static NAMESPACE: OnceCell<()> = OnceCell::const_new();
    let cluster = cluster().await;
    NAMESPACE.get_or_init(async || cluster.namespace("shop", &[]).await).await;
    cluster
}

/// Its Secret is made by a command.
#[tokio::test]
async fn the_examples_of_the_page_about_sql_apply() {
    let cluster = shop().await;
    let page = fs::read_to_string(repository("docs/sql.md")).unwrap();
    let examples = examples(&page);
    assert_eq!(examples.len(), 3, "a Service, a connection and a request");
    for example in examples {
        cluster.applies(&["-f", "-"], &in_time(example)).await;
    }
}

/// Its Secrets are made by commands, and its policies are RAM's.
#[tokio::test]
async fn the_examples_of_the_page_about_credentials_apply() {
    let cluster = shop().await;
    let page = fs::read_to_string(repository("docs/credentials.md")).unwrap();
    let examples = examples(&page);
    assert_eq!(examples.len(), 5, "a ServiceAccount and four connections");
    for example in examples {
        cluster.applies(&["-f", "-"], example).await;
    }
    let policies: Vec<Value> =
        blocks(&page, "json").into_iter().map(|policy| serde_json::from_str(policy).unwrap()).collect();
    assert!(policies.len() >= 4 && policies.iter().all(|policy| policy["Version"] == "1"), "{policies:?}");
}

#[tokio::test]
async fn the_examples_of_the_readme_apply() {
    let cluster = cluster().await;
    cluster.namespace("readme", &[]).await;
    let readme = fs::read_to_string(repository("README.md")).unwrap();
    let examples = examples(&readme);
    assert!(!examples.is_empty(), "the README shows no manifest");
    for example in examples {
        cluster.applies(&["-n", "readme", "-f", "-"], &in_time(example)).await;
    }
    fit_together(cluster, "readme").await;
}

/// Checks that each request names an existing connection that allows it, and that the connection names an existing
/// Secret with the label and all keys.
async fn fit_together(cluster: &Cluster, namespace: &str) {
    let requests = cluster.get(&format!("sessionkills -n {namespace}")).await;
    let requests = requests["items"].as_array().unwrap();
    assert!(!requests.is_empty(), "no request in {namespace}");
    for request in requests {
        fits(cluster, namespace, &request["spec"]).await;
    }
}

async fn fits(cluster: &Cluster, namespace: &str, request: &Value) {
    let connection = request["connectionRef"]["name"].as_str().unwrap();
    let connection = cluster.get(&format!("oceanbaseconnection -n {namespace} {connection}")).await;
    for (list, name) in [("/alibabaCloud/instanceIDs", "instanceID"), ("/tenantIDs", "tenantID")] {
        let allowed = connection["spec"].pointer(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        // An empty list allows all.
        assert!(allowed.is_empty() || allowed.contains(&request[name]), "{allowed:?} lacks {}", request[name]);
    }
    let (alibaba_cloud, sql) = (&connection["spec"]["alibabaCloud"], &connection["spec"]["sql"]);
    let is_sql = sql.is_object();
    let (backend, keys) =
        if is_sql { (sql, ["username", "password"]) } else { (alibaba_cloud, ["accessKeyID", "accessKeySecret"]) };
    let secret = backend["credentials"]["secretRef"]["name"].as_str().unwrap();
    let secret = cluster.get(&format!("secret -n {namespace} {secret}")).await;
    assert_eq!(secret["metadata"]["labels"][sessionkill::api::CREDENTIALS_LABEL], "true");
    for key in keys {
        assert!(secret["data"][key].is_string(), "the Secret lacks {key}");
    }
    if is_sql {
        fits_database(cluster, namespace, request, sql, &secret).await;
    } else {
        assert!(alibaba_cloud["instanceIDs"].is_array(), "the example of a connection has no allow-list");
    }
}

/// Checks that the request names cluster and tenant of the connection, that its Service exists with its port, and that the Secret
/// lets the password go there.
async fn fits_database(cluster: &Cluster, namespace: &str, request: &Value, sql: &Value, secret: &Value) {
    assert_eq!((&request["instanceID"], &request["tenantID"]), (&sql["cluster"], &sql["tenant"]));
    let (name, port) = (sql["service"]["name"].as_str().unwrap(), &sql["service"]["port"]);
    let service = cluster.get(&format!("service -n {namespace} {name}")).await;
    assert_eq!(&service["spec"]["ports"][0]["port"], port);
    assert_eq!(secret["metadata"]["annotations"]["sessionkill.dev/servers"], format!("{name}:{port}"));
    let needs_ca = sql["tls"]["mode"] != "Disabled" && sql["tls"]["caRef"].is_null();
    assert!(!needs_ca || secret["data"]["ca.crt"].is_string(), "the Secret lacks ca.crt");
}

/// The manifests in the fenced YAML blocks. A block without a kind is a part of a manifest.
fn examples(markdown: &str) -> Vec<&str> {
    let blocks = blocks(markdown, "yaml").into_iter();
    blocks.filter(|block| block.lines().any(|line| line.starts_with("kind: "))).collect()
}

/// The fenced blocks in this language.
fn blocks<'a>(markdown: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let blocks = markdown.split(&begin).skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(block, _)| block).collect()
}

#[test]
fn only_fenced_manifests_are_examples() {
    let markdown = "text\n```yaml\nkind: A\n```\n```sh\nkind: B\n```\n```yaml\nspec: {}\n```\n";
    assert_eq!(examples(markdown), ["kind: A\n"]);
}
