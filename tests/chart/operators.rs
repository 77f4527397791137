//! A new installation from the chart, for all namespaces or for some. The operator runs with the rights that the chart
//! grants.

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::{
    arena::{INSTANCE, SERVER_IP, TENANT, session, session_id},
    chart::Release,
    control_plane::ControlPlane,
    fault_proxy::{Certificate, FaultProxy},
    gateway::{Backend, Gateway, GatewayOptions},
    operator::Operator,
    process::{Output, Process},
    scratch::{self, TempDir},
    stack::NAMESPACE,
};
use tokio::sync::SemaphorePermit;

use crate::{CONTROL_PLANES, LIMIT, control_plane::repository, eventually, helm};

const ACCOUNT: &str = "sessionkill-operator";
const BINARY: &str = env!("CARGO_BIN_EXE_sessionkill-operator");

/// A control plane with the chart installed, and a gateway.
struct Site {
    control_plane: ControlPlane,
    gateway: Gateway,
    release: Release,
    directory: TempDir,
    _alone: SemaphorePermit<'static>,
}

impl Site {
    /// Installs the chart in a cluster with three namespaces. The operator works in those of `watched`, or in all if
    /// that is empty.
    async fn install(watched: &[&str], more: Value) -> Self {
        let alone = CONTROL_PLANES.acquire().await.unwrap();
        let directory = scratch::directory().unwrap();
        let control_plane = ControlPlane::start(&directory.path().join("control-plane")).await.unwrap();
        for name in ["shop", "bank", "other"] {
            control_plane.run_kubectl(&["create", "namespace", name]).await.unwrap();
        }
        let gateway = gateway_in_memory().await;
        let mut values = json!({
            "watchNamespaces": watched,
            "operator": {"allowEndpoints": [gateway.url()], "sweepIntervalSeconds": 1},
        });
        if let Value::Object(more) = more {
            values.as_object_mut().unwrap().extend(more);
        }
        let release = Release::install(helm().await, &control_plane, &values).await.unwrap();
        let site = Self { control_plane, gateway, release, directory, _alone: alone };
        // Wait, as rights take effect some time after they are granted. A refusal before that would look like an error
        // of the operator.
        for namespace in if watched.is_empty() { &["shop", "bank", "other"] } else { watched } {
            site.wait_granted(namespace).await;
        }
        site
    }

