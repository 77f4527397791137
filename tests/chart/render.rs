//! What the chart renders, for every value that changes what is installed. Helm must find nothing to complain about,
//! and the API server must accept the objects strictly, without a warning, and with restricted Pods.

use std::fs;

use serde_json::{Value, json};
use testbed::chart;

use crate::{admitted, copy_of_the_chart, furnished, helm, names, render, render_of, tried};

/// Each switch changed alone, and then all switches that work together.
fn choices() -> Vec<(&'static str, Value)> {
    let digest = format!("sha256:{}", "0".repeat(64));
    let mut choices = vec![
        ("nothing", json!({})),
        ("one replica", json!({"replicas": 1})),
        ("an image by digest", json!({"image": {"digest": digest}, "imagePullSecrets": [{"name": "registry"}]})),
        ("another name", json!({"fullnameOverride": "killer"})),
        ("no definitions", json!({"crds": {"install": false}})),
        ("definitions that go", json!({"crds": {"keep": false}})),
        ("an account that is there", json!({"serviceAccount": {"create": false, "name": "killer"}})),
        ("an annotated account", json!({"serviceAccount": {"annotations": {"a/b": "c"}}})),
        ("no rights", json!({"rbac": {"create": false}})),
        ("no connections of no namespace", json!({"clusterConnections": {"enabled": false}})),
        ("connections of no namespace", lending()),
        ("no roles for people", json!({"userRoles": {"create": false}})),
        ("roles that are not aggregated", json!({"userRoles": {"aggregate": false}})),
        ("the admission policy", json!({"admissionPolicy": {"enabled": true}})),
        ("no limits of objects", json!({"admissionLimits": {"enabled": false}})),
        ("a longer life", json!({"admissionLimits": {"maxLifetimeDays": 30}})),
        ("no leader election", json!({"leaderElection": {"enabled": false}})),
        ("options", options()),
        ("a proxy", json!({"proxy": {"url": "http://proxy.example:3128"}})),
        ("a proxy with a password", json!({"proxy": {"secretRef": {"name": "proxy"}}})),
        ("an authority", json!({"extraCA": {"configMap": "corporate-ca"}})),
        ("a log filter", json!({"logFilter": {"configMap": "logging"}})),
        ("traces", tracing()),
        ("a place to run", placement()),
        ("no spreading", json!({"topologySpread": {"enabled": false}})),
        (
            "no spreading, but a place",
            json!({"topologySpread": {"enabled": false}, "affinity": placement()["affinity"]}),
        ),
        ("no disruption budget", json!({"podDisruptionBudget": {"enabled": false}})),
        ("a network policy", network()),
        ("no Service", json!({"metrics": {"service": {"enabled": false}}})),
        ("a ServiceMonitor", monitor()),
        ("alerts", alerts()),
    ];
    let together = [options(), placement(), network(), monitor()].into_iter().fold(
        json!({
            "admissionPolicy": {"enabled": true},
            "leaderElection": {"enabled": true, "leaseDurationSeconds": 10},
            "proxy": {"secretRef": {"name": "proxy"}},
            "extraCA": {"configMap": "corporate-ca"},
            "logFilter": {"configMap": "logging", "key": "operator"},
            "tracing": tracing()["tracing"],
        }),
        |mut all, more| {
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        },
    );
    choices.push(("everything", together));
    choices
}

fn options() -> Value {
    json!({"operator": {
        "allowEndpoints": ["gateway.example:8443", "10.1.2.3"],
        "allowSQLHosts": ["db.example:2881", "[fd00::1]:2881", "10.1.0.0/16", "fd00::/8"], "apiServerHTTP1": true, "dispatchWindowSeconds": 10,
        "maxConcurrentCalls": 8, "sweepIntervalSeconds": 30, "receiptRetentionSeconds": 172_800, "missedKillSeconds": 0,
        "logFormat": "text", "logLevel": "debug", "extraArgs": ["--identity=me"],
        "extraEnv": [{"name": "A", "value": "b"}],
    }})
}

