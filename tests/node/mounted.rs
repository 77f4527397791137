//! Files that a kubelet mounts into Pods and changes while they run. It checks them once a minute.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::stack::SERVICE_ACCOUNT;

use crate::{
    ground::{Ground, eventually, figure, within},
    release::Release,
};

pub async fn a_log_filter_of_a_config_map_is_followed(ground: &'static Ground) {
    let namespace = "filtered";
    let release = Release::install(ground, namespace, &json!({"logFilter": {"configMap": "logging"}})).await;
    let before = release.pod().await;
    let filter = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "logging", "namespace": namespace},
        "data": {"filter": "debug"},
    });
    ground.site.stack.control_plane.apply(&filter.to_string()).await.unwrap();
    let begun = Instant::now();
    eventually("the filter", async || {
        let logs = release.logs().await?;
        if logs.contains("log filter changes") && logs.contains(r#""level":"DEBUG""#) { Ok(()) } else { Err(logs) }
    })
    .await;
    figure("a ConfigMap until its log filter is in force", begun);
    assert_lives_on(&release, &before).await;
}

/// Checks that the Pod is the same and was not restarted.
async fn assert_lives_on(release: &Release<'_>, before: &Value) {
    let after = release.pod().await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["status"]["containerStatuses"][0]["restartCount"], 0);
}

/// The IDs of the tokens that the Pod has used since then and the API server has accepted, from the audit log.
fn tokens(ground: &Ground, pod: &Value, since: Timestamp) -> BTreeSet<String> {
    let log = fs::read_to_string(ground.site.stack.control_plane.audit_log()).unwrap();
    // Filter the text first: the log is very long, and most lines are about others.
    let own = log.lines().filter(|line| line.contains(pod["metadata"]["uid"].as_str().unwrap()));
    let entries = own.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_since = |entry: &Value| {
        let received = entry["requestReceivedTimestamp"].as_str().unwrap_or_default().parse::<Timestamp>();
        received.is_ok_and(|received| received >= since)
    };
    let own = entries.filter(|entry| {
        entry["user"]["extra"]["authentication.kubernetes.io/pod-uid"][0] == pod["metadata"]["uid"] && is_since(entry)
    });
    own.filter_map(|entry| {
        let id = &entry["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
        id.as_str().map(str::to_owned)
    })
    .collect()
}

/// Waits until the Pod has used its first token, and checks that it has used no other one.
async fn first_token(ground: &Ground, pod: &Value) -> BTreeSet<String> {
    eventually("requests", async || {
        let used = tokens(ground, pod, Timestamp::MIN);
        if used.len() == 1 { Ok(used) } else { Err(format!("{used:?}")) }
    })
    .await
}

/// Checks that the same Pod goes on and nothing was refused.
async fn assert_not_noticed(release: &Release<'_>, before: &Value) {
    assert_lives_on(release, before).await;
    let logs = eventually("the logs", async || release.logs().await).await;
    assert!(!logs.contains("Unauthorized"), "{logs}");
}

/// A kubelet forgets its tokens when it is restarted, and asks for new ones.
pub async fn a_token_that_is_rotated_is_used_without_a_restart(ground: &'static Ground) {
    let release = Release::install(ground, "rotated", &json!({})).await;
    let before = release.pod().await;
    let first = first_token(ground, &before).await;
    let node = before["spec"]["nodeName"].as_str().unwrap();
    ground.nodes().node(node).unwrap().restart_kubelet().unwrap();
    let begun = Instant::now();
    eventually("the new token", async || {
        let used = tokens(ground, &before, Timestamp::MIN);
        if used.is_superset(&first) && used.len() > 1 { Ok(()) } else { Err(format!("{used:?}")) }
    })
    .await;
    figure("a new token until it is used", begun);
    assert_not_noticed(&release, &before).await;
}

/// The shortest lifetime of a token that the API server accepts. The kubelet replaces a token after four fifths of its
/// lifetime.
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);
/// Longer than the API server still accepts an expired token.
const LEEWAY: SignedDuration = SignedDuration::from_mins(2);

/// The test does nothing to speed it up, so it takes as long as the token's lifetime.
pub async fn a_token_that_expires_is_replaced_without_a_restart(ground: &'static Ground) {
    let namespace = "expired";
    let release = Release::install(ground, namespace, &json!({})).await;
    let token = json!({"name": "token", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": SHORTEST.as_secs()}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]}});
    let mount =
        json!({"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true});
    let patch = json!({"spec": {"template": {"spec": {
        "automountServiceAccountToken": false, "volumes": [token],
        "containers": [{"name": "operator", "volumeMounts": [mount]}],
    }}}});
    let deployment = format!("deployment/{SERVICE_ACCOUNT}");
    ground.kubectl(&["patch", &deployment, "-n", namespace, "-p", &patch.to_string()]).await;
    ground.kubectl(&["rollout", "status", &deployment, "-n", namespace, "--timeout=180s"]).await;
    let before = eventually("the end of the Pod before", async || {
        let pods = release.pods().await;
        if let [only] = pods.as_slice() { Ok(only.clone()) } else { Err(format!("{} Pods", pods.len())) }
    })
    .await;
    let first = first_token(ground, &before).await;
    let expired = Timestamp::now() + SHORTEST + LEEWAY;
    within(Duration::from_mins(20), "requests when the first token has expired", async || {
        if Timestamp::now() < expired {
            return Err("it has not".to_owned());
        }
        let used = tokens(ground, &before, expired);
        if !used.is_empty() && used.is_disjoint(&first) { Ok(()) } else { Err(format!("{used:?}")) }
    })
    .await;
    assert_not_noticed(&release, &before).await;
}
