//! What is removed or updated after a request has ended, and what must stay.

use jiff::Timestamp;
use kube::api::DeleteParams;
use serde_json::json;

use crate::scene::{Request as _, Scene, Shown as _, eventually, in_seconds, until};

#[tokio::test]
async fn a_finished_request_goes_after_its_ttl_but_never_before_not_after_time_and_its_receipt_stays_longer() {
    let scene = Scene::ready("ttl").await;
    scene.connection(json!({"requestTimeoutSeconds": 1})).await;
    let not_after = in_seconds(5);
    let request = scene.request("inc-1").not_after(not_after).ttl(0);
    request.create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled");
    // A TTL of 86,400 s, which is a day: this request and its receipt must stay.
    scene.request("kept").sessions([2]).ttl(86_400).create().await;
    scene.wait_finished("kept").await;

    let gone = eventually("the request to be removed", async || match scene.requests().get_opt("inc-1").await {
        Ok(None) => Ok(Timestamp::now()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(gone >= not_after, "removed {gone}, before {not_after}");
    assert_eq!(scene.receipts().await.len(), 2, "the receipts stay");

    // A GitOps tool creates the request again.
    request.create().await;
    scene.wait_for("inc-1", "to say AlreadyExecuted", |it| (it.reason() == "AlreadyExecuted").then_some(())).await;
    scene.assert_killed_once([1, 2]);

    let kept = scene.receipts().await.into_iter().find(|receipt| receipt.spec.session_kill_ref.name == "inc-1");
    let due = kept.unwrap().spec.settle_deadline_time.0 + jiff::SignedDuration::from_secs(60);
    let removed = eventually("the receipt to be removed", async || {
        let receipts = scene.receipts().await;
        if receipts.len() == 1 { Ok(Timestamp::now()) } else { Err(json!(receipts).to_string()) }
    })
    .await;
    assert!(removed >= due, "removed {removed}, before {due}");
    assert_eq!(scene.receipt().await.spec.session_kill_ref.name, "kept");
    scene.requests().get("kept").await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn an_edit_after_the_end_is_observed_and_changes_nothing_else() {
    let scene = Scene::ready("edited").await;
    scene.request("inc-1").create().await;
    let ended = scene.wait_finished("inc-1").await;
    scene.edit("inc-1", json!({"spec": {"ttlSecondsAfterFinished": 3600}})).await;
    let observed = scene
        .wait_for("inc-1", "to be observed again", |object| {
            let generation = object.status.as_ref().map(|status| status.observed_generation);
            (generation == object.metadata.generation).then(|| object.clone())
        })
        .await;
    assert_eq!(observed.metadata.generation, Some(2));
    assert!(observed.conditions().iter().all(|condition| condition.observed_generation == Some(2)));
    assert_eq!(observed.summary(), ended.summary());
    let (before, after) = (ended.status.unwrap(), observed.status.unwrap());
    assert_eq!((before.completion_time, before.sessions), (after.completion_time, after.sessions));
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_ttl_shorter_than_the_time_left_does_not_open_the_way_for_a_second_kill() {
    let scene = Scene::ready("short-ttl").await;
    let not_after = in_seconds(5);
    scene.request("inc-1").not_after(not_after).ttl(0).create().await;
    scene.wait_finished("inc-1").await;
    until(not_after - jiff::SignedDuration::from_secs(1)).await;
    scene.requests().get("inc-1").await.expect("still there a second before its notAfterTime");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// An admission webhook or a policy of the cluster may refuse the deletion.
#[tokio::test]
async fn a_request_that_may_not_be_removed_keeps_no_other_from_it() {
    let scene = Scene::ready("undeletable-request").await;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "keep-a"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["sessionkill.dev"], "apiVersions": ["*"], "operations": ["DELETE"],
                "resources": ["sessionkills"],
            }]},
            "validations": [{
                "expression": format!("request.namespace != '{}' || request.name != 'a'", scene.namespace),
                "reason": "Forbidden",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "keep-a"}, "spec": {"policyName": "keep-a", "validationActions": ["Deny"]},
    });
    for object in [&policy, &binding] {
        scene.cluster.control_plane.apply(&object.to_string()).await.unwrap();
    }
    let not_after = in_seconds(20);
    let a = scene.request("a").not_after(not_after).ttl(0);
    a.create().await;
    eventually("the policy to hold", async || {
        let tried = scene.requests().delete("a", &DeleteParams { dry_run: true, ..DeleteParams::default() }).await;
        if tried.is_err() { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    scene.request("b").sessions([2]).not_after(not_after).ttl(0).create().await;
    eventually("the other request to be removed", async || match scene.requests().get_opt("b").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    scene.requests().get("a").await.unwrap();
    assert!(scene.logs().contains("object not swept"));

    let delete = ["delete", "validatingadmissionpolicybinding", "keep-a"];
    scene.cluster.control_plane.run_kubectl(&delete).await.unwrap();
    eventually("the request to be removed", async || match scene.requests().get_opt("a").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}