/// Connections of no namespace, with Secrets in a namespace of their own.
fn lending() -> Value {
    json!({"clusterConnections": {"enabled": true, "resourceNamespace": "team-b"}})
}

fn tracing() -> Value {
    json!({"tracing": {
        "endpoint": "http://collector.example:4318", "sampleRatio": 0.25, "headersSecretRef": {"name": "collector"},
    }})
}

fn placement() -> Value {
    json!({
        "nodeSelector": {"kubernetes.io/os": "linux"}, "priorityClassName": "system-cluster-critical",
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
        }]}},
        "podAnnotations": {"a/b": "c"}, "podLabels": {"team": "dba"}, "terminationGracePeriodSeconds": 120,
    })
}

fn network() -> Value {
    let proxy = json!({"ports": [{"port": 3128, "protocol": "TCP"}]});
    let scraper = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    });
    json!({"networkPolicy": {
        "enabled": true, "from": [scraper, {"ipBlock": {"cidr": "10.0.0.0/8"}}], "apiServerPorts": [6443], "sqlPorts": [2881, 12881],
        "extraEgress": [proxy],
    }})
}

fn monitor() -> Value {
    json!({"metrics": {"serviceMonitor": {"enabled": true, "interval": "15s", "labels": {"release": "prometheus"}}}})
}

fn alerts() -> Value {
    json!({"metrics": {"prometheusRule": {
        "enabled": true, "labels": {"release": "prometheus"}, "runbookBaseURL": "https://pages.example/sessionkill/",
    }}})
}

/// The same values for some namespaces only.
fn namespaced(values: &Value) -> Value {
    let mut values = values.clone();
    values["watchNamespaces"] = json!(["team-a", "team-b"]);
    values
}

#[tokio::test]
async fn helm_finds_nothing_to_say_against_the_chart() {
    let chart = chart::directory();
    for set in ["watchNamespaces=[]", r#"watchNamespaces=["team-a"]"#] {
        let lint = ["lint", "--strict", chart.to_str().unwrap(), "--set-json", set];
        let said = helm().await.run(None, &lint).await.unwrap();
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{said}");
    }
}

/// Vendors append their own suffix to the version.
#[tokio::test]
async fn it_is_for_supported_versions_of_whatever_vendor_and_for_no_older_one() {
    let of = async |version| render_of(&chart::directory(), &json!({}), &["--kube-version", version]).await;
    for version in ["1.33.0", "v1.33.1-aliyun.1", "v1.33.5-eks-113cf36", "v1.34.1-gke.1829001", "v1.37.2+k3s1"] {
        let rendered = of(version).await;
        assert!(rendered.is_ok(), "{version}: {rendered:?}");
    }
    for version in ["1.32.13", "v1.32.9-eks-113cf36", "v1.31.14"] {
        let refusal = of(version).await.unwrap_err();
        assert!(
            refusal.contains("kubeVersion: >=1.33.0-0 which is incompatible with Kubernetes"),
            "{version}: {refusal}"
        );
    }
}

async fn all_are_admitted(in_some_namespaces: bool) {
    let cluster = furnished().await;
    for (what, values) in choices() {
        let values = if in_some_namespaces { namespaced(&values) } else { values };
        let objects = admitted(cluster, what, &render(&values).await).await;
        let names = names(&objects);
        assert!(names.iter().any(|name| name.starts_with("Deployment/")), "{what}: {names:?}");
        assert!(names.iter().any(|name| name.starts_with("Pod/")), "{what}: helm test has nothing to run: {names:?}");
        if in_some_namespaces && values["clusterConnections"]["enabled"] != true {
            assert_has_no_right_in_the_cluster(what, &objects);
        }
    }
}

#[tokio::test]
async fn whatever_is_chosen_is_admitted() {
    all_are_admitted(false).await;
}

#[tokio::test]
async fn whatever_is_chosen_is_admitted_in_some_namespaces() {
    all_are_admitted(true).await;
}

