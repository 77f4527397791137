//! A restored backup: the objects come back without status and with new UIDs, and the operator remembers nothing.

use kube::api::{DeleteParams, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use sessionkill::api::{SessionKill, SessionKillReceipt};

use crate::scene::{Request as _, Scene, session};

/// The object as a restore creates it from a backup.
fn backed_up<K: Resource + Clone>(object: &K) -> K {
    let mut copy = object.clone();
    let metadata = copy.meta_mut();
    (metadata.uid, metadata.resource_version, metadata.creation_timestamp) = (None, None, None);
    (metadata.generation, metadata.managed_fields) = (None, None);
    copy
}

#[tokio::test]
async fn a_restored_request_is_not_executed_again_while_its_receipt_is_restored_too() {
    let scene = Scene::set("restored").await;
    let operator = scene.operator().await;
    scene.request("inc-1").create().await;
    let request = scene.wait_finished("inc-1").await;
    assert_eq!(request.reason(), "SessionsKilled");
    scene.wait_recorded("inc-1").await;
    let receipt = scene.receipt().await;
    let (request, receipt): (SessionKill, SessionKillReceipt) = (backed_up(&request), backed_up(&receipt));
    operator.stop().await;

    scene.delete("inc-1").await;
    let receipts: Api<SessionKillReceipt> = scene.api();
    receipts.delete(&receipt.name_any(), &DeleteParams::default()).await.unwrap();
    // Another session with the same properties now has the ID of the killed one.
    scene.gateway().set_sessions(vec![session(1)]).unwrap();
    let params = PostParams::default();
    let restored = receipts.create(&params, &receipt).await.unwrap();
    assert!(restored.status.is_none(), "a restore brings no outcome back");
    scene.requests().create(&params, &request).await.unwrap();
    scene.operator().await;

    let ended = scene.wait_finished("inc-1").await;
    // The restored receipt has no outcome either. The outcome is taken from the process list, and nothing is sent.
    assert_eq!(ended.reason(), "StillPresent", "{}", ended.message());
    assert!(ended.message().contains("nothing was sent again"), "{}", ended.message());
    assert_eq!(scene.kill_calls().len(), 1, "only the first one's call");
    scene.end().await;
}