    async fn wait_granted(&self, namespace: &str) {
        let account = format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}");
        // Ask for Events, which are served without a definition: kubectl cannot ask for other kinds yet. The same
        // binding grants all rights.
        eventually("the operator's rights", async || {
            let ask = ["auth", "can-i", "create", "events.events.k8s.io", "-n", namespace, "--as", &account];
            self.control_plane.run_kubectl(&ask).await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// Starts a replica as the Deployment would run it.
    async fn operator(&self, pod: &str) -> Operator {
        let directory = self.directory.path().join(pod);
        self.release.start_operator(&self.control_plane, Path::new(BINARY), &directory).await.unwrap()
    }

    /// Creates a Secret and a connection to the gateway.
    async fn connect(&self, namespace: &str, endpoint: &str) {
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "aliyun-ak", "namespace": namespace, "labels": {"sessionkill.dev/credentials": "true"}},
                "stringData": {"accessKeyID": "testbed", "accessKeySecret": "testbed-secret"},
            },
            {
                "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection",
                "metadata": {"name": "prod-ob", "namespace": namespace},
                "spec": {
                    "alibabaCloud": {
                        "regionID": "cn-hangzhou", "endpoint": endpoint,
                        "credentials": {"secretRef": {"name": "aliyun-ak"}},
                    },
                },
            },
        ]});
        self.control_plane.apply(&objects.to_string()).await.unwrap();
    }

    /// Creates a request for this session, with its `notAfterTime` in `seconds` seconds.
    async fn request(&self, namespace: &str, number: i64, seconds: i64, more: Value) {
        let not_after = Timestamp::now() + SignedDuration::from_secs(seconds);
        let mut request = json!({
            "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill",
            "metadata": {"name": format!("inc-{number}"), "namespace": namespace},
            "spec": {
                "connectionRef": {"name": "prod-ob"}, "instanceID": INSTANCE, "tenantID": TENANT,
                "sessions": [{"serverIP": SERVER_IP, "sessionID": session_id(number), "expect": {"user": "report_ro"}}],
                "notAfterTime": not_after.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            },
        });
        if let Value::Object(more) = more {
            request["spec"].as_object_mut().unwrap().extend(more);
        }
        self.control_plane.apply(&request.to_string()).await.unwrap();
    }

    async fn status(&self, namespace: &str, number: i64) -> Value {
        let name = format!("inc-{number}");
        let get = ["get", "sessionkill", &name, "-n", namespace, "-o", "json"];
        let object = self.control_plane.run_kubectl(&get).await.unwrap();
        serde_json::from_str::<Value>(&object).unwrap()["status"].clone()
    }

    /// Waits until the request has ended because its session was killed.
    async fn wait_killed(&self, namespace: &str, number: i64) {
        eventually("the session to be killed", async || {
            let status = self.status(namespace, number).await;
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let reasons: Vec<_> = conditions.map(|condition| condition["reason"].as_str().unwrap()).collect();
            if reasons.contains(&"SessionsKilled") { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// Checks that exactly these sessions were killed, each of them once.
    fn assert_killed_once(&self, numbers: &[i64]) {
        let expected: BTreeMap<_, _> =
            numbers.iter().map(|number| ((SERVER_IP.to_owned(), session_id(*number)), 1)).collect();
        assert_eq!(self.gateway.kills_per_session().into_iter().collect::<BTreeMap<_, _>>(), expected);
    }

    /// The requests that the API server refused the operator because a right was missing.
    fn refusals(&self) -> Vec<String> {
        let log = fs::read_to_string(self.control_plane.audit_log()).unwrap();
        let of_operator = format!("\"system:serviceaccount:{NAMESPACE}:{ACCOUNT}\"");
        let refused = |line: &&str| line.contains(&of_operator) && line.contains("\"code\":403");
        log.lines().filter(refused).map(str::to_owned).collect()
    }

    /// Runs `sessionkill-operator check` as the operator's account. Returns whether it succeeded, and its output.
    async fn check(&self, arguments: &[&str]) -> (bool, String) {
        let kubeconfig = self.control_plane.service_account_kubeconfig(NAMESPACE, ACCOUNT).await.unwrap();
        let mut command = Command::new(BINARY);
        command.arg("check").args(arguments).env("KUBECONFIG", kubeconfig);
        let log = self.directory.path().join("check.log");
        let _ = fs::remove_file(&log);
        let process = Process::start(&command, Output::together(&log)).unwrap();
        let status = process.wait(LIMIT).await.expect("the check comes to an end");
        (status.success(), fs::read_to_string(log).unwrap())
    }

    async fn end(self, operators: Vec<Operator>) {
        for operator in operators {
            operator.stop().await;
        }
        self.gateway.stop().await;
        self.control_plane.stop().await;
    }
}

async fn gateway_in_memory() -> Gateway {
    let options = GatewayOptions {
        backend: Backend::Memory((1..=9).map(session).collect()),
        instance: INSTANCE.into(),
        tenant: TENANT.into(),
        ..GatewayOptions::default()
    };
    Gateway::start(options).await.unwrap()
}

/// The HTTP status code of the operator's answer at `path`.
async fn health(operator: &Operator, path: &str) -> u16 {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.get(format!("{}{path}", operator.health_url())).send().await.unwrap().status().as_u16()
}

async fn wait_ready(operator: &Operator) {
    let check = async || {
        let http = reqwest::Client::builder().no_proxy().build()?;
        http.get(format!("{}/readyz", operator.health_url())).send().await?.error_for_status()?;
        Ok(())
    };
    operator.process().ready(Duration::from_mins(2), check).await.unwrap();
}

#[tokio::test]
async fn a_cluster_wide_install_works_everywhere_under_its_own_rights() {
    let site = Site::install(&[], json!({})).await;
    let operators = vec![site.operator("pod-1").await, site.operator("pod-2").await];
    for operator in &operators {
        wait_ready(operator).await;
    }
    for (namespace, number) in [("shop", 1), ("bank", 2), ("other", 3)] {
        site.connect(namespace, &site.gateway.url()).await;
        site.request(namespace, number, 600, json!({})).await;
    }
    for (namespace, number) in [("shop", 1), ("bank", 2), ("other", 3)] {
        site.wait_killed(namespace, number).await;
    }
    site.assert_killed_once(&[1, 2, 3]);
    let ready = format!("--ready-url={}/readyz", operators[0].health_url());
    let lease = format!("--lease={NAMESPACE}/sessionkill-operator");
    let (content, said) = site.check(&[&lease, &ready]).await;
    assert!(content && said.contains("ready"), "{said}");
    assert!(said.contains("all namespaces: kinds served, rights granted"), "{said}");
    assert!(said.contains("ClusterOceanBaseConnections: kind served, rights granted"), "{said}");
    assert!(said.contains(&format!("Lease {NAMESPACE}/sessionkill-operator: rights granted")), "{said}");
    let (content, said) = site.check(&[&format!("--lease={NAMESPACE}/another")]).await;
    let missing =
        format!("Lease {NAMESPACE}/another: may not update leases: grant it to the operator's service account");
    assert!(!content && said.contains(&missing), "{said}");
    assert_eq!(site.refusals(), [""; 0]);
    site.end(operators).await;
}

#[tokio::test]
async fn a_namespaced_install_works_in_its_namespaces_by_roles_alone() {
    let site = Site::install(&["shop", "bank"], json!({})).await;
    let operators = vec![site.operator("pod-1").await, site.operator("pod-2").await];
    for operator in &operators {
        wait_ready(operator).await;
    }
    for (namespace, number) in [("shop", 1), ("bank", 2), ("other", 3)] {
        site.connect(namespace, &site.gateway.url()).await;
        site.request(namespace, number, 600, json!({})).await;
    }
    // The operator also sweeps each namespace.
    site.request("shop", 4, 12, json!({"ttlSecondsAfterFinished": 0})).await;
    site.request("bank", 5, 12, json!({"ttlSecondsAfterFinished": 0})).await;
    site.wait_killed("shop", 1).await;
    site.wait_killed("bank", 2).await;
    for (namespace, name) in [("shop", "inc-4"), ("bank", "inc-5")] {
        eventually("the request to be removed", async || {
            let get = ["get", "sessionkill", name, "-n", namespace, "--ignore-not-found", "-o", "name"];
            let found = site.control_plane.run_kubectl(&get).await.unwrap();
            if found.is_empty() { Ok(()) } else { Err(found) }
        })
        .await;
    }
    site.assert_killed_once(&[1, 2, 4, 5]);
    // The operator has not even seen this request.
    assert_eq!(site.status("other", 3).await, json!({"observedGeneration": -1}));
    assert_eq!(site.refusals(), [""; 0]);

    let (content, said) = site.check(&["--watch-namespaces", "bank,shop"]).await;
    assert!(content, "{said}");
    for namespace in ["bank", "shop"] {
        assert!(said.contains(&format!("namespace {namespace}: kinds served, rights granted")), "{said}");
    }
    let (content, said) = site.check(&["--watch-namespaces", "other"]).await;
    let missing = "namespace other: may not list sessionkills: grant it to the operator's service account";
    assert!(!content && said.contains(missing), "{said}");
    let (content, said) = site.check(&[]).await;
    assert!(!content && said.contains("all namespaces: may not get secrets"), "{said}");
    assert_eq!(site.refusals(), [""; 0], "the check asks whether it may, and tries nothing that it may not");
    site.end(operators).await;
}

/// Of what it may do in the cluster, this is all: the rest is in the namespaces.
#[tokio::test]
async fn a_namespaced_install_uses_connections_of_no_namespace_on_request() {
    let lending = json!({"clusterConnections": {"enabled": true, "resourceNamespace": "other"}});
    let site = Site::install(&["shop", "bank"], lending).await;
    let operator = site.operator("pod-1").await;
    wait_ready(&operator).await;
    let shared = "ClusterOceanBaseConnection";
    site.connect("other", &site.gateway.url()).await;
    let connection = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": shared, "metadata": {"name": "shared"},
        "spec": {
            "alibabaCloud": {
                "regionID": "cn-hangzhou", "endpoint": site.gateway.url(),
                "credentials": {"secretRef": {"name": "aliyun-ak"}},
            },
            "allowedNamespaces": {"names": ["shop"], "selector": {"matchLabels": {"lent": "true"}}},
        },
    });
    site.control_plane.apply(&connection.to_string()).await.unwrap();
    let through = json!({"connectionRef": {"kind": shared, "name": "shared"}});
    site.request("shop", 1, 600, through.clone()).await;
    site.wait_killed("shop", 1).await;
    // Not allowed by its name: its labels are read.
    site.control_plane.run_kubectl(&["label", "namespace", "bank", "lent=true"]).await.unwrap();
    site.request("bank", 2, 600, through).await;
    site.wait_killed("bank", 2).await;
    site.assert_killed_once(&[1, 2]);
    assert_eq!(site.refusals(), [""; 0]);

    let options = ["--watch-namespaces=shop,bank", "--cluster-connections=true", "--cluster-resource-namespace=other"];
    let (content, said) = site.check(&options).await;
    assert!(content && said.contains("ClusterOceanBaseConnections: kind served, rights granted"), "{said}");
    assert!(said.contains("Secrets and Services of namespace other: rights granted"), "{said}");
    operator.stop().await;
    let binding = ["delete", "clusterrolebinding", "sessionkill-operator-cluster-connections"];
    site.control_plane.run_kubectl(&binding).await.unwrap();
    let missing = "ClusterOceanBaseConnections: may not list clusteroceanbaseconnections: grant it to";
    eventually("the check to miss the rights", async || {
        let (content, said) = site.check(&options).await;
        if !content && said.contains(missing) { Ok(()) } else { Err(said) }
    })
    .await;
    site.end(vec![]).await;
}

/// A connection by SQL, whose Service leads out of the cluster.
fn a_database_elsewhere(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "ob-user", "namespace": namespace, "labels": {"sessionkill.dev/credentials": "true"},
                "annotations": {"sessionkill.dev/servers": "ob:2881"},
            },
            "stringData": {"username": "sessionkill", "password": "hidden"},
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ob", "namespace": namespace},
            "spec": {"type": "ExternalName", "externalName": "db.example", "ports": [{"port": 2881}]},
        },
        {
            "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection",
            "metadata": {"name": "database", "namespace": namespace},
            "spec": {"sql": {
                "service": {"name": "ob"}, "cluster": "ob", "tenant": "shop", "tls": {"mode": "Disabled"},
                "credentials": {"secretRef": {"name": "ob-user"}},
            }},
        },
    ]})
}