/// Checked with the definitions of the Prometheus operator itself: unknown fields and wrong values are refused.
#[tokio::test]
async fn what_the_prometheus_operator_does_not_know_is_refused() {
    let (monitor, alerts) = (render(&monitor()).await, render(&alerts()).await);
    for (manifests, from, to, refusal) in [
        (&monitor, "path: /metrics", "paths: /metrics", "paths"),
        (&monitor, "interval: 15s", "interval: often", "spec.endpoints[0].interval"),
        (&alerts, "expr:", "expression:", "expression"),
        (&alerts, "for: 1m", "for: long", "for"),
    ] {
        assert!(manifests.contains(from), "{from}: {manifests}");
        let said = tried(furnished().await, &manifests.replace(from, to)).await;
        assert!(!said.success && said.stderr.contains(refusal), "{to}: {}", said.stderr);
    }
}

/// Checks that the operator's account has only Roles. The roles for people are not bound to anyone.
fn assert_has_no_right_in_the_cluster(what: &str, objects: &[Value]) {
    for object in objects {
        let kind = object["kind"].as_str().unwrap();
        assert_ne!(kind, "ClusterRoleBinding", "{what}");
        if kind == "ClusterRole" {
            let rules = object["rules"].to_string();
            assert!(!["secrets", "services"].iter().any(|named| rules.contains(named)), "{what}: {rules}");
        }
    }
}

#[tokio::test]
async fn each_watched_namespace_has_a_role_with_all_rights_and_the_release_has_none() {
    let cluster = furnished().await;
    let rights = |objects: &[Value], kind: &str| -> Vec<(String, Value)> {
        let of_kind = objects.iter().filter(|object| object["kind"] == kind);
        let named = of_kind.filter(|object| object["metadata"]["name"] == "sessionkill-operator");
        let namespace = |object: &Value| object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        named.map(|object| (namespace(object), object["rules"].clone())).collect()
    };
    let without = json!({"clusterConnections": {"enabled": false}});
    let everywhere = admitted(cluster, "all namespaces", &render(&without).await).await;
    let everywhere = rights(&everywhere, "ClusterRole");
    let some = admitted(cluster, "some", &render(&namespaced(&json!({}))).await).await;
    let rules = everywhere[0].1.clone();
    assert!(rules.to_string().contains("secrets"), "{rules}");
    let expected = ["team-a", "team-b"].map(|name| (name.to_owned(), rules.clone()));
    assert_eq!(rights(&some, "Role"), expected);

    // On request, each of them may have its labels read too.
    let lending = admitted(cluster, "lending", &render(&namespaced(&lending())).await).await;
    let mut rules = rules.as_array().unwrap().clone();
    rules.push(json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}));
    let expected = ["team-a", "team-b"].map(|name| (name.to_owned(), json!(rules)));
    assert_eq!(rights(&lending, "Role"), expected);
}

/// The whole of what the operator may do in the cluster, if it works in some namespaces and uses connections of no namespace.
#[tokio::test]
async fn connections_of_no_namespace_take_one_cluster_role_on_request_and_it_grants_nothing_else() {
    let objects = admitted(furnished().await, "lending", &render(&namespaced(&lending())).await).await;
    let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let named = |kind: &str| {
        let found =
            of_kind(kind).into_iter().filter(|it| it["metadata"]["name"] == "sessionkill-operator-cluster-connections");
        found.cloned().collect::<Vec<_>>()
    };
    let bindings = of_kind("ClusterRoleBinding");
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0]["roleRef"]["name"], "sessionkill-operator-cluster-connections");
    let granted = json!([
        {"apiGroups": ["sessionkill.dev"], "resources": ["clusteroceanbaseconnections"], "verbs": ["list", "watch"]},
        {"apiGroups": ["sessionkill.dev"], "resources": ["clusteroceanbaseconnections/status"], "verbs": ["patch"]},
    ]);
    assert_eq!(named("ClusterRole")[0]["rules"], granted);
    // And what they name, in its namespace.
    let in_namespace = &named("Role")[0];
    let get = |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]});
    assert_eq!(
        (&in_namespace["metadata"]["namespace"], &in_namespace["rules"]),
        (&json!("team-b"), &json!([get("secrets"), get("services")]))
    );
    assert_eq!(named("RoleBinding")[0]["metadata"]["namespace"], "team-b");

    let arguments = |kind: &str, spec: &str| {
        let object = objects.iter().find(|object| object["kind"] == kind).unwrap();
        object.pointer(spec).unwrap()["containers"][0]["args"].to_string()
    };
    for arguments in [arguments("Deployment", "/spec/template/spec"), arguments("Pod", "/spec")] {
        for option in ["--cluster-connections=true", "--cluster-resource-namespace=team-b"] {
            assert!(arguments.contains(option), "{option}: {arguments}");
        }
    }
}

