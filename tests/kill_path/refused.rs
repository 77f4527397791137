//! Requests whose content the gateway refuses. They end at once and say why, and nothing is executed.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use sessionkill::api::{OceanBaseConnection, Outcome, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind, Session};

use crate::groups::all_seen;
use crate::scene::{At, Launch, Request as _, Scene, Shown as _, session};

#[tokio::test]
async fn nothing_outside_the_allow_lists_of_the_connection_is_ever_sent() {
    let scene = Scene::set("allow-lists").await;
    scene.connection(json!({"instanceIDs": [Scene::INSTANCE], "tenantIDs": [Scene::TENANT]})).await;
    scene.operator().await;
    scene.request("other-instance").instance("ob-other").create().await;
    scene.request("other-tenant").tenant("t-other").create().await;
    for (name, words) in [
        ("other-instance", "instance ob-other is not in spec.alibabaCloud.instanceIDs of OceanBaseConnection prod-ob"),
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
async fn what_a_crash_left_of_a_request_that_is_not_allowed_any_more_is_found_out() {
    let (scene, relay) = Scene::relayed("not-allowed-crash", 3).await;
    let first = scene.operator_through(&relay).await;
    let call = Scene::hold_call(&relay, At::Answer);
    scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1).create().await;
    call.reached().await;
    first.kill();
    call.release();
    let other_tenants = Patch::Merge(json!({"spec": {"tenantIDs": ["t-other"]}}));
    scene.api::<OceanBaseConnection>().patch("prod-ob", &PatchParams::default(), &other_tenants).await.unwrap();
    scene.operator_through(&relay).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsGone", "{}", ended.message());
    scene.request("inc-2").sessions([2]).create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "NotAllowed");
    scene.assert_killed_once([1]);
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
    // An operator that has not seen the end would send the request again, and the gateway might accept it then.
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

/// A request names a tenant and a session. Only the tenant's process list proves that the session belongs to it.
#[tokio::test]
async fn where_a_connection_limits_what_may_be_named_only_what_is_seen_in_its_tenants_list_is_killed() {
    for (name, limits) in [
        ("limited-tenants", json!({"tenantIDs": [Scene::TENANT]})),
        ("limited-instances", json!({"instanceIDs": [Scene::INSTANCE]})),
    ] {
        let scene = Scene::set(name).await;
        scene.connection(limits).await;
        let others = Session { tenant_id: "t-other".into(), ..session(1) };
        scene.gateway().set_sessions(vec![others, session(2)]).unwrap();
        scene.operator().await;
        let request = |name, number| scene.request(name).sessions([number]).verified(VerificationPolicy::None, 1);
        request("others", 1).create().await;
        let ended = scene.wait_finished("others").await;
        assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound)], "{}", ended.message());

        scene.inject_list(Fault::new(FaultKind::Drop));
        request("unseen", 2).create().await;
        let waiting = scene.wait_for_reason("unseen", "ObservationFailed").await;
        assert!(waiting.message().contains("nothing was sent"), "{}", waiting.message());
        assert!(scene.receipts().await.is_empty(), "nothing is claimed either");
        scene.assert_nothing_sent();
        scene.gateway().clear_faults();
        let ended = scene.wait_finished("unseen").await;
        assert_eq!(ended.outcomes(), [(SessionOutcome::Killed, SessionReason::Accepted)], "{}", ended.message());
        scene.assert_killed_once([2]);
        scene.end().await;
    }
}

#[tokio::test]
async fn one_list_shows_the_sessions_of_all_that_share_a_call() {
    let scene = Scene::set("limited-together").await;
    let relay = scene.gateway_relay().await;
    let limits = json!({"endpoint": relay.url(), "requestTimeoutSeconds": 60, "tenantIDs": [Scene::TENANT]});
    scene.connection(limits).await;
    let call = Scene::hold_call(&relay, At::Request);
    let dispatch_window_seconds = Some(30);
    scene.launch(Launch { allow: vec![relay.url()], dispatch_window_seconds, ..Launch::default() }).await;
    let request = |number: i64| {
        let name = format!("inc-{number}");
        scene.request(&name).sessions([number]).verified(VerificationPolicy::None, 1)
    };
    request(60).create().await;
    call.reached().await;
    for number in 1..=8 {
        request(number).create().await;
    }
    all_seen(&scene).await;
    call.release();
    for number in 1..=8 {
        assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.reason(), "SessionsKilled");
    }
    let (lists, calls) = (scene.list_reads().len(), scene.kill_calls().len());
    assert_eq!(lists, calls, "one before each call, and none after it");
    assert!(calls <= 3, "the first, those that waited, and perhaps a straggler: {calls}");
    scene.assert_killed_once((1..=8).chain([60]));
    scene.end().await;
}
