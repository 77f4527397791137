//! The control plane as the product's tests need it, on the real programs.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use testbed::{
    control_plane::{ControlPlane, Request, client_for},
    process::{Output, Process},
    scratch,
};

const LIMIT: Duration = Duration::from_mins(2);

const ACCOUNT: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: product}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: product}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: product}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: product}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: reader, namespace: product}
";

#[tokio::test]
async fn a_service_account_can_do_exactly_what_rbac_allows_and_the_audit_log_counts_it() {
    let directory = scratch::directory().unwrap();
    let control_plane = ControlPlane::start(directory.path()).await.unwrap();
    control_plane.apply(ACCOUNT).await.unwrap();
    let kubeconfig = control_plane.service_account_kubeconfig("product", "reader").await.unwrap();
    let client = client_for(&kubeconfig).await.unwrap();

    let allowed: Api<ConfigMap> = Api::namespaced(client.clone(), "product");
    // RBAC is served from a cache that follows the write.
    wait_until(async || Ok(allowed.list(&ListParams::default()).await.map(drop)?)).await;
    let refused: Api<Secret> = Api::namespaced(client, "product");
    let error = refused.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.is_forbidden()), "{error}");

    wait_until(async || {
        let counts = control_plane.requests_by_verb("system:serviceaccount:product:reader")?;
        let count = |resource| counts.get(&Request::new("list", resource, "")).copied().unwrap_or(0);
        ensure!(count("configmaps") >= 1 && count("secrets") == 1, "{counts:?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn pods_are_admitted_as_in_a_cluster_with_pod_security() {
    let directory = scratch::directory().unwrap();
    let control_plane = ControlPlane::start(directory.path()).await.unwrap();
    let namespace = r"
apiVersion: v1
kind: Namespace
metadata:
  name: strict
  labels: {pod-security.kubernetes.io/enforce: restricted}
";
    control_plane.apply(namespace).await.unwrap();
    let pod = |security: Value| {
        let containers = [json!({"name": "c", "image": "i", "securityContext": security})];
        let metadata = json!({"name": "p", "namespace": "strict"});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}).to_string()
    };
    let refusal = control_plane.apply(&pod(json!({}))).await.unwrap_err().to_string();
    assert!(refusal.contains("violates PodSecurity"), "{refusal}");
    let restricted = json!({
        "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    control_plane.apply(&pod(restricted)).await.unwrap();
}

#[tokio::test]
async fn a_restarted_api_server_is_the_same_one_to_its_clients() {
    let directory = scratch::directory().unwrap();
    let control_plane = ControlPlane::start(directory.path()).await.unwrap();
    let client = control_plane.client().await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let map = serde_json::from_value(serde_json::json!({"metadata": {"name": "kept"}})).unwrap();
    wait_until(async || Ok(maps.create(&PostParams::default(), &map).await.map(drop)?)).await;
    let before = control_plane.pids();

    control_plane.stop_api_server();
    assert!(maps.get("kept").await.is_err());
    control_plane.start_api_server().await.unwrap();
    maps.get("kept").await.unwrap();

    let after = control_plane.pids();
    assert_eq!(before.etcd, after.etcd);
    assert_ne!(before.api_server, after.api_server);
    assert!(control_plane.run_kubectl(&["version"]).await.unwrap().contains("Server Version"));
}

/// The parent here is the testbed's own command, because a test cannot `SIGKILL` itself.
#[tokio::test]
async fn children_vanish_when_their_parent_is_killed() {
    let directory = scratch::directory().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.arg("hold").arg(directory.path());
    let parent = Process::start(&command, Output::together(directory.path().join("parent.log"))).unwrap();
    let child = parent
        .ready(LIMIT, async || {
            let pid = fs::read_to_string(directory.path().join("child.log"))?;
            ensure!(pid.ends_with('\n'), "the child has not said its process id");
            Ok(format!("/proc/{}", pid.trim()))
        })
        .await
        .unwrap();
    assert!(Path::new(&child).exists());
    parent.kill();
    wait_until(async || {
        let state = fs::read_to_string(format!("{child}/stat")).unwrap_or_default();
        // Nobody may reap it in a container without an init process: a zombie has ended.
        ensure!(state.is_empty() || state.contains(") Z "), "still there: {state}");
        Ok(())
    })
    .await;
}

async fn wait_until(mut check: impl AsyncFnMut() -> anyhow::Result<()>) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while let Err(error) = check().await.context("the condition does not hold in time") {
        assert!(tokio::time::Instant::now() < deadline, "{error:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
