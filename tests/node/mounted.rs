//! What a kubelet mounts into Pods and changes while they run: it looks once in a minute.

use std::{collections::BTreeSet, fs, time::Instant};

use serde_json::{Value, json};
use testbed::{chart, stack::SERVICE_ACCOUNT};

use crate::ground::{Ground, eventually, figure};

/// A release beside the other tests', which works in its own namespace only and has one replica.
async fn release(ground: &Ground, namespace: &str, values: &Value) {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}});
    ground.site.stack.control_plane.apply(&object.to_string()).await.unwrap();
    let first: Value = serde_json::from_str(&fs::read_to_string(ground.values()).unwrap()).unwrap();
    let mut all = json!({
        "image": first["image"], "watchNamespaces": [namespace], "replicas": 1, "crds": {"install": false},
        "userRoles": {"create": false}, "admissionLimits": {"enabled": false},
    });
    all.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
    let file = ground.directory(namespace).join("values.json");
    fs::write(&file, all.to_string()).unwrap();
    let (chart, file) = (chart::directory(), file.to_str().unwrap().to_owned());
    let install = ["install", SERVICE_ACCOUNT, chart.to_str().unwrap(), "--namespace", namespace, "--values", &file];
    let kubeconfig = ground.site.stack.control_plane.kubeconfig();
    ground.helm.run(Some(kubeconfig), &[&install[..], &["--wait"]].concat()).await.unwrap();
}

/// An error while the kubelet of its node is started again.
async fn logs(ground: &Ground, namespace: &str) -> Result<String, String> {
    let logs = ["logs", "-n", namespace, &format!("deployment/{SERVICE_ACCOUNT}"), "--tail=-1"];
    ground.site.stack.control_plane.run_kubectl(&logs).await.map_err(|error| error.to_string())
}

/// The only Pod of a release, which must be the one that there was.
async fn pod(ground: &Ground, namespace: &str) -> Value {
    let pods: Value =
        serde_json::from_str(&ground.kubectl(&["get", "pods", "-n", namespace, "-o", "json"]).await).unwrap();
    assert_eq!(pods["items"].as_array().unwrap().len(), 1, "{pods}");
    pods["items"][0].clone()
}

pub async fn a_log_filter_of_a_config_map_is_followed(ground: &'static Ground) {
    let namespace = "filtered";
    release(ground, namespace, &json!({"logFilter": {"configMap": "logging"}})).await;
    let before = pod(ground, namespace).await;
    let filter = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "logging", "namespace": namespace},
        "data": {"filter": "debug"},
    });
    ground.site.stack.control_plane.apply(&filter.to_string()).await.unwrap();
    let begun = Instant::now();
    eventually("the filter", async || {
        let logs = logs(ground, namespace).await?;
        if logs.contains("log filter changes") && logs.contains(r#""level":"DEBUG""#) { Ok(()) } else { Err(logs) }
    })
    .await;
    figure("a ConfigMap until its log filter is in force", begun);
    let after = pod(ground, namespace).await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0);
}

/// The tokens, by their IDs, that the account has used, as the API server has logged them.
fn tokens(ground: &Ground, account: &str) -> BTreeSet<String> {
    let log = fs::read_to_string(ground.site.stack.control_plane.audit_log()).unwrap();
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = entries.filter(|entry| entry["user"]["username"] == account);
    own.filter_map(|entry| {
        let id = &entry["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
        id.as_str().map(str::to_owned)
    })
    .collect()
}

/// A kubelet that is started again knows nothing of tokens that it has given: it asks for new ones.
pub async fn a_token_that_is_rotated_is_used_without_a_restart(ground: &'static Ground) {
    let namespace = "rotated";
    let account = format!("system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}");
    release(ground, namespace, &json!({})).await;
    let before = pod(ground, namespace).await;
    eventually("requests", async || if tokens(ground, &account).len() == 1 { Ok(()) } else { Err("none") }).await;
    let node = before["spec"]["nodeName"].as_str().unwrap();
    ground.nodes().node(node).unwrap().restart_kubelet().unwrap();
    let begun = Instant::now();
    eventually("the new token", async || {
        let used = tokens(ground, &account);
        if used.len() > 1 { Ok(()) } else { Err(format!("{used:?}")) }
    })
    .await;
    figure("a new token until it is used", begun);
    let after = pod(ground, namespace).await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0);
    eventually("the logs", async || {
        let logs = logs(ground, namespace).await?;
        assert!(!logs.contains("Unauthorized"), "{logs}");
        Ok::<_, String>(())
    })
    .await;
}
