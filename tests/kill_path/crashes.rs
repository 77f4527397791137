//! The operator dies, freezes or is stopped at each point of the kill path. Nothing is sent twice or late. The outcome
//! of a lost call is found by reading the process list.

use std::time::Duration;

use http::Method;
use jiff::SignedDuration;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use sessionkill::api::{Outcome, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind};

use crate::scene::{At, Launch, Request as _, Scene, eventually, in_seconds, until};

/// Waits until a call has killed something, whether it was answered or not.
async fn wait_killed(scene: &Scene) {
    eventually("a kill", async || {
        let killed = !scene.gateway().kills_per_session().is_empty();
        killed.then_some(()).ok_or_else(|| format!("{:?}", scene.kill_calls()))
    })
    .await;
}

/// The relay holds the operator's call when the operator dies, so the call never arrives.
#[tokio::test]
async fn killed_before_its_call_arrives_the_session_is_still_present_and_nothing_is_sent_again() {
    let (scene, relay) = Scene::relayed("killed-before-call", 3).await;
    let call = Scene::hold_call(&relay, At::Request);
    let operator = scene.operator_through(&relay).await;
    let request = scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1);
    request.create().await;
    call.reached().await;
    operator.kill();
    assert!(scene.receipt().await.status.is_none(), "claimed and not recorded");

    scene.operator_through(&relay).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "StillPresent", "{}", ended.message());
    assert_eq!(ended.outcomes(), [(SessionOutcome::Failed, SessionReason::StillPresent)]);
    assert!(ended.message().contains("nothing is sent again"), "{}", ended.message());
    assert!(ended.message().contains("create a new SessionKill"), "{}", ended.message());
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::StillPresent);

    scene.delete("inc-1").await;
    request.create().await;
    let again = scene.wait_finished("inc-1").await;
    assert_eq!(again.reason(), "StillPresent", "applied again, it is still not sent");
    assert!(again.message().contains("nothing was sent again"), "{}", again.message());
    assert_eq!(call.count(), 1, "no other call was tried");
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn killed_before_the_answer_arrives_the_session_is_seen_to_be_gone_and_nothing_is_sent_again() {
    let (scene, relay) = Scene::relayed("killed-before-answer", 3).await;
    let call = Scene::hold_call(&relay, At::Answer);
    let operator = scene.operator_through(&relay).await;
    scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1).create().await;
    call.reached().await;
    operator.kill();
    scene.assert_killed_once([1]);

    scene.operator_through(&relay).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsGone", "{}", ended.message());
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound)]);
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::SessionsGone);
    assert_eq!((call.count(), scene.kill_calls().len()), (1, 1));
    assert_eq!(scene.audit_lines().len(), 1, "written by the one that found out");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn an_outcome_that_was_found_out_is_audited_though_the_answer_to_its_record_is_lost() {
    let (scene, relay) = Scene::relayed("found-out", 3).await;
    let call = Scene::hold_call(&relay, At::Answer);
    let operator = scene.operator_through(&relay).await;
    scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1).create().await;
    call.reached().await;
    operator.kill();

    let api = scene.api_relay().await;
    let record = api.hold(At::Answer, Method::PATCH, "/sessionkillreceipts/");
    scene.launch(Launch { allow: vec![relay.url()], api: Some(&api), ..Launch::default() }).await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsGone");
    assert_eq!(record.count(), 1, "stored by the write whose answer is held");
    // The operator writes the line while the answer to its record is held. The request may have ended already, as the
    // record is stored.
    let audited = async || if scene.audit_lines().is_empty() { Err("not audited".to_owned()) } else { Ok(()) };
    eventually("the outcome in an audit line", audited).await;
    assert_eq!(scene.audit_lines().len(), 1);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn killed_between_settling_and_recording_the_sweep_records_what_was_settled() {
    let scene = Scene::set("killed-before-record").await;
    scene.connection(json!({"requestTimeoutSeconds": 1})).await;
    let api = scene.api_relay().await;
    let record = api.hold(At::Request, Method::PATCH, "/sessionkillreceipts/");
    let operator = scene.launch(Launch { api: Some(&api), ..Launch::default() }).await;
    let request = scene.request("inc-1");
    request.create().await;
    record.reached().await;
    operator.kill();
    let settled = scene.wait_finished("inc-1").await;
    assert_eq!(settled.reason(), "SessionsKilled");
    assert!(scene.receipt().await.status.is_none(), "not recorded");

    scene.operator().await;
    let record = scene.wait_recorded("inc-1").await;
    assert_eq!(record.outcome, Outcome::SessionsKilled);
    assert_eq!(record.sessions, settled.status.unwrap().sessions);

    scene.delete("inc-1").await;
    request.create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "AlreadyExecuted");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// The operator sees the answer to its claim only after the dispatch deadline. Its own clocks keep it from sending.