/// Where the operator may not read Secrets, it says what to do. Anyone who may read Secrets and create role bindings
/// there can grant it.
#[tokio::test]
async fn secrets_are_read_in_those_namespaces_only_that_let_the_operator() {
    let values = json!({"rbac": {"secretsAccess": "Namespaces", "secretsNamespaces": ["shop"]}});
    let site = Site::install(&[], values).await;
    let operator = site.operator("pod-1").await;
    wait_ready(&operator).await;
    for (namespace, number) in [("shop", 1), ("bank", 2)] {
        site.connect(namespace, &site.gateway.url()).await;
        site.request(namespace, number, 600, json!({})).await;
    }
    site.wait_killed("shop", 1).await;
    eventually("the connection to say what it lacks", async || {
        let get = ["get", "oceanbaseconnection", "prod-ob", "-n", "bank", "-o", "jsonpath={.status.conditions}"];
        let said = site.control_plane.run_kubectl(&get).await.unwrap();
        let words = [
            "CredentialsUnavailable",
            "secret aliyun-ak may not be read",
            "let the operator's service account get it in namespace bank, by rbac.secretsNamespaces",
        ];
        if words.iter().all(|word| said.contains(word)) { Ok(()) } else { Err(said) }
    })
    .await;
    site.assert_killed_once(&[1]);
    // The same binding lets it read the Services of databases.
    site.control_plane.apply(&a_database_elsewhere("shop").to_string()).await.unwrap();
    eventually("the connection to say what is wrong with its Service", async || {
        let get = ["get", "oceanbaseconnection", "database", "-n", "shop", "-o", "jsonpath={.status.conditions}"];
        let said = site.control_plane.run_kubectl(&get).await.unwrap();
        let is_told = said.contains("EndpointNotAllowed") && said.contains("service ob is of type ExternalName");
        if is_told { Ok(()) } else { Err(said) }
    })
    .await;

    let role =
        ["create", "role", "owner", "-n", "bank", "--verb=get,create", "--resource=secrets,services,rolebindings"];
    site.control_plane.run_kubectl(&role).await.unwrap();
    let owner = ["create", "rolebinding", "owner", "-n", "bank", "--role=owner", "--user=bob"];
    site.control_plane.run_kubectl(&owner).await.unwrap();
    let account = format!("--serviceaccount={NAMESPACE}:{ACCOUNT}");
    let clusterrole = format!("--clusterrole={ACCOUNT}-secrets");
    let bind = ["create", "rolebinding", "sessionkill-secrets", "-n", "bank", &clusterrole, &account, "--as=bob"];
    // Try again, as a role takes effect some time after its binding is created.
    eventually("the owner's right", async || {
        site.control_plane.run_kubectl(&bind).await.map_err(|error| error.to_string())
    })
    .await;
    site.wait_killed("bank", 2).await;
    site.assert_killed_once(&[1, 2]);

    let (content, said) = site.check(&["--secrets-namespaces", "shop,bank"]).await;
    assert!(content && said.contains("all namespaces: kinds served, rights granted"), "{said}");
    assert!(said.contains("Secrets and Services of namespace bank: rights granted"), "{said}");
    let (content, said) = site.check(&["--secrets-namespaces", "shop,other"]).await;
    for missing in ["namespace other: may not get secrets", "namespace other: may not get services"] {
        assert!(!content && said.contains(missing), "{said}");
    }
    let (content, said) = site.check(&[]).await;
    assert!(!content && said.contains("all namespaces: may not get secrets"), "{said}");
    site.end(vec![operator]).await;
}

