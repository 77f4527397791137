//! What can keep a request from being sent. The status says the reason and what to do, no claim is held meanwhile, and
//! once the cause is gone the request is sent once, without an edit.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use sessionkill::api::OceanBaseConnection;
use testbed::gateway::{AccessKey, Fault, FaultKind};

use crate::scene::{
    KEY_ID, KEY_SECRET, Launch, Request as _, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN, Scene, Shown as _, access_keys,
    eventually, in_seconds,
};

const STS_KEYS: [(&str, &str); 3] =
    [("accessKeyID", STS_KEY_ID), ("accessKeySecret", STS_KEY_SECRET), ("securityToken", STS_TOKEN)];

/// Creates a request and waits until its reason is `reason`. Its message must have all `words`.
async fn waits(scene: &Scene, reason: &str, words: &[&str]) {
    scene.request("inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", reason).await;
    let expected = [
        format!("Succeeded=Unknown({reason})"),
        format!("Ready=False({reason})"),
        format!("Reconciling=True({reason})"),
    ];
    assert_eq!(waiting.summary(), expected);
    for word in words {
        assert!(waiting.message().contains(word), "{word} is missing in: {}", waiting.message());
    }
    let status = waiting.status.unwrap();
    assert!(status.next_attempt_time.is_some() && status.completion_time.is_none());
    assert!(status.dispatch.is_none(), "nothing was sent");
    scene.wait_for_event("inc-1", reason).await;
    // Each try makes a claim and releases it: no claim is left while the request waits.
    scene.wait_unclaimed().await;
    scene.assert_killed_once([]);
}

/// Waits until the request has ended as killed, by the operator that was running all the time.
async fn recovers(scene: &Scene) {
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.summary(), ["Succeeded=True(SessionsKilled)", "Ready=True(SessionsKilled)"]);
    scene.assert_killed_once([1]);
    assert_eq!(scene.wait_recorded("inc-1").await.sessions.len(), 1);
    scene.wait_for_connection("Ready=True(CallAnswered)").await;
}

