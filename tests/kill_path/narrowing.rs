//! If the gateway refuses a call for several requests, it does not say which one it refuses. The requests are sent
//! again in halves, each under a new claim and a new nonce, until the refused one is alone.

use std::collections::HashSet;

use http::Method;
use serde_json::json;
use sessionkill::api::{Outcome, SessionOutcome, SessionReason};
use testbed::gateway::{CallRecord, Fault, FaultKind, Session};

use crate::groups::{all_seen, all_seen_by, held};
use crate::scene::{At, Hold, Launch, Relay, Request as _, Scene, in_seconds, session, session_id, until};

const KILLED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);
const GONE: (SessionOutcome, SessionReason) = (SessionOutcome::Gone, SessionReason::NotFound);
const REFUSED: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::RequestRejected);
const STILL_THERE: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::StillPresent);

/// The ID of session 1, as a call writes it.
const FIRST_ID: &str = "3221600001";

/// A refusal before the call is executed.
fn refusal(code: &str) -> Fault {
    Fault::new(FaultKind::Error).answering(400, code)
}

/// A refusal of any call that names this session: the gateway does not accept its ID.
fn odd(number: i64) -> Fault {
    refusal("InvalidParameter").naming(session_id(number))
}

/// Creates the request `inc-N` for session N, for each of these numbers.
async fn create(scene: &Scene, numbers: impl IntoIterator<Item = i64>) {
    for number in numbers {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
}

/// The number of sessions in each call that was answered with `code`.
fn sizes(calls: &[CallRecord], code: &str) -> Vec<usize> {
    calls.iter().filter(|call| call.result.as_deref() == Some(code)).map(|call| call.sessions.len()).collect()
}

/// Checks that no two calls have the same nonce.
fn assert_nonces_are_new(calls: &[CallRecord]) {
    let nonces: HashSet<_> = calls.iter().map(|call| call.nonce.as_ref().unwrap()).collect();
    assert_eq!(nonces.len(), calls.len(), "{calls:?}");
}

#[tokio::test]
async fn only_what_is_refused_alone_ends_so_and_all_others_of_its_call_are_killed() {
    let (scene, _relay, call) = held("odd-ones").await;
    create(&scene, 1..=12).await;
    all_seen(&scene).await;
    for number in [3, 8] {
        scene.inject(odd(number));
    }
    call.release();

    for number in 1..=12 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        if [3, 8].contains(&number) {
            assert_eq!((ended.reason(), ended.outcomes()), ("KillFailed", vec![REFUSED]), "{}", ended.message());
            assert!(ended.message().contains("InvalidParameter"), "{}", ended.message());
            assert_eq!(scene.wait_recorded(&format!("inc-{number}")).await.outcome, Outcome::KillFailed);
        } else {
            assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![KILLED]), "inc-{number}");
        }
    }
    let calls = scene.kill_calls();
    for number in [3, 8] {
        let refused = sizes(&scene.calls_for(number), "InvalidParameter");
        assert!(refused[0] > 2, "they went together: {refused:?}");
        assert!(refused.is_sorted_by(|one, next| one > next), "each time with fewer: {refused:?}");
        assert_eq!(refused.last(), Some(&1), "in the end alone: {refused:?}");
    }
    assert_nonces_are_new(&calls);
    assert_eq!(scene.receipts().await.len(), 13, "each has one claim in the end");
    scene.assert_killed_once((1..=12).filter(|number| ![3, 8].contains(number)).chain([60]));
    scene.end().await;
}

#[tokio::test]
async fn a_refusal_of_what_all_have_in_common_is_the_end_of_all() {
    let (scene, _relay, call) = held("same-tenant").await;
    create(&scene, 1..=6).await;
    all_seen(&scene).await;
    scene.inject(refusal("InvalidTenantId.NotFound").of_more_than(1));
    call.release();

    let mut together = 0;
    for number in 1..=6 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        let calls = scene.calls_for(number);
        assert_eq!(calls.len(), 1, "nothing is sent again");
        // A request that came late may have had a call of its own.
        let is_shared = calls[0].sessions.len() > 1;
        let expected = if is_shared { ("KillFailed", vec![REFUSED]) } else { ("SessionsKilled", vec![KILLED]) };
        assert_eq!((ended.reason(), ended.outcomes()), expected, "{}", ended.message());
        together += usize::from(is_shared);
    }
    assert!(together > 1, "they went together");
    scene.end().await;
}

#[tokio::test]
async fn the_most_sessions_that_a_gateway_takes_are_learnt_and_later_calls_start_with_them() {
    let (scene, relay, call) = held("few-at-once").await;
    scene.inject(refusal("InvalidParameter").of_more_than(3));
    create(&scene, 1..=12).await;
    all_seen(&scene).await;
    call.release();
    for number in 1..=12 {
        assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.outcomes(), [KILLED]);
    }
    let before = scene.kill_calls();
    assert!(sizes(&before, "InvalidParameter").first().is_some_and(|size| *size > 3), "{before:?}");

    let call = Scene::hold_call(&relay, At::Request);
    create(&scene, [59]).await;
    call.reached().await;
    create(&scene, 21..=32).await;
    all_seen_by(&scene, "seen-again").await;
    call.release();
    for number in 21..=32 {
        assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.outcomes(), [KILLED]);
    }
    let calls = scene.kill_calls();
    let later = &calls[before.len()..];
    assert!(sizes(later, "InvalidParameter").is_empty(), "{later:?}");
    assert!(sizes(later, "OK").iter().any(|size| *size > 1), "they still share calls: {later:?}");
    assert_nonces_are_new(&calls);
    scene.assert_killed_once((1..=12).chain(21..=32).chain([59, 60]));
    scene.end().await;
}