#[tokio::test]
async fn a_namespace_without_rights_holds_nobody_else_up() {
    let site = Site::install(&["shop", "bank"], json!({})).await;
    let delete = ["delete", "rolebinding", ACCOUNT, "-n", "bank"];
    site.control_plane.run_kubectl(&delete).await.unwrap();
    let (content, said) = eventually("the rights to be gone", async || {
        let (content, said) = site.check(&["--watch-namespaces", "bank"]).await;
        if content { Err(said) } else { Ok((content, said)) }
    })
    .await;
    assert!(!content && said.contains("namespace bank: may not"), "{said}");

    let operator = site.operator("pod-1").await;
    site.connect("shop", &site.gateway.url()).await;
    site.request("shop", 1, 600, json!({})).await;
    site.wait_killed("shop", 1).await;
    assert_eq!(health(&operator, "/readyz").await, 503, "not all namespaces are watched");
    assert_eq!(health(&operator, "/livez").await, 200, "a restart would not help");

    // When the rights are granted again, the operator goes on without a restart.
    let bind = ["create", "rolebinding", ACCOUNT, "-n", "bank", "--role", ACCOUNT];
    let account = format!("--serviceaccount={NAMESPACE}:{ACCOUNT}");
    site.control_plane.run_kubectl(&[&bind[..], &[&account]].concat()).await.unwrap();
    wait_ready(&operator).await;
    site.connect("bank", &site.gateway.url()).await;
    site.request("bank", 2, 600, json!({})).await;
    site.wait_killed("bank", 2).await;
    site.assert_killed_once(&[1, 2]);
    site.end(vec![operator]).await;
}

