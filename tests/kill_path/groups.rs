//! Requests of one tenant that wait while a call is in flight go out together in the next call. Each has its own claim
//! and its own outcome.

use std::collections::HashSet;
use std::time::Duration;

use http::Method;
use serde_json::json;
use sessionkill::api::{Expect, SessionOutcome, SessionReason};
use testbed::gateway::{CallRecord, Fault, FaultKind};

use crate::scene::{
    At, Hold, Launch, Relay, Request as _, Scene, eventually, in_seconds, session, session_id, successor, until,
};

const KILLED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);

/// A scene whose first call is held at a relay: the call of the request `first` for session 60.
pub async fn held(name: &str) -> (Scene, Relay, Hold) {
    let scene = Scene::set(name).await;
    let relay = scene.gateway_relay().await;
    scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 60})).await;
    let call = Scene::hold_call(&relay, At::Request);
    let dispatch_window_seconds = Some(30);
    scene.launch(Launch { allow: vec![relay.url()], dispatch_window_seconds, ..Launch::default() }).await;
    scene.request("first").sessions([60]).create().await;
    call.reached().await;
    (scene, relay, call)
}

/// Returns when the operator has seen everything that was created before.
pub async fn all_seen(scene: &Scene) {
    all_seen_by(scene, "seen").await;
}

/// The same, with a request of this name. Use it for the second time in one test.
pub async fn all_seen_by(scene: &Scene, name: &str) {
    // This request is of another tenant, so it does not wait for the held call. It ends without a call.
    scene.request(name).tenant("another").not_after(in_seconds(-60)).create().await;
    scene.wait_finished(name).await;
}

#[tokio::test]
async fn what_waits_while_a_call_is_in_flight_goes_out_in_one_call() {
    let (scene, _relay, call) = held("one-call").await;
    for number in 1..=20 {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
    let wrong = Expect { user: Some("somebody".into()), ..Expect::default() };
    scene.request("innocent").sessions([21, 22]).expecting(&wrong).create().await;
    scene.request("mixed").sessions([23, 24]).create().await;
    all_seen(&scene).await;
    call.release();

    for number in 1..=20 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![KILLED]));
    }
    assert_eq!(scene.wait_finished("innocent").await.reason(), "PreconditionFailed");
    assert_eq!(scene.wait_finished("mixed").await.outcomes(), [KILLED, KILLED]);
    let calls = scene.kill_calls();
    // The first call, and one for those that waited. A request that came late may have had a third.
    assert!((2..=3).contains(&calls.len()), "{} calls", calls.len());
    let receipts = scene.receipts().await;
    assert_eq!(receipts.len(), 22, "each has its own claim, and what sends nothing has none");
    scene.assert_killed_once((1..=20).chain([23, 24, 60]));
    scene.end().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_group_is_resolved_for_each_and_nothing_is_sent_again() {
    let (scene, _relay, call) = held("group-lost").await;
    for number in 1..=10 {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
    all_seen(&scene).await;
    // The first fault lets the first call through. Then the shared call is executed and its answer is lost.
    scene.inject(Fault::new(FaultKind::Delay).times(1));
    scene.inject(Fault::new(FaultKind::Drop).after().times(1));
    call.release();
    let mut lost = 0;
    for number in 1..=10 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        let calls = scene.calls_for(number);
        assert_eq!(calls.len(), 1, "nothing is sent again");
        // A request that came late may have had a call of its own.
        let (reason, outcome) = match &calls[0].fault {
            Some(_) => ("SessionsGone", (SessionOutcome::Gone, SessionReason::NotFound)),
            None => ("SessionsKilled", KILLED),
        };
        lost += usize::from(calls[0].fault.is_some());
        assert_eq!((ended.reason(), ended.outcomes()), (reason, vec![outcome]), "{}", ended.message());
    }
    assert!(lost > 1, "they went together");
    scene.assert_killed_once((1..=10).chain([60]));
    scene.end().await;
}

