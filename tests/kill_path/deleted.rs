//! Requests that are deleted while a finalizer keeps the object. Each one still gets its outcome.

use std::time::Duration;

use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use sessionkill::api::{SessionKill, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind};

use crate::scene::{At, Request as _, Scene, Shown as _, in_seconds};

/// Creates `object` with a finalizer, so that it stays in the API server when it is deleted.
async fn create_held(scene: &Scene, mut object: SessionKill) {
    object.metadata.finalizers = Some(vec!["example.com/archive".to_owned()]);
    scene.requests().create(&PostParams::default(), &object).await.unwrap();
}

async fn delete(scene: &Scene, name: &str) {
    scene.requests().delete(name, &DeleteParams::default()).await.unwrap();
}

/// Removes the finalizer.
async fn let_go(scene: &Scene, name: &str) {
    scene.edit(name, json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test]
async fn a_request_that_was_not_sent_ends_as_deleted_whatever_it_waited_for() {
    let scene = Scene::set("deleted-unsent").await;
    scene.operator().await;
    let names = ["suspended", "scheduled", "no-connection"];
    create_held(&scene, scene.request("suspended").suspended().object()).await;
    create_held(&scene, scene.request("scheduled").not_before(in_seconds(500)).sessions([2]).object()).await;
    create_held(&scene, scene.request("no-connection").through("nowhere").sessions([3]).object()).await;
    for (name, reason) in names.into_iter().zip(["Suspended", "Scheduled", "ConnectionNotFound"]) {
        scene.wait_for_reason(name, reason).await;
        delete(&scene, name).await;
    }
    for name in names {
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.summary(), ["Succeeded=False(Deleted)", "Ready=True(Deleted)"]);
        assert_eq!(ended.message(), "deleted before it was sent; nothing was sent");
        assert_eq!(ended.outcomes(), [(SessionOutcome::Skipped, SessionReason::Deleted)]);
        let status = ended.status.unwrap();
        assert_eq!(Some(status.observed_generation), ended.metadata.generation);
        assert!(status.next_attempt_time.is_none());
        scene.wait_for_event(name, "Deleted").await;
        let_go(&scene, name).await;
    }
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_request_that_is_deleted_before_an_operator_sees_it_ends_as_deleted() {
    let scene = Scene::set("deleted-unseen").await;
    create_held(&scene, scene.request("inc-1").object()).await;
    delete(&scene, "inc-1").await;
    scene.operator().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "Deleted");
    scene.assert_nothing_sent();
    let_go(&scene, "inc-1").await;
    scene.end().await;
}

#[tokio::test]
async fn what_was_sent_before_the_deletion_keeps_its_outcome() {
    let (scene, relay) = Scene::relayed("deleted-sent", 30).await;
    scene.operator_through(&relay).await;
    let call = Scene::hold_call(&relay, At::Answer);
    create_held(&scene, scene.request("inc-1").object()).await;
    call.reached().await;
    delete(&scene, "inc-1").await;
    call.release();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    let_go(&scene, "inc-1").await;
    scene.end().await;
}

#[tokio::test]
async fn what_a_crash_left_of_a_request_in_deletion_is_found_out() {
    let (scene, relay) = Scene::relayed("deleted-crash", 3).await;
    let first = scene.operator_through(&relay).await;
    let call = Scene::hold_call(&relay, At::Answer);
    create_held(&scene, scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1).object()).await;
    call.reached().await;
    delete(&scene, "inc-1").await;
    first.kill();
    call.release();
    scene.operator_through(&relay).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsGone", "{}", ended.message());
    scene.assert_killed_once([1]);
    let_go(&scene, "inc-1").await;
    scene.end().await;
}

#[tokio::test]
async fn a_request_that_is_deleted_while_it_is_throttled_ends_as_deleted() {
    let scene = Scene::ready("deleted-throttled").await;
    // A pause of 5 minutes is longer than the test: the request must end without waiting for it.
    scene.inject(Fault::new(FaultKind::Throttle).retry_after(Duration::from_mins(5)));
    create_held(&scene, scene.request("inc-1").object()).await;
    scene.wait_for_reason("inc-1", "Throttled").await;
    delete(&scene, "inc-1").await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "Deleted");
    assert!(scene.receipts().await.is_empty());
    scene.assert_killed_once([]);
    let_go(&scene, "inc-1").await;
    scene.end().await;
}