#[tokio::test]
async fn frozen_between_claim_and_call_until_too_late_it_sends_nothing() {
    let scene = Scene::set("frozen-before-call").await;
    let api = scene.api_relay().await;
    let claim = api.hold(At::Answer, Method::POST, "/sessionkillreceipts");
    let operator = scene.launch(Launch { api: Some(&api), ..Launch::default() }).await;
    let not_after = in_seconds(8);
    scene.request("inc-1").not_after(not_after).create().await;
    claim.reached().await;
    operator.pause().unwrap();
    assert!(scene.receipt().await.spec.dispatch_deadline_time.0 <= not_after);
    claim.release();
    until(not_after).await;
    operator.resume().unwrap();

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "DeadlineExceeded");
    assert!(ended.message().contains("nothing was sent"), "{}", ended.message());
    scene.wait_unclaimed().await;
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn frozen_past_its_dispatch_deadline_it_claims_anew_before_it_sends() {
    let scene = Scene::set("frozen-past-deadline").await;
    let api = scene.api_relay().await;
    let claim = api.hold(At::Answer, Method::POST, "/sessionkillreceipts");
    let operator = scene.launch(Launch { api: Some(&api), ..Launch::default() }).await;
    scene.request("inc-1").create().await;
    claim.reached().await;
    operator.pause().unwrap();
    let late = scene.receipt().await;
    claim.release();
    until(late.spec.dispatch_deadline_time.0).await;
    operator.resume().unwrap();

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled");
    let dispatch = ended.status.unwrap().dispatch.unwrap();
    assert_ne!(dispatch.attempt_id, late.spec.attempt_id, "nothing was sent under the claim that was too old");
    scene.assert_killed_once([1]);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.end().await;
}

/// The operator freezes while its call is on the way, and the call arrives late. The gateway itself refuses it.
#[tokio::test]
async fn a_call_that_arrives_after_its_deadline_is_refused_by_the_gateway() {
    let (scene, relay) = Scene::relayed("late-call", 60).await;
    let call = Scene::hold_call(&relay, At::Request);
    let operator = scene.operator_through(&relay).await;
    let not_after = in_seconds(8);
    scene.request("inc-1").not_after(not_after).create().await;
    call.reached().await;
    operator.pause().unwrap();
    // One second more, as the time stamp is rounded to seconds.
    until(not_after + SignedDuration::from_secs(1)).await;
    call.release();
    operator.resume().unwrap();

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "DeadlineExceeded");
    assert!(ended.message().contains("nothing was sent"), "{}", ended.message());
    let results: Vec<_> = scene.kill_calls().into_iter().map(|call| call.result).collect();
    assert_eq!(results, [Some("InvalidTimeStamp.Expired".to_owned())]);
    scene.assert_killed_once([]);
    scene.wait_unclaimed().await;
    scene.end().await;
}

#[tokio::test]
async fn asked_to_stop_during_a_call_it_records_the_outcome_and_starts_nothing_new() {
    let scene = Scene::set("stopped").await;
    scene.connection(json!({"requestTimeoutSeconds": 60})).await;
    let operator = scene.operator().await;
    scene.inject(Fault::new(FaultKind::Delay).after().delayed(Duration::from_secs(4)).times(1));
    scene.request("in-flight").sessions([1]).create().await;
    wait_killed(&scene).await;
    // A request of the same tenant, so it would be sent next.
    scene.request("waiting").sessions([2]).create().await;
    operator.terminate().unwrap();
    let status = operator.process().ended().await;
    assert!(status.success(), "{status}");

    let ended = scene.requests().get("in-flight").await.unwrap();
    assert_eq!(ended.reason(), "SessionsKilled", "settled before the exit");
    let recorded = scene.receipt().await.status.unwrap();
    assert_eq!(recorded.outcome, Outcome::SessionsKilled, "and recorded");
    assert!(!scene.requests().get("waiting").await.unwrap().is_finished());
    scene.assert_killed_once([1]);

    scene.operator().await;
    assert_eq!(scene.wait_finished("waiting").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

/// The gateway throttles, so most of the requests wait for a slot.
#[tokio::test]
async fn asked_to_stop_it_does_not_wait_for_turns_that_are_far_off() {
    let scene = Scene::set("stopped-throttled").await;
    let operator = scene.operator().await;
    let pause = Duration::from_secs(30);
    scene.inject(Fault::new(FaultKind::Throttle).retry_after(pause));
    scene.inject_list(Fault::new(FaultKind::Throttle).retry_after(pause));
    scene.request("throttled").create().await;
    scene.wait_for_reason("throttled", "Throttled").await;
    for number in 1..=80 {
        // Each has a tenant of its own, and so a queue of its own.
        scene.request(&format!("inc-{number}")).tenant(&format!("t{number}")).create().await;
    }
    scene.request("seen").tenant("another").not_after(in_seconds(-60)).create().await;
    scene.wait_finished("seen").await;
    operator.terminate().unwrap();
    let status = operator.process().ended().await;
    assert!(status.success(), "{status}");
    assert!(!scene.logs().contains("ended with work in flight"), "nothing was");
    scene.assert_killed_once([]);
    // The deleted requests may not have been processed yet.
    scene.requests().delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    scene.end().await;
}