/// With such values, nothing allows it to read Secrets of the whole cluster.
#[tokio::test]
async fn secrets_are_granted_by_namespace_where_the_values_say_so() {
    let values = json!({"rbac": {"secretsAccess": "Namespaces", "secretsNamespaces": ["team-a", "team-b"]}});
    let objects = admitted(furnished().await, "Secrets by namespace", &render(&values).await).await;
    let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).collect::<Vec<_>>();
    let secrets = "sessionkill-operator-secrets";
    for role in of_kind("ClusterRole") {
        let rules = &role["rules"];
        if role["metadata"]["name"] == secrets {
            let get = |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]});
            assert_eq!(*rules, json!([get("secrets"), get("services")]));
        } else {
            assert!(!["secrets", "services"].iter().any(|named| rules.to_string().contains(named)), "{rules}");
        }
    }
    assert!(of_kind("ClusterRoleBinding").iter().all(|binding| binding["roleRef"]["name"] != secrets));
    let bindings = of_kind("RoleBinding").into_iter().filter(|binding| binding["roleRef"]["name"] == secrets);
    let account = json!([{
        "kind": "ServiceAccount", "name": "sessionkill-operator", "namespace": "sessionkill-system",
    }]);
    let bound = bindings.map(|binding| {
        assert_eq!(binding["subjects"], account);
        binding["metadata"]["namespace"].as_str().unwrap()
    });
    assert_eq!(bound.collect::<Vec<_>>(), ["team-a", "team-b"]);
    let check = &of_kind("Pod")[0]["spec"]["containers"][0]["args"];
    assert_eq!(check[1], "--secrets-namespaces=team-a,team-b");

    // Those that connections of no namespace name, on request.
    for (granted, expected) in [(json!(["team-a"]), vec!["team-a", "team-b"]), (json!(["team-b"]), vec!["team-b"])] {
        let mut values = lending();
        values["rbac"] = json!({"secretsAccess": "Namespaces", "secretsNamespaces": granted});
        let objects = admitted(furnished().await, "lending", &render(&values).await).await;
        let bindings = objects.iter().filter(|it| it["kind"] == "RoleBinding" && it["roleRef"]["name"] == secrets);
        let bound = bindings.map(|binding| binding["metadata"]["namespace"].as_str().unwrap());
        assert_eq!(bound.collect::<Vec<_>>(), expected);
    }

    let refusal = render_of(&chart::directory(), &namespaced(&values), &[]).await.map(drop).unwrap_err();
    assert!(refusal.contains("rbac.secretsAccess: with watchNamespaces"), "{refusal}");
}

/// Names inside the cluster are resolved with its search domains. Host names of Alibaba Cloud are not tried with these
/// first.
#[tokio::test]
async fn the_products_hosts_are_looked_up_as_they_are() {
    let objects = admitted(furnished().await, "nothing", &render(&json!({})).await).await;
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let options = &deployment["spec"]["template"]["spec"]["dnsConfig"]["options"];
    assert_eq!((&options[0]["name"], options.as_array().unwrap().len()), (&json!("ndots"), 1));
    let least: usize = options[0]["value"].as_str().unwrap().parse().unwrap();
    let dots = |name: &str| name.matches('.').count();
    assert!(dots("oceanbasepro.cn-hangzhou.aliyuncs.com") >= least);
    assert!(dots("collector.monitoring.svc") < least);
}