/// For example, the definitions were forgotten, or the API server refused them.
#[tokio::test]
async fn without_the_definitions_it_says_what_to_install_and_works_once_they_are_there() {
    const SENTENCE: &str = "the API server does not serve this kind: install the definitions of this version";
    let site = Site::install(&["shop"], json!({"crds": {"install": false}})).await;
    let (content, said) = site.check(&["--watch-namespaces", "shop"]).await;
    assert!(!content);
    for kind in ["sessionkills", "oceanbaseconnections", "sessionkillreceipts"] {
        assert!(said.contains(&format!("namespace shop: cannot list {kind}: {SENTENCE}")), "{said}");
    }
    let operator = site.operator("pod-1").await;
    let log = eventually("the log to say so", async || {
        let log = operator.logs().unwrap();
        if log.contains("watch failed, trying again") && log.contains(SENTENCE) { Ok(log) } else { Err(log) }
    })
    .await;
    for text in [&said, &log] {
        let shown = ["Status {", "Some(", "Failed to parse"].into_iter().find(|form| text.contains(form));
        assert_eq!(shown, None, "{text}");
    }
    assert_eq!(health(&operator, "/readyz").await, 503);

    let crds = repository("crds");
    let install = ["apply", "--server-side", "-f", crds.to_str().unwrap()];
    site.control_plane.run_kubectl(&install).await.unwrap();
    // Try again, as kubectl caches the kinds of the API server.
    eventually("the kinds", async || {
        let kinds = ["api-resources", "--api-group=sessionkill.dev", "--no-headers"];
        let listed = site.control_plane.run_kubectl(&kinds).await.map_err(|error| error.to_string())?;
        if listed.lines().count() == 4 { Ok(()) } else { Err(listed) }
    })
    .await;
    wait_ready(&operator).await;
    site.connect("shop", &site.gateway.url()).await;
    site.request("shop", 1, 600, json!({})).await;
    site.wait_killed("shop", 1).await;
    site.assert_killed_once(&[1]);
    site.end(vec![operator]).await;
}