/// Holds the answer that refuses a shared call for sessions 1 to 4.
async fn refused_together(scene: &Scene, relay: &Relay, call: &Hold, fault: Fault) -> Hold {
    assert_eq!(session_id(1).to_string(), FIRST_ID);
    all_seen(scene).await;
    scene.inject(fault);
    let refused = relay.hold_body(At::Answer, Method::POST, FIRST_ID);
    call.release();
    refused.reached().await;
    let calls = scene.calls_for(1);
    assert!(calls.len() == 1 && calls[0].sessions.len() > 1, "they went together: {calls:?}");
    refused
}

#[tokio::test]
async fn no_half_is_executed_after_its_time() {
    let (scene, relay, call) = held("halves-in-time").await;
    let not_after = in_seconds(25);
    for number in 1..=4 {
        scene.request(&format!("inc-{number}")).sessions([number]).not_after(not_after).create().await;
    }
    let refused = refused_together(&scene, &relay, &call, refusal("InvalidParameter").of_more_than(1).times(1)).await;
    let half = Scene::hold_call(&relay, At::Request);
    refused.release();
    half.reached().await;
    until(not_after).await;
    half.release();

    for number in 1..=4 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        assert_eq!(ended.reason(), "DeadlineExceeded", "{}", ended.message());
    }
    let calls = scene.kill_calls();
    let named: Vec<usize> = calls.iter().map(|call| call.sessions.len()).collect();
    assert_eq!(named, [1, named[1], named[1].div_ceil(2)], "the other half was never sent");
    assert_eq!(sizes(&calls, "InvalidTimeStamp.Expired"), named[2..], "the gateway itself refused what was late");
    assert!(scene.receipts().await.iter().all(|receipt| receipt.spec.session_kill_ref.name == "first"));
    scene.assert_killed_once([60]);
    scene.end().await;
}

/// An operator that dies after a shared call was refused because of session 2: before the claims are released, or
/// before the halves are claimed. Its time-outs are 15 s, as nobody else moves a claim on before its settle deadline.
async fn dying(name: &str, is_released: bool) -> (Scene, Relay) {
    let scene = Scene::set(name).await;
    let relay = scene.gateway_relay().await;
    scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 15})).await;
    let call = Scene::hold_call(&relay, At::Request);
    let launch = Launch { allow: vec![relay.url()], dispatch_window_seconds: Some(15), ..Launch::default() };
    let operator = scene.launch(launch.clone()).await;
    scene.request("first").sessions([60]).create().await;
    call.reached().await;
    create(&scene, 1..=4).await;
    let refused = refused_together(&scene, &relay, &call, odd(2)).await;
    scene.wait_finished("first").await;
    scene.wait_recorded("first").await;
    let half = Scene::hold_read(&relay, At::Request);
    if is_released {
        refused.release();
        half.reached().await;
    }
    operator.kill();
    refused.release();
    half.release();
    scene.launch(launch).await;
    (scene, relay)
}

/// No other operator knows that the call was refused. Each outcome is taken from the process list.
#[tokio::test]
async fn a_claim_of_a_refused_call_whose_holder_dies_is_never_sent_again() {
    let (scene, _relay) = dying("dies-before-the-release", false).await;
    for number in 1..=4 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        assert_eq!(ended.outcomes(), [STILL_THERE], "{}", ended.message());
        assert_eq!(scene.calls_for(number).len(), 1, "nothing is sent again");
    }
    scene.assert_killed_once([60]);
    scene.end().await;
}

#[tokio::test]
async fn halves_whose_operator_dies_before_their_claims_are_narrowed_by_the_next() {
    let (scene, _relay) = dying("dies-before-the-claims", true).await;
    for number in 1..=4 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        let expected = if number == 2 { ("KillFailed", REFUSED) } else { ("SessionsKilled", KILLED) };
        assert_eq!((ended.reason(), ended.outcomes()), (expected.0, vec![expected.1]), "{}", ended.message());
    }
    let calls = scene.kill_calls();
    assert_nonces_are_new(&calls);
    scene.assert_killed_once([1, 3, 4, 60]);
    scene.end().await;
}

#[tokio::test]
async fn after_an_error_that_leaves_it_open_what_became_of_each_is_looked_at() {
    let (scene, _relay, call) = held("error-of-all").await;
    // The database does not end session 3.
    let sessions = [session(1), session(2), Session { protected: true, ..session(3) }, session(60)];
    scene.gateway().set_sessions(sessions.to_vec()).unwrap();
    create(&scene, 1..=3).await;
    all_seen(&scene).await;
    scene.inject(Fault::new(FaultKind::ErrorBody200).after().of_more_than(1));
    call.release();

    let mut lost = 0;
    for number in 1..=3 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        let calls = scene.calls_for(number);
        assert_eq!(calls.len(), 1, "what may have been executed is not split, and nothing is sent again: {calls:?}");
        if calls[0].result.as_deref() == Some("InternalError") {
            let expected = if number == 3 { STILL_THERE } else { GONE };
            assert_eq!(ended.outcomes(), [expected], "{}", ended.message());
            lost += 1;
        }
    }
    assert!(lost > 1, "they went together");
    scene.assert_killed_once([1, 2, 60]);
    scene.end().await;
}