#[tokio::test]
async fn no_call_names_more_than_500_sessions() {
    let scene = Scene::set("bounded-group").await;
    let relay = scene.gateway_relay().await;
    scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 60})).await;
    scene.gateway().set_sessions((1..=800).map(session).collect()).unwrap();
    let call = Scene::hold_call(&relay, At::Request);
    let dispatch_window_seconds = Some(60);
    scene.launch(Launch { allow: vec![relay.url()], dispatch_window_seconds, ..Launch::default() }).await;
    scene.request("first").sessions([800]).create().await;
    call.reached().await;
    for number in 0..7 {
        let first = number * 100 + 1;
        scene.request(&format!("inc-{number}")).sessions(first..first + 100).create().await;
    }
    all_seen(&scene).await;
    call.release();
    for number in 0..7 {
        assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.reason(), "SessionsKilled");
    }
    let most = scene.kill_calls().iter().map(|call| call.sessions.len()).max();
    assert_eq!(most, Some(500));
    scene.assert_killed_once((1..=700).chain([800]));
    scene.end().await;
}

#[tokio::test]
async fn a_group_that_is_throttled_goes_out_again_under_the_same_claims() {
    let (scene, _relay, call) = held("group-throttled").await;
    for number in 1..=10 {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
    all_seen(&scene).await;
    // This fault lets the first call through.
    scene.inject(Fault::new(FaultKind::Delay).times(1));
    scene.inject(Fault::new(FaultKind::Throttle).times(1));
    call.release();
    let mut throttled = 0;
    for number in 1..=10 {
        let name = format!("inc-{number}");
        let ended = scene.wait_finished(&name).await;
        assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![KILLED]));
        let calls = scene.calls_for(number);
        let results: Vec<_> = calls.iter().map(|call| call.result.as_deref().unwrap()).collect();
        // A request that came late may have had a call of its own.
        if results == ["OK"] {
            continue;
        }
        assert_eq!(results, ["Throttling.User", "OK"]);
        throttled += 1;
        let claimed = ended.status.unwrap().dispatch.unwrap().start_time.0;
        assert!(claimed < calls[0].received_time, "under the claim that was there before");
    }
    assert!(throttled > 1, "they went together");
    scene.assert_killed_once((1..=10).chain([60]));
    scene.end().await;
}

/// Makes the connection of `scene` wait for `pause`: the call of a request for session 1 was throttled.
async fn throttle(scene: &Scene, pause: Duration) {
    scene.inject(Fault::new(FaultKind::Throttle).retry_after(pause).times(1));
    scene.request("throttled").sessions([1]).create().await;
    eventually("a throttled call", async || {
        let calls = scene.calls_for(1);
        let is_throttled = calls.iter().any(|call| call.result.as_deref() == Some("Throttling.User"));
        if is_throttled { Ok(()) } else { Err(format!("{calls:?}")) }
    })
    .await;
    scene.wait_for_reason("throttled", "Throttled").await;
}