#[tokio::test]
async fn the_namespaces_reach_the_operator_and_its_check() {
    let objects = admitted(furnished().await, "some", &render(&namespaced(&json!({}))).await).await;
    let arguments = |kind: &str, spec: &str| {
        let object = objects.iter().find(|object| object["kind"] == kind).unwrap();
        object.pointer(spec).unwrap()["containers"][0]["args"].clone()
    };
    let operator = arguments("Deployment", "/spec/template/spec");
    assert_eq!(operator.as_array().unwrap()[..2], ["run", "--watch-namespaces=team-a,team-b"]);
    let check = arguments("Pod", "/spec");
    let url = "--ready-url=http://sessionkill-operator.sessionkill-system.svc:8080/readyz";
    let lease = "--lease=sessionkill-system/sessionkill-operator";
    assert_eq!(check, json!(["check", "--watch-namespaces=team-a,team-b", lease, url]));
}

/// The port of a database is open to the operator unless the values say otherwise, and the flag names each allowed server.
#[tokio::test]
async fn databases_are_reached_at_their_ports_and_hosts_only_if_they_are_named() {
    let objects = async |values: Value| admitted(furnished().await, "databases", &render(&values).await).await;
    let egress = async |ports: Value| {
        let values = json!({"networkPolicy": {"enabled": true, "sqlPorts": ports}});
        let policy = objects(values).await.into_iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
        policy["spec"]["egress"].as_array().unwrap().clone()
    };
    let port = |number: u16| json!({"ports": [{"port": number, "protocol": "TCP"}]});
    let (open, closed) = (egress(json!([2881])).await, egress(json!([])).await);
    assert!(open.contains(&port(2881)) && !closed.contains(&port(2881)), "{open:?}");
    assert_eq!(open.len(), closed.len() + 1, "an empty rule would allow all: {closed:?}");

    let arguments = async |values: Value| {
        let deployment = objects(values).await.into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string()
    };
    let hosts = "--allow-sql-host=db.example:2881,[fd00::1]:2881,10.1.0.0/16,fd00::/8";
    let (named, by_default) = (arguments(options()).await, arguments(json!({})).await);
    assert!(named.contains(hosts) && !by_default.contains("--allow-sql-host"), "{named}");
}

/// The metadata service gives the key of the node to whoever reaches it.
#[tokio::test]
async fn the_metadata_service_is_reached_only_if_the_role_of_the_node_is_lent() {
    let way = json!({
        "to": [{"ipBlock": {"cidr": "100.100.100.200/32"}}], "ports": [{"port": 80, "protocol": "TCP"}],
    });
    let role = "team-b=acs:ram::1:role/instance";
    for (lent, ways) in [
        (json!([]), 0),
        (json!([role]), 0),
        (json!([role, "team-a=instance"]), 1),
        (json!(["team-a=instance", "team-b=instance"]), 1),
    ] {
        let values = json!({"networkPolicy": {"enabled": true}, "operator": {"allowIdentities": lent}});
        let objects = admitted(furnished().await, "identities that are lent", &render(&values).await).await;
        let policy = objects.iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
        let egress = policy["spec"]["egress"].as_array().unwrap();
        assert_eq!(egress.iter().filter(|rule| **rule == way).count(), ways, "{lent}");
        // Without it nothing is said of any address.
        assert_eq!(egress.iter().filter(|rule| rule.get("to").is_some()).count(), ways, "{egress:?}");
    }
}

