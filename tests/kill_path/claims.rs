//! Claims that cannot be released or recorded as planned. Their requests still end, and nothing is sent twice.

use std::time::Duration;

use http::Method;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use sessionkill::api::{SessionKillReceipt, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind};

use crate::scene::{At, Launch, Request as _, Scene, eventually};

#[tokio::test]
async fn a_claim_that_somebody_edits_while_it_is_released_is_released_and_made_again() {
    let scene = Scene::set("edited-claim").await;
    let relay = scene.api_relay().await;
    let release = relay.hold(At::Request, Method::DELETE, "sessionkillreceipts");
    scene.launch(Launch { api: Some(&relay), ..Launch::default() }).await;
    scene.inject(Fault::new(FaultKind::Throttle).retry_after(Duration::from_secs(2)).times(1));
    scene.request("inc-1").create().await;
    release.reached().await;
    let first = scene.receipt().await;
    let label = Patch::Merge(json!({"metadata": {"labels": {"incident": "4711"}}}));
    let receipts = scene.api::<SessionKillReceipt>();
    receipts.patch(first.metadata.name.as_deref().unwrap(), &PatchParams::default(), &label).await.unwrap();
    release.release();

    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.wait_recorded("inc-1").await;
    assert_ne!(scene.receipt().await.spec.attempt_id, first.spec.attempt_id, "it is another claim");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// The API server may carry out a request long after the client's time-out.
#[tokio::test]
async fn a_claim_whose_first_try_is_stored_after_its_release_is_deleted_and_made_again() {
    let scene = Scene::set("claim-stored-late").await;
    let relay = scene.api_relay().await;
    relay.answer_once(504, Method::POST, "sessionkillreceipts");
    let release = relay.hold(At::Answer, Method::DELETE, "sessionkillreceipts");
    let call = scene.gateway_relay().await;
    scene.connection(json!({"endpoint": call.url()})).await;
    let held = Scene::hold_call(&call, At::Request);
    scene.launch(Launch { api: Some(&relay), allow: vec![call.url()], ..Launch::default() }).await;
    scene.inject(Fault::new(FaultKind::Throttle).retry_after(Duration::from_secs(2)).times(1));
    scene.request("inc-1").create().await;
    held.reached().await;
    let claim = scene.receipt().await;
    held.release();
    release.reached().await;
    let mut late = SessionKillReceipt::new(claim.metadata.name.as_deref().unwrap(), claim.spec.clone());
    late.metadata.namespace = Some(scene.namespace.clone());
    scene.api::<SessionKillReceipt>().create(&PostParams::default(), &late).await.unwrap();
    release.release();

    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.wait_recorded("inc-1").await;
    assert_ne!(scene.receipt().await.spec.attempt_id, claim.spec.attempt_id, "it is another claim");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// An older definition refuses the record, as it lacks a value.
#[tokio::test]
async fn a_record_that_the_api_server_refuses_keeps_no_later_request_of_the_same_content_from_its_end() {
    let (scene, relay) = Scene::relayed("refused-record", 3).await;
    scene.operator_through(&relay).await;
    scene.request("recorded").sessions([2]).create().await;
    scene.wait_finished("recorded").await;
    scene.wait_recorded("recorded").await;
    refuse_records(&scene).await;

    let request = scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1);
    request.create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    request.named("inc-2").create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "AlreadyExecuted");
    assert!(scene.receipts().await.iter().any(|receipt| receipt.status.is_none()), "it has no record");

    let delete = ["delete", "validatingadmissionpolicybinding", "refuse-records"];
    scene.cluster.control_plane.run_kubectl(&delete).await.unwrap();
    assert_eq!(scene.wait_recorded("inc-1").await.outcome.as_str(), "SessionsKilled");
    let lines = scene.audit_lines();
    let of_it = lines.iter().filter(|line| line.to_string().contains("\"inc-1\"")).count();
    assert_eq!(of_it, 1, "{lines:?}");
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

/// Makes the API server refuse every new record in the namespace of `scene`, and waits until it does. The scene must
/// have one receipt, which is used for the tries.
async fn refuse_records(scene: &Scene) {
    const WHY: &str = "no records for now";
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "refuse-records"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["sessionkill.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
                "resources": ["sessionkillreceipts/status"],
            }]},
            "validations": [{"expression": format!("request.namespace != '{}'", scene.namespace), "message": WHY}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "refuse-records"},
        "spec": {"policyName": "refuse-records", "validationActions": ["Deny"]},
    });
    for object in [&policy, &binding] {
        scene.cluster.control_plane.apply(&object.to_string()).await.unwrap();
    }
    let recorded = scene.receipt().await;
    let same = Patch::Merge(json!({"status": recorded.status}));
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    eventually("the policy to hold", async || {
        let receipts = scene.api::<SessionKillReceipt>();
        match receipts.patch_status(recorded.metadata.name.as_deref().unwrap(), &params, &same).await {
            Err(error) if error.to_string().contains(WHY) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