#[tokio::test]
async fn what_is_suspended_while_its_connection_is_throttled_is_not_sent() {
    let scene = Scene::ready("suspended-in-turn").await;
    throttle(&scene, Duration::from_secs(8)).await;
    scene.request("held-back").sessions([2]).create().await;
    all_seen(&scene).await;
    scene.edit("held-back", json!({"spec": {"suspend": true}})).await;
    scene.wait_for_reason("held-back", "Suspended").await;
    assert_eq!(scene.wait_finished("throttled").await.reason(), "SessionsKilled");
    assert!(scene.calls_for(2).is_empty(), "it was waiting for its turn when it was suspended");
    scene.edit("held-back", json!({"spec": {"suspend": false}})).await;
    assert_eq!(scene.wait_finished("held-back").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn a_throttled_connection_does_not_hold_up_another() {
    let scene = Scene::set("throttled-beside").await;
    scene.put_connection("other", Scene::SECRET, json!({})).await;
    scene.launch(Launch { max_concurrent_calls: Some(1), ..Launch::default() }).await;
    throttle(&scene, Duration::from_secs(20)).await;
    scene.request("waiting").sessions([2]).create().await;
    all_seen(&scene).await;
    scene.request("beside").through("other").sessions([3]).create().await;
    assert_eq!(scene.wait_finished("beside").await.reason(), "SessionsKilled");
    assert!(scene.calls_for(2).is_empty(), "it waits for the end of the pause");
    assert_eq!(scene.wait_finished("waiting").await.reason(), "SessionsKilled");
    assert_eq!(scene.wait_finished("throttled").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1, 2, 3]);
    scene.end().await;
}

#[tokio::test]
async fn a_request_whose_time_is_nearly_over_goes_before_the_others() {
    let (scene, _relay, call) = held("urgent").await;
    // More sessions than one call may name.
    scene.gateway().set_sessions((1..=800).map(session).collect()).unwrap();
    for number in 0..6 {
        let first = number * 100 + 100;
        scene.request(&format!("inc-{number}")).sessions(first..first + 100).create().await;
    }
    scene.request("urgent").sessions([1]).not_after(in_seconds(28)).create().await;
    all_seen(&scene).await;
    call.release();
    assert_eq!(scene.wait_finished("urgent").await.reason(), "SessionsKilled");
    for number in 0..6 {
        scene.wait_finished(&format!("inc-{number}")).await;
    }
    let calls = scene.kill_calls();
    let names = |number| calls[1].sessions.iter().any(|session| session.session_id == session_id(number));
    assert!(names(1), "in the next call, although it came last");
    assert!(!names(600), "which does not name them all");
    scene.end().await;
}

/// The dispatch window runs from each claim. A shared call therefore must not wait until all of its requests are
/// claimed: the first claim would be too old to be sent.
#[tokio::test]
async fn what_is_not_claimed_in_time_for_a_call_goes_with_the_next_in_its_order() {
    let scene = Scene::set("slow-claims").await;
    let (relay, api) = (scene.gateway_relay().await, scene.api_relay().await);
    scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 60})).await;
    let call = Scene::hold_call(&relay, At::Request);
    let dispatch_window_seconds = Some(15);
    scene
        .launch(Launch { allow: vec![relay.url()], api: Some(&api), dispatch_window_seconds, ..Launch::default() })
        .await;
    scene.request("first").sessions([60]).create().await;
    call.reached().await;
    for number in 1..=9 {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
    all_seen(&scene).await;
    let claims = api.hold(At::Answer, Method::POST, "/sessionkillreceipts");
    let given_up = api.hold(At::Answer, Method::DELETE, "/sessionkillreceipts");
    call.release();
    claims.reached().await;
    // 6 s are more than a third of the dispatch window of 15 s. Claiming for one call stops after that third.
    until(in_seconds(6)).await;
    claims.release();

    for number in 1..=9 {
        assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.outcomes(), [KILLED]);
    }
    let named: Vec<Vec<i64>> = scene.kill_calls().iter().map(named_by).collect();
    assert_eq!(named.len(), 3, "the first, those that were claimed, and all others: {named:?}");
    assert!(named[1].len() < named[2].len(), "{named:?}");
    assert_eq!(named.concat(), [&[session_id(60)], &(1..=9).map(session_id).collect::<Vec<_>>()[..]].concat());
    assert_eq!(given_up.count(), 0, "no claim was made for nothing");
    scene.assert_killed_once((1..=9).chain([60]));
    scene.end().await;
}

/// The IDs of the sessions that `call` named, in the order of the call.
fn named_by(call: &CallRecord) -> Vec<i64> {
    call.sessions.iter().map(|session| session.session_id).collect()
}