/// The check must see what the operator sees, and the token is for both.
#[tokio::test]
async fn the_check_is_told_of_the_identities_that_are_lent() {
    let lent = "--allow-identity=team-a=acs:ram::1:role/kill,team-b=instance";
    let values = json!({
        "rrsa": {"oidcProviderARN": "acs:ram::1:oidc-provider/ack-rrsa-c1"},
        "operator": {
            "allowIdentities": ["team-a=acs:ram::1:role/kill", "team-b=instance"], "clusterName": "c1",
        },
    });
    let objects = admitted(furnished().await, "identities that are lent", &render(&values).await).await;
    let pod = |kind: &str, spec: &str| {
        let object = objects.iter().find(|object| object["kind"] == kind).unwrap();
        object.pointer(spec).unwrap().clone()
    };
    let [operator, check] = [pod("Deployment", "/spec/template/spec"), pod("Pod", "/spec")];
    for of in [&operator, &check] {
        let container = &of["containers"][0];
        let arguments = container["args"].as_array().unwrap();
        assert!(arguments.contains(&json!(lent)) && arguments.contains(&json!("--cluster-name=c1")), "{arguments:?}");
        assert_eq!(container["volumeMounts"], operator["containers"][0]["volumeMounts"]);
        assert_eq!(of["volumes"], operator["volumes"]);
        let variables = container["env"].as_array().unwrap();
        let file = json!({
            "name": "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "value": "/var/run/secrets/sessionkill/rrsa/token",
        });
        assert!(variables.contains(&file), "{variables:?}");
    }
}

/// A client without access to the port can neither fill it with connections nor read the metrics.
#[tokio::test]
async fn the_health_port_is_for_everybody_or_for_those_that_are_named() {
    let ingress = async |values: Value| {
        let objects = admitted(furnished().await, "a network policy", &render(&values).await).await;
        let labels = objects.iter().find(|object| object["kind"] == "Pod").unwrap()["metadata"]["labels"].clone();
        let policy = objects.into_iter().find(|object| object["kind"] == "NetworkPolicy").unwrap();
        (policy["spec"]["ingress"].clone(), labels)
    };
    let port = json!([{"port": "health", "protocol": "TCP"}]);
    let (open, _) = ingress(json!({"networkPolicy": {"enabled": true}})).await;
    assert_eq!(open, json!([{"ports": port}]));

    let (narrow, labels_of_the_check) = ingress(network()).await;
    let from = narrow[0]["from"].as_array().unwrap();
    assert_eq!((&narrow[0]["ports"], narrow.as_array().unwrap().len()), (&port, 1));
    assert_eq!(from[1..], *network()["networkPolicy"]["from"].as_array().unwrap());
    // `helm test` still reaches the port.
    let check = from[0]["podSelector"]["matchLabels"].as_object().unwrap();
    assert!(check.len() == 2 && from[0].as_object().unwrap().len() == 1, "{from:?}");
    assert!(check.iter().all(|(label, value)| labels_of_the_check[label] == *value), "{labels_of_the_check}");
}

#[tokio::test]
async fn traces_are_asked_for_by_their_variables_and_by_default_not_at_all() {
    let variables = async |what: &str, values: Value| {
        let objects = admitted(furnished().await, what, &render(&values).await).await;
        let deployment = objects.into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        let all = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        let of_traces = |variable: &Value| variable["name"].as_str().unwrap().starts_with("OTEL_");
        Value::Array(all.into_iter().filter(of_traces).collect())
    };
    let token = json!({"secretKeyRef": {"name": "collector", "key": "headers"}});
    let expected = json!([
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.example:4318"},
        {"name": "OTEL_TRACES_SAMPLER", "value": "traceidratio"},
        {"name": "OTEL_TRACES_SAMPLER_ARG", "value": "0.25"},
        {"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": token},
    ]);
    assert_eq!(variables("traces", tracing()).await, expected);
    assert_eq!(variables("nothing", json!({})).await, json!([]));
    let none = variables("none of them", json!({"tracing": {"endpoint": "http://a:4318", "sampleRatio": 0}})).await;
    assert_eq!(none[2], json!({"name": "OTEL_TRACES_SAMPLER_ARG", "value": "0"}));
}