/// The gateway's certificate is not signed by any authority that the machine trusts.
#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_beside_the_public_ones() {
    let certificate = Certificate::new().unwrap();
    let directory = scratch::directory().unwrap();
    let gateway = gateway_in_memory().await;
    let proxy = FaultProxy::new(&gateway.url(), None).unwrap();
    let url = proxy.tls_door("gateway", &certificate).await.unwrap();
    let endpoint = url.trim_start_matches("https://");
    let values = json!({
        "extraCA": {"configMap": "corporate-ca"},
        "operator": {"allowEndpoints": [endpoint]},
    });
    let site = Site::install(&["shop"], values).await;
    let bundle = directory.path().join("ca.crt");
    fs::write(&bundle, certificate.pem()).unwrap();
    let from = format!("--from-file=ca.crt={}", bundle.display());
    let create = ["create", "configmap", "corporate-ca", "-n", NAMESPACE, &from];
    site.control_plane.run_kubectl(&create).await.unwrap();
    let operator = site.operator("pod-1").await;
    site.connect("shop", endpoint).await;
    site.request("shop", 1, 600, json!({})).await;
    site.wait_killed("shop", 1).await;
    assert_eq!(gateway.kills_per_session().len(), 1);
    site.end(vec![operator]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_logged_and_traced_is_as_the_values_say() {
    let values = json!({
        "logFilter": {"configMap": "logging"},
        "tracing": {"endpoint": "http://127.0.0.1:4318"},
    });
    let site = Site::install(&["shop"], values).await;
    let create = ["create", "configmap", "logging", "-n", NAMESPACE, "--from-literal=filter=info,sessionkill=trace"];
    site.control_plane.run_kubectl(&create).await.unwrap();
    let operator = site.operator("pod-1").await;
    eventually("the filter of the ConfigMap", async || {
        let log = operator.logs().unwrap();
        if log.contains("log filter changes") && log.contains("info,sessionkill=trace") { Ok(()) } else { Err(log) }
    })
    .await;
    let says_that_it_sends_none =
        operator.logs().unwrap().contains("no traces are sent: this build has no feature otlp");
    assert_eq!(says_that_it_sends_none, !cfg!(feature = "otlp"));
    site.end(vec![operator]).await;
}
