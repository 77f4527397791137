//! Requests that are refused for what they ask: they end at once, say why, and nothing is executed.

use serde_json::json;
use sessionkill::api::{Outcome, SessionOutcome, SessionReason};

use crate::scene::{Request as _, Scene, Shown as _};

#[tokio::test]
async fn nothing_outside_the_allow_lists_of_the_connection_is_ever_sent() {
    let scene = Scene::set("allow-lists").await;
    scene.connection(json!({"instanceIDs": [Scene::INSTANCE], "tenantIDs": [Scene::TENANT]})).await;
    scene.operator().await;
    scene.request("other-instance").instance("ob-other").create().await;
    scene.request("other-tenant").tenant("t-other").create().await;
    for (name, words) in [
        ("other-instance", "instance ob-other is not in spec.instanceIDs of OceanBaseConnection prod-ob"),
        ("other-tenant", "tenant t-other is not in spec.tenantIDs of OceanBaseConnection prod-ob"),
    ] {
        let ended = scene.wait_finished(name).await;
        assert_eq!(
            ended.summary(),
            ["Succeeded=False(NotAllowed)", "Ready=False(NotAllowed)", "Stalled=True(NotAllowed)"]
        );
        assert!(ended.message().contains(words), "{}", ended.message());
        assert!(ended.message().contains("create a new SessionKill"), "{}", ended.message());
        assert_eq!(ended.outcomes(), [(SessionOutcome::Skipped, SessionReason::NotAllowed)]);
    }
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.request("allowed").create().await;
    assert_eq!(scene.wait_finished("allowed").await.reason(), "SessionsKilled");
    scene.end().await;
}

#[tokio::test]
async fn a_request_that_the_api_refuses_for_its_content_ends() {
    let scene = Scene::ready("wrong-instance").await;
    let request = scene.request("inc-1").instance("ob-nobody");
    request.create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "KillFailed");
    assert_eq!(ended.outcomes(), [(SessionOutcome::Failed, SessionReason::RequestRejected)]);
    for word in ["refused by the API before execution", "there is no instance ob-nobody", "a new SessionKill"] {
        assert!(ended.message().contains(word), "{}", ended.message());
    }
    // An operator that has not seen the end would send it again, and the API might take it then.
    let record = scene.wait_recorded("inc-1").await;
    assert_eq!(record.outcome, Outcome::KillFailed);
    scene.delete("inc-1").await;
    request.create().await;
    let again = scene.wait_finished("inc-1").await;
    assert_eq!(again.reason(), "KillFailed");
    for word in ["the same request was refused", "nothing was sent again"] {
        assert!(again.message().contains(word), "{}", again.message());
    }
    scene.assert_killed_once([]);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.end().await;
}