#[tokio::test]
async fn a_rule_file_becomes_a_prometheus_rule_and_without_one_the_switch_is_refused() {
    let (_kept, chart) = copy_of_the_chart();
    let file = chart.join("files/prometheus-rules.yaml");
    let values = json!({"metrics": {"prometheusRule": {"enabled": true, "labels": {"release": "prometheus"}}}});
    let _ = fs::remove_file(&file);
    let refusal = render_of(&chart, &values, &[]).await.unwrap_err();
    assert!(refusal.contains("this chart has no files/prometheus-rules.yaml"), "{refusal}");

    let rules = "groups:\n- name: sessionkill\n  rules:\n  - alert: Down\n    expr: up == 0\n    annotations:\n      \
                 summary: \"{{ $labels.pod }} is down\"\n";
    fs::write(&file, rules).unwrap();
    let rendered = render_of(&chart, &values, &[]).await.unwrap();
    let objects = admitted(furnished().await, "a rule", &rendered).await;
    let rule = objects.iter().find(|object| object["kind"] == "PrometheusRule").unwrap();
    let summary = &rule["spec"]["groups"][0]["rules"][0]["annotations"]["summary"];
    assert_eq!(summary, "{{ $labels.pod }} is down");
}

#[tokio::test]
async fn a_value_that_means_nothing_is_refused_by_its_name() {
    for (name, values) in [
        ("watchNamespace", json!({"watchNamespace": ["team-a"]})),
        ("watchNamespaces", json!({"watchNamespaces": "team-a"})),
        ("watchNamespaces", json!({"watchNamespaces": ["Team A"]})),
        ("replicas", json!({"replicas": "two"})),
        ("digest", json!({"image": {"digest": "latest"}})),
        ("dispatchWindowSeconds", json!({"operator": {"dispatchWindowSeconds": 5}})),
        ("receiptRetentionSeconds", json!({"operator": {"receiptRetentionSeconds": 1}})),
        ("missedKillSeconds", json!({"operator": {"missedKillSeconds": 604_801}})),
        ("missedKillSeconds", json!({"operator": {"missedKillSeconds": 86_401}})),
        ("missedKillSeconds", json!({"operator": {"missedKillSeconds": 61, "receiptRetentionSeconds": 60}})),
        ("terminationGracePeriodSeconds", json!({"terminationGracePeriodSeconds": 30})),
        // A password belongs in a Secret.
        ("url", json!({"proxy": {"url": "http://user:password@proxy.example:3128"}})),
        ("logFormat", json!({"operator": {"logFormat": "xml"}})),
        ("configMap", json!({"logFilter": {"configMap": "Logging"}})),
        ("sampleRatio", json!({"tracing": {"sampleRatio": 2}})),
        ("endpoint", json!({"tracing": {"endpoint": "https://user:password@collector.example"}})),
        ("headers", json!({"tracing": {"headers": "authorization=abc"}})),
        ("maxLifetimeDays", json!({"admissionLimits": {"maxLifetimeDays": 0}})),
        ("maxLifetimeDays", json!({"admissionLimits": {"maxLifetimeDays": "7d"}})),
        // A null removes the default.
        ("enabled", json!({"admissionLimits": {"enabled": null}})),
        ("from", json!({"networkPolicy": {"from": ["10.0.0.0/8"]}})),
        ("secretsAccess", json!({"rbac": {"secretsAccess": "Everywhere"}})),
        ("enabled", json!({"clusterConnections": {"enabled": "true"}})),
        ("resourceNamespace", json!({"clusterConnections": {"resourceNamespace": "Platform"}})),
        ("clusterConnections", json!({"clusterConnections": {"namespace": "platform"}})),
        // Each of these values is useless without the other.
        ("secretsNamespaces", json!({"rbac": {"secretsAccess": "Namespaces"}})),
        ("secretsNamespaces", json!({"rbac": {"secretsNamespaces": ["team-a"]}})),
        ("allowEndpoints", json!({"operator": {"allowEndpoints": ["gateway.example:8443 "]}})),
        ("allowEndpoints", json!({"operator": {"allowEndpoints": ["gateway.example/path"]}})),
        // A port is needed, and a range is no host.
        ("allowSQLHosts", json!({"operator": {"allowSQLHosts": ["db.example"]}})),
        ("allowSQLHosts", json!({"operator": {"allowSQLHosts": ["10.1.2.3"]}})),
        ("allowSQLHosts", json!({"operator": {"allowSQLHosts": ["db.example:2881,evil.example:2881"]}})),
        ("allowSQLHosts", json!({"operator": {"allowSQLHosts": ["user@db.example:2881"]}})),
        ("sqlPorts", json!({"networkPolicy": {"sqlPorts": [0]}})),
        ("sqlPorts", json!({"networkPolicy": {"sqlPorts": ["2881"]}})),
    ] {
        let refusal = render_of(&chart::directory(), &values, &[]).await.map(drop).unwrap_err();
        assert!(refusal.contains(name), "{values}: {refusal}");
    }
    let values = json!({"metrics": {"service": {"enabled": false}, "serviceMonitor": {"enabled": true}}});
    let refusal = render_of(&chart::directory(), &values, &[]).await.map(drop).unwrap_err();
    assert!(refusal.contains("metrics.service.enabled"), "{refusal}");
}