/// Claims of one tenant that are on their way to the API server delay the claims of the other tenants.
#[tokio::test]
async fn a_tenant_has_two_claims_on_their_way_and_one_while_another_tenant_is_at_work() {
    for (name, beside, at_once) in [("alone", false, 2), ("beside", true, 1)] {
        let scene = Scene::set(name).await;
        let (relay, api) = (scene.gateway_relay().await, scene.api_relay().await);
        scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 60})).await;
        let call = Scene::hold_call(&relay, At::Request);
        let dispatch_window_seconds = Some(60);
        scene
            .launch(Launch { allow: vec![relay.url()], api: Some(&api), dispatch_window_seconds, ..Launch::default() })
            .await;
        scene.request("first").sessions([60]).create().await;
        call.reached().await;
        for number in 1..=6 {
            scene.request(&format!("inc-{number}")).sessions([number]).create().await;
        }
        all_seen(&scene).await;
        let claims = api.hold(At::Answer, Method::POST, "/sessionkillreceipts");
        if beside {
            // This tenant is at work until its claim is answered.
            scene.request("beside").tenant("t-beside").sessions([50]).create().await;
            claims.reached().await;
        }
        call.release();
        scene.wait_finished("first").await;
        let claimed = async || {
            let receipts = scene.receipts().await.into_iter().map(|receipt| receipt.spec.session_kill_ref.name);
            receipts.filter(|name| name.starts_with("inc-")).count()
        };
        eventually("claims of the group", async || match claimed().await {
            count if count >= at_once => Ok(()),
            fewer => Err(format!("{fewer}")),
        })
        .await;
        // When this request is processed, any other claim would have been made.
        scene.request("served").tenant("t-served").not_after(in_seconds(-60)).create().await;
        scene.wait_finished("served").await;
        assert_eq!(claimed().await, at_once, "{name}");
        claims.release();

        for number in 1..=6 {
            assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.outcomes(), [KILLED]);
        }
        scene.end().await;
    }
}

/// The shared call has more requests than can be claimed at once. The operator freezes between the claims. When it
/// resumes, other sessions have the IDs of the unclaimed requests.
#[tokio::test]
async fn frozen_after_the_list_was_read_a_group_looks_again_at_what_it_has_not_claimed() {
    let scene = Scene::set("old-list").await;
    let (relay, api) = (scene.gateway_relay().await, scene.api_relay().await);
    scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 60})).await;
    let call = Scene::hold_call(&relay, At::Request);
    let launch =
        Launch { allow: vec![relay.url()], api: Some(&api), dispatch_window_seconds: Some(60), ..Launch::default() };
    let operator = scene.launch(launch).await;
    scene.request("first").sessions([60]).create().await;
    call.reached().await;
    let expect = Expect { user: Some("report_ro".into()), ..Expect::default() };
    for number in 1..=12 {
        scene.request(&format!("inc-{number}")).sessions([number]).expecting(&expect).create().await;
    }
    all_seen(&scene).await;
    let claims = api.hold(At::Answer, Method::POST, "/sessionkillreceipts");
    call.release();
    scene.wait_finished("first").await;
    eventually("claims of the group", async || match claims.count() {
        4.. => Ok(()),
        fewer => Err(format!("{fewer}")),
    })
    .await;
    operator.pause().unwrap();
    let claimed: HashSet<String> =
        scene.receipts().await.into_iter().map(|receipt| receipt.spec.session_kill_ref.name).collect();
    let is_claimed = |number: &i64| claimed.contains(&format!("inc-{number}"));
    let (meant, others): (Vec<i64>, Vec<i64>) = (1..=12).partition(is_claimed);
    assert!(!others.is_empty(), "{claimed:?}");
    let now_there = meant.iter().map(|number| session(*number)).chain(others.iter().map(|number| successor(*number)));
    scene.gateway().set_sessions(now_there.collect()).unwrap();
    claims.release();
    until(in_seconds(16)).await;
    operator.resume().unwrap();

    for number in 1..=12 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        let expected = if is_claimed(&number) { "SessionsKilled" } else { "PreconditionFailed" };
        assert_eq!(ended.reason(), expected, "inc-{number}: {}", ended.message());
    }
    scene.assert_killed_once(meant.into_iter().chain([60]));
    scene.end().await;
}