#[tokio::test]
async fn a_missing_secret_is_named_and_waited_for() {
    let scene = Scene::bare("missing-secret").await;
    scene.connection(json!({})).await;
    scene.operator().await;
    waits(&scene, "CredentialsUnavailable", &["aliyun-ak does not exist", "create it in namespace missing-secret"])
        .await;
    scene.wait_for_connection("Ready=False(CredentialsUnavailable)").await;
    scene.assert_nothing_sent();
    scene.good_secret().await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_secret_without_the_label_is_not_used() {
    let scene = Scene::set("unlabelled-secret").await;
    scene.unlabelled_secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)]).await;
    scene.operator().await;
    let remedy = "kubectl label secret aliyun-ak sessionkill.dev/credentials=true";
    waits(&scene, "CredentialsUnavailable", &["aliyun-ak is not labelled", remedy]).await;
    scene.assert_nothing_sent();
    scene.good_secret().await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_key_that_a_secret_lacks_is_named() {
    let scene = Scene::set("incomplete-secret").await;
    scene.secret(&[("accessKeyID", KEY_ID)]).await;
    scene.operator().await;
    waits(&scene, "CredentialsUnavailable", &["aliyun-ak has no key accessKeySecret: add it"]).await;
    scene.assert_nothing_sent();
    scene.good_secret().await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_key_that_is_larger_than_any_is_refused_at_the_door() {
    let scene = Scene::set("huge-key").await;
    let huge = "x".repeat(700_000);
    scene.secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", &huge)]).await;
    scene.operator().await;
    let said = "key accessKeySecret of secret aliyun-ak does not hold a key of Alibaba Cloud: it has 700000 characters";
    waits(&scene, "CredentialsUnavailable", &[said]).await;
    assert!(scene.gateway().calls().is_empty(), "nothing is signed with it");
    scene.good_secret().await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_wrong_access_key_secret_is_reported_without_the_echo_of_what_was_signed() {
    let scene = Scene::set("wrong-key").await;
    scene.secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", "wrong")]).await;
    scene.operator().await;
    let words = ["SignatureDoesNotMatch", "correct the access key in Secret aliyun-ak"];
    waits(&scene, "CredentialsRejected", &words).await;
    scene.wait_for_connection("Ready=False(CredentialsRejected)").await;
    scene.good_secret().await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn an_unknown_access_key_id_is_reported() {
    let scene = Scene::set("unknown-key").await;
    scene.secret(&[("accessKeyID", "LTAInobody"), ("accessKeySecret", KEY_SECRET)]).await;
    scene.operator().await;
    let words = ["InvalidAccessKeyId.NotFound", "correct the access key in Secret aliyun-ak"];
    waits(&scene, "CredentialsRejected", &words).await;
    scene.good_secret().await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn an_expired_token_is_reported_until_it_is_rotated() {
    let scene = Scene::set("expired-token").await;
    scene.secret(&STS_KEYS).await;
    scene.inject(Fault::new(FaultKind::ExpireTokens));
    scene.operator().await;
    let words = ["InvalidSecurityToken.Expired", "correct the access key in Secret aliyun-ak"];
    waits(&scene, "CredentialsRejected", &words).await;

    let rotated = AccessKey { id: "STS.NURotated".into(), secret: "rotated".into(), token: Some("fresh".into()) };
    scene.gateway().set_access_keys(access_keys().into_iter().chain([rotated]).collect());
    scene.gateway().clear_faults();
    let keys = [("accessKeyID", "STS.NURotated"), ("accessKeySecret", "rotated"), ("securityToken", "fresh")];
    scene.secret(&keys).await;
    recovers(&scene).await;
    let last = scene.kill_calls().pop().unwrap();
    assert!(last.access_key_id.is_some(), "{last:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_is_told_on_the_request_and_on_the_connection() {
    let scene = Scene::set("forbidden-secret").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.grant_all_but("get", "secrets").await;
    scene.launch(Launch { kubeconfig: Some(kubeconfig), ..Launch::default() }).await;
    let remedy = "let the operator's service account get it in namespace forbidden-secret";
    waits(&scene, "CredentialsUnavailable", &["secret aliyun-ak may not be read", "forbidden", remedy]).await;
    scene.wait_for_connection("Ready=False(CredentialsUnavailable)").await;
    scene.assert_nothing_sent();
    scene.grant(&Scene::full_rights()).await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_throttled_request_comes_back_no_earlier_than_asked() {
    let scene = Scene::ready("throttled").await;
    let pause = Duration::from_secs(4);
    scene.inject(Fault::new(FaultKind::Throttle).retry_after(pause));
    waits(&scene, "Throttled", &["Throttling.User", "trying again later"]).await;
    scene.gateway().clear_faults();
    recovers(&scene).await;
    let calls = scene.kill_calls();
    let pauses = calls.windows(2).map(|pair| pair[1].received_time.duration_since(pair[0].received_time));
    let shortest = pauses.min().expect("it came back");
    assert!(shortest >= SignedDuration::try_from(pause).unwrap(), "{shortest:?}");
    scene.end().await;
}

/// The gateway asks for a pause that ends after the request's `notAfterTime`.
#[tokio::test]
async fn what_is_mended_before_the_deadline_is_used_whatever_pause_was_asked_for() {
    let scene = Scene::ready("last-try").await;
    scene.inject(Fault::new(FaultKind::Throttle).retry_after(Duration::from_secs(30)));
    scene.request("inc-1").not_after(in_seconds(25)).create().await;
    scene.wait_for_reason("inc-1", "Throttled").await;
    scene.gateway().clear_faults();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// A request in the queue of a throttled connection ends on time, without waiting for its turn.
#[tokio::test]
async fn the_end_of_a_request_in_the_queue_waits_for_nobodys_turn() {
    let scene = Scene::set("end-in-queue").await;
    let operator = scene.operator().await;
    scene.inject(Fault::new(FaultKind::Throttle).retry_after(Duration::from_secs(30)));
    scene.request("inc-1").create().await;
    scene.wait_for_reason("inc-1", "Throttled").await;
    scene.gateway().clear_faults();
    // The first request in the queue waits for the pause that the gateway asked for.
    scene.request("inc-2").sessions([2]).create().await;
    eventually("the second in the queue", async || {
        let metrics = Scene::metrics(&operator).await;
        let is_there = metrics.contains("sessionkill_stage_requests{stage=\"Queued\"} 1\n");
        if is_there { Ok(()) } else { Err(metrics) }
    })
    .await;
    scene.request("inc-3").sessions([3]).not_after(in_seconds(2)).create().await;
    assert_eq!(scene.wait_finished("inc-3").await.reason(), "DeadlineExceeded");
    assert!(scene.calls_for(2).is_empty(), "the one before it still waits for its turn");
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "SessionsKilled");
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn a_gateway_that_is_down_is_waited_for() {
    let mut scene = Scene::ready("gateway-down").await;
    scene.stop_gateway().await;
    scene.request("inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "EndpointUnreachable").await;
    let remedy = format!("check the endpoint {}, DNS, network policies and certificates", scene.gateway_url());
    for word in ["OceanBaseConnection prod-ob", "not executed, Unreachable", &remedy] {
        assert!(waiting.message().contains(word), "{}", waiting.message());
    }
    assert!(waiting.status.unwrap().next_attempt_time.is_some());
    scene.wait_for_connection("Ready=False(EndpointUnreachable)").await;
    scene.wait_unclaimed().await;
    scene.start_gateway().await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_missing_permission_is_reported_until_it_is_granted() {
    let scene = Scene::ready("no-permission").await;
    scene.inject(Fault::new(FaultKind::Error));
    let remedy = format!("allow the access key of Secret aliyun-ak to call KillProcessList on {}", Scene::INSTANCE);
    let words = ["OceanBaseConnection prod-ob", "Forbidden.RAM", &remedy];
    waits(&scene, "PermissionDenied", &words).await;
    let told = scene.wait_for_connection("Ready=False(PermissionDenied)").await;
    let told = &told.condition("Ready").unwrap().message;
    assert!(told.contains("Forbidden.RAM"), "{told}");
    scene.gateway().clear_faults();
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn an_operation_that_the_gateway_does_not_offer_is_reported() {
    let scene = Scene::set("no-operation").await;
    // A dispatch window of 60 s, so that the operator can try the other operation even on a busy machine.
    scene.launch(Launch { dispatch_window_seconds: Some(60), ..Launch::default() }).await;
    scene.inject(Fault::new(FaultKind::RemoveAction));
    let remedy = format!("{} offers neither KillProcessList nor BatchKillProcessList", scene.gateway_url());
    let words = ["OceanBaseConnection prod-ob", "InvalidAction.NotFound", &remedy];
    waits(&scene, "OperationUnavailable", &words).await;
    scene.wait_for_connection("Ready=False(OperationUnavailable)").await;
    scene.gateway().clear_faults();
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_gateway_whose_clock_differs_is_served_by_its_own_time_and_the_connection_says_so() {
    let scene = Scene::ready("other-clock").await;
    scene.inject(Fault::new(FaultKind::ClockSkew).skewed(SignedDuration::from_mins(40)));
    scene.request("inc-1").not_after(in_seconds(3600)).create().await;
    recovers(&scene).await;
    let told = scene.wait_for_connection("ServerSideFence=False(TimeStampRefused)").await;
    let told = &told.condition("ServerSideFence").unwrap().message;
    assert!(told.contains("check the clocks of both"), "{told}");
    let first = scene.calls_for(1).remove(0);
    assert_eq!(first.result.as_deref(), Some("InvalidTimeStamp.Expired"));
    scene.end().await;
}

/// The operator's clock is slow. Only the gateway's clock shows that the time of a request is over.
#[tokio::test]
async fn what_is_late_by_the_gateways_clock_is_not_sent_by_its_own_time_either() {
    let scene = Scene::ready("slow-clock").await;
    scene.inject(Fault::new(FaultKind::ClockSkew).skewed(SignedDuration::from_mins(40)));
    let words = ["InvalidTimeStamp.Expired", "check the clock of the operator's node"];
    waits(&scene, "TimeStampRefused", &words).await;
    // By now the connection sends without the fence, as it must for a request that is in time by both clocks.
    scene.request("inc-2").sessions([2]).not_after(in_seconds(3600)).create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "SessionsKilled");
    let tries = scene.calls_for(1).len();
    eventually("another try", async || match scene.calls_for(1).len() {
        more if more > tries => Ok(()),
        same => Err(format!("{same}")),
    })
    .await;
    scene.assert_killed_once([2]);
    assert!(scene.calls_for(1).iter().all(|call| call.result.as_deref() == Some("InvalidTimeStamp.Expired")));
    scene.gateway().clear_faults();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled", "the clock was set right in time");
    scene.end().await;
}

#[tokio::test]
async fn a_gateway_that_takes_no_time_stamp_is_reported() {
    let scene = Scene::ready("no-clock").await;
    scene.inject(Fault::new(FaultKind::ClockSkew).skewed(SignedDuration::from_mins(40)));
    // The `Date` of the gateway's answers differs from the clock by which it checks time stamps.
    scene.inject(Fault::new(FaultKind::DateSkew).skewed(SignedDuration::from_mins(80)));
    let words = ["InvalidTimeStamp.Expired", "check the clock of the operator's node"];
    waits(&scene, "TimeStampRefused", &words).await;
    scene.gateway().clear_faults();
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn an_endpoint_that_nobody_vouched_for_is_never_called() {
    let scene = Scene::set("other-endpoint").await;
    let relay = scene.gateway_relay().await;
    scene.connection(json!({"endpoint": relay.url()})).await;
    scene.operator().await;
    let words = ["OceanBaseConnection prod-ob", relay.url(), "--allow-endpoint"];
    waits(&scene, "EndpointNotAllowed", &words).await;
    scene.assert_nothing_sent();
    scene.connection(json!({})).await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_missing_connection_is_named_and_waited_for() {
    let scene = Scene::bare("no-connection").await;
    scene.good_secret().await;
    scene.operator().await;
    let words = ["OceanBaseConnection prod-ob does not exist in namespace no-connection: create it"];
    waits(&scene, "ConnectionNotFound", &words).await;
    scene.assert_nothing_sent();
    scene.connection(json!({})).await;
    recovers(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_request_whose_trouble_is_not_mended_in_time_ends_and_says_what_it_waited_for() {
    let scene = Scene::bare("never-mended").await;
    scene.connection(json!({})).await;
    scene.operator().await;
    scene.request("inc-1").not_after(in_seconds(4)).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "DeadlineExceeded");
    for word in ["nothing was sent", "CredentialsUnavailable", "secret aliyun-ak does not exist: create it"] {
        assert!(ended.message().contains(word), "{}", ended.message());
    }
    let note = scene.wait_for_event("inc-1", "DeadlineExceeded").await;
    assert!(note.contains("aliyun-ak"), "{note}");
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_connection_of_another_namespace_cannot_be_used() {
    let owner = Scene::set("owner").await;
    let scene = Scene::bare("stranger").await;
    scene.launch(Launch { allow: vec![&owner.gateway_url()], ..Default::default() }).await;
    scene.request("inc-1").create().await;
    scene.wait_for_reason("inc-1", "ConnectionNotFound").await;
    let connections = scene.api::<OceanBaseConnection>().list(&kube::api::ListParams::default()).await.unwrap();
    assert!(connections.items.is_empty());
    owner.assert_nothing_sent();
    scene.end().await;
    owner.end().await;
}

/// An Event for each time would fill the list of a request that waits long.
#[tokio::test]
async fn a_reason_that_comes_back_is_told_in_the_same_event() {
    let scene = Scene::bare("reason-again").await;
    scene.connection(json!({})).await;
    scene.operator().await;
    scene.request("inc-1").create().await;
    scene.wait_for_event("inc-1", "CredentialsUnavailable").await;
    let wrong = [("accessKeyID", KEY_ID), ("accessKeySecret", "wrong")];
    scene.put_secret(Scene::SECRET, true, &wrong).await;
    scene.wait_for_reason("inc-1", "CredentialsRejected").await;
    scene.put_secret(Scene::SECRET, false, &wrong).await;
    scene.wait_for_reason("inc-1", "CredentialsUnavailable").await;
    eventually("the Event as a series", async || {
        let events = scene.events().await;
        let of_reason = events.iter().filter(|event| {
            let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
            regarding == Some("inc-1") && event.reason.as_deref() == Some("CredentialsUnavailable")
        });
        let series: Vec<_> = of_reason.map(|event| event.series.as_ref().map(|series| series.count)).collect();
        if series == [Some(2)] { Ok(()) } else { Err(format!("{series:?}")) }
    })
    .await;
    scene.assert_killed_once([]);
    scene.end().await;
}