/// Each value is explained in `values.yaml` and is known to the schema.
#[test]
fn every_value_has_a_comment_and_a_type() {
    let values = fs::read_to_string(chart::directory().join("values.yaml")).unwrap();
    let schema = fs::read_to_string(chart::directory().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let top: Vec<_> = values
        .lines()
        .filter(|line| !line.starts_with([' ', '#']))
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .collect();
    assert!(top.len() > 20, "{top:?}");
    let known: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    for name in &top {
        assert!(known.contains(name), "values.schema.json does not know {name}");
    }
    for name in known.iter().filter(|name| **name != "global") {
        assert!(top.contains(name), "values.yaml does not have {name}");
    }
}

/// With a second constraint, the scheduler would not score a node that lacks one of the two labels.
#[tokio::test]
async fn replicas_are_spread_over_nodes_by_their_names_alone_and_zones_are_a_preference() {
    let pod = async |values: Value| {
        let objects = admitted(furnished().await, "spread", &render(&values).await).await;
        let deployment = objects.into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        deployment["spec"]["template"]["spec"].clone()
    };
    let keys = |pod: &Value| -> Vec<Value> {
        let constraints = pod["topologySpreadConstraints"].as_array().into_iter().flatten();
        constraints.map(|constraint| constraint["topologyKey"].clone()).collect()
    };
    let preferred = "/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution";
    let own = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "rack", "labelSelector": {"matchLabels": {"a": "b"}},
    }]}});
    let node = placement()["affinity"].clone();

    let default = pod(json!({})).await;
    assert_eq!(keys(&default), ["kubernetes.io/hostname"]);
    let zone = default.pointer(preferred).unwrap();
    assert_eq!(zone[0]["podAffinityTerm"]["topologyKey"], "topology.kubernetes.io/zone");
    assert_eq!(zone[0]["podAffinityTerm"]["labelSelector"], default["topologySpreadConstraints"][0]["labelSelector"]);

    let placed = pod(json!({"affinity": node})).await;
    assert_eq!(placed.pointer(preferred), Some(zone));
    assert_eq!(placed["affinity"]["nodeAffinity"], node["nodeAffinity"]);

    let owned = pod(json!({"affinity": own})).await;
    assert_eq!(owned.pointer(preferred), None);
    assert_eq!(keys(&owned), ["kubernetes.io/hostname"]);

    let off = pod(json!({"topologySpread": {"enabled": false}})).await;
    assert_eq!((keys(&off), off.get("affinity")), (vec![], None));
}
