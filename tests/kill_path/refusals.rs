//! A status repeats the API server's own message for a refusal, and only once. The user can act on it.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::scene::{Request as _, Scene, eventually};

/// Waits until the API server refuses to create another object in this namespace with an error that has `word`. It then
/// refuses a claim as well.
async fn in_force(scene: &Scene, word: &str) {
    let objects: Api<ConfigMap> = scene.api();
    let object: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "tried"}})).unwrap();
    let tried = PostParams { dry_run: true, ..PostParams::default() };
    eventually(&format!("the API server to refuse with {word}"), async || {
        match objects.create(&tried, &object).await {
            Err(kube::Error::Api(status)) if status.message.contains(word) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// Checks that the request waits, and that its message ends with `sentence`, unchanged and only once.
async fn waits_with(scene: &Scene, sentence: &str) {
    scene.operator().await;
    scene.request("inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "Pending").await;
    let told = waiting.message();
    assert!(told.starts_with("the API server refuses what the operator needs: create SessionKillReceipt: "), "{told}");
    assert!(told.ends_with(sentence) && told.matches(sentence).count() == 1, "{told}");
    assert!(told.matches("orbidden").count() <= 1, "{told}");
    scene.assert_nothing_sent();
}

async fn goes_on(scene: Scene) {
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_quota_is_told_in_the_servers_sentence() {
    let scene = Scene::set("quota").await;
    let counted = "count/sessionkillreceipts.sessionkill.dev";
    let (none, quotas) = (json!({counted: "0", "count/configmaps": "0"}), scene.api::<ResourceQuota>());
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": none}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    // No controller runs here that would compute the quota's use.
    let status = json!({"status": {"hard": none, "used": none}});
    quotas.patch_status("none", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    in_force(&scene, "exceeded quota").await;
    waits_with(
        &scene,
        &format!("exceeded quota: none, requested: {counted}=1, used: {counted}=0, limited: {counted}=0"),
    )
    .await;
    quotas.delete("none", &DeleteParams::default()).await.unwrap();
    goes_on(scene).await;
}

#[tokio::test]
async fn a_policy_is_told_in_the_servers_sentence() {
    let scene = Scene::set("denied-by-policy").await;
    let name = scene.namespace.clone();
    let sentence = "nobody claims here: ask the platform team";
    let rule = |group: &str, version: &str, resource: &str| json!({"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": [resource]});
    let policy: Value = json!({"metadata": {"name": name}, "spec": {
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
            "resourceRules": [rule("sessionkill.dev", "v1alpha1", "sessionkillreceipts"), rule("", "v1", "configmaps")],
        },
        "validations": [{"expression": "false", "message": sentence}],
    }});
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(scene.client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(scene.client.clone());
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    in_force(&scene, sentence).await;
    waits_with(&scene, sentence).await;
    bindings.delete(&name, &DeleteParams::default()).await.unwrap();
    policies.delete(&name, &DeleteParams::default()).await.unwrap();
    goes_on(scene).await;
}
