//! Requests that are too late, too early or suspended: nothing is sent outside the time that the user allowed.

use serde_json::json;
use sessionkill::api::{SessionOutcome, SessionReason};

use crate::scene::{Request as _, Scene, Shown as _, in_seconds, until};

const NOT_SENT: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::DeadlineExceeded);

#[tokio::test]
async fn a_request_from_an_old_manifest_is_harmless_and_healthy() {
    let scene = Scene::ready("old-manifest").await;
    scene.request("last-year").not_after(in_seconds(-86_400 * 365)).create().await;
    let ended = scene.wait_finished("last-year").await;
    assert_eq!(ended.summary(), ["Succeeded=False(ExpiredOnArrival)", "Ready=True(ExpiredOnArrival)"]);
    assert_eq!(ended.outcomes(), [NOT_SENT]);
    assert!(ended.message().contains("created after its own notAfterTime"), "{}", ended.message());
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_suspended_request_waits_until_it_is_resumed() {
    let scene = Scene::ready("suspended").await;
    scene.request("inc-1").suspended().create().await;
    let held = scene.wait_for_reason("inc-1", "Suspended").await;
    assert_eq!(held.summary(), ["Succeeded=Unknown(Suspended)", "Ready=False(Suspended)"]);
    assert!(held.message().contains("spec.suspend: set it to false"), "{}", held.message());
    // Other requests are not delayed.
    scene.request("inc-2").sessions([2]).create().await;
    scene.wait_finished("inc-2").await;
    scene.assert_killed_once([2]);

    scene.edit("inc-1", json!({"spec": {"suspend": false}})).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.status.as_ref().unwrap().observed_generation), ("SessionsKilled", 2));
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn a_suspended_request_ends_when_its_time_is_over() {
    let scene = Scene::ready("suspended-too-long").await;
    scene.request("inc-1").suspended().not_after(in_seconds(4)).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(
        ended.summary(),
        ["Succeeded=False(DeadlineExceeded)", "Ready=False(DeadlineExceeded)", "Stalled=True(DeadlineExceeded)"]
    );
    assert_eq!(ended.outcomes(), [NOT_SENT]);
    assert!(ended.message().contains("it waited for Suspended"), "{}", ended.message());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn nothing_is_sent_before_not_before_time() {
    let scene = Scene::ready("too-early").await;
    let not_before = in_seconds(4);
    scene.request("inc-1").not_before(not_before).create().await;
    let early = scene.wait_for_reason("inc-1", "Scheduled").await;
    assert!(early.message().contains("nothing is sent before"), "{}", early.message());
    assert!(scene.receipts().await.is_empty(), "no claim either");
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled");
    assert!(scene.kill_calls()[0].received_time >= not_before);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_request_that_is_deleted_while_held_back_is_never_sent() {
    let scene = Scene::ready("deleted").await;
    let not_before = in_seconds(4);
    scene.request("suspended").suspended().create().await;
    scene.request("early").sessions([2]).not_before(not_before).create().await;
    scene.wait_for_reason("suspended", "Suspended").await;
    scene.wait_for_reason("early", "Scheduled").await;
    scene.delete("suspended").await;
    scene.delete("early").await;
    until(not_before).await;
    // When this request has ended, the others would have been processed too.
    scene.request("marker").sessions([3]).create().await;
    scene.wait_finished("marker").await;
    scene.assert_killed_once([3]);
    assert_eq!(scene.kill_calls().len(), 1);
    assert_eq!(scene.receipts().await.len(), 1);
    scene.end().await;
}
