//! Failures of the operator, the process list or the request between the call and the end of its verification. Any
//! operator that runs finishes the verification. The call is never repeated.

use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;
use sessionkill::api::{Outcome, SessionKill, SessionKillReceipt, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind};

use crate::scene::{At, Request as _, Scene, lingering, session};

const ACCEPTED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Accepted);
const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);

/// Waits until the status shows a call in verification, with everything that another operator needs to continue.
async fn in_verification(scene: &Scene, name: &str) -> SessionKill {
    let shown = scene.wait_for_reason(name, "Verifying").await;
    assert_eq!(shown.outcomes(), [ACCEPTED]);
    let dispatch = shown.status.as_ref().unwrap().dispatch.as_ref().unwrap();
    let calls = scene.kill_calls();
    assert!(calls.iter().any(|call| call.request_id == dispatch.request_id), "{dispatch:?}, {calls:?}");
    shown
}

/// Checks that the request ended as killed and verified, by the same call as in `shown`.
fn ended_by_the_same_call(ended: &SessionKill, shown: &SessionKill) {
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED]), "{}", ended.message());
    let (ended, shown) = (ended.status.as_ref().unwrap(), shown.status.as_ref().unwrap());
    assert_eq!(ended.dispatch, shown.dispatch);
    assert_eq!(ended.start_time, shown.start_time);
}

#[tokio::test]
async fn killed_while_it_verifies_the_next_operator_goes_on_from_what_is_shown() {
    let scene = Scene::set("killed-verifying").await;
    scene.connection(json!({"requestTimeoutSeconds": 1})).await;
    let operator = scene.operator().await;
    scene.gateway().set_sessions(vec![lingering(1)]).unwrap();
    scene.request("inc-1").verified(VerificationPolicy::BestEffort, 10).create().await;
    let shown = in_verification(&scene, "inc-1").await;
    operator.kill();
    assert!(scene.receipt().await.status.is_none(), "not recorded");
    scene.gateway().set_sessions(vec![session(2)]).unwrap();
    scene.inject_list(Fault::new(FaultKind::Drop));

    scene.operator().await;
    let words = "nothing is sent again, and the process list is read";
    let taken_over = scene.wait_for("inc-1", "to say that its operator is gone", |object| {
        object.message().contains(words).then(|| object.clone())
    });
    let taken_over = taken_over.await;
    assert_eq!((taken_over.reason(), taken_over.outcomes()), ("Verifying", vec![ACCEPTED]));
    assert_eq!(taken_over.status.unwrap().dispatch, shown.status.as_ref().unwrap().dispatch);
    scene.gateway().clear_faults();

    let ended = scene.wait_finished("inc-1").await;
    ended_by_the_same_call(&ended, &shown);
    let record = scene.wait_recorded("inc-1").await;
    assert_eq!(record.outcome, Outcome::SessionsKilled);
    assert_eq!(record.request_id, ended.status.unwrap().dispatch.unwrap().request_id);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn an_orphaned_claim_waits_for_a_list_that_can_be_read() {
    let (scene, relay) = Scene::relayed("orphan-unseen", 1).await;
    let call = Scene::hold_call(&relay, At::Answer);
    let operator = scene.operator_through(&relay).await;
    scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1).create().await;
    call.reached().await;
    operator.kill();
    scene.inject_list(Fault::new(FaultKind::Drop));

    scene.operator_through(&relay).await;
    let waiting = scene.wait_for_reason("inc-1", "Verifying").await;
    assert!(waiting.message().contains("nothing is sent again"), "{}", waiting.message());
    assert!(scene.receipt().await.status.is_none(), "nobody can tell yet");
    scene.gateway().clear_faults();

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsGone", "{}", ended.message());
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound)]);
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::SessionsGone);
    assert_eq!((call.count(), scene.kill_calls().len()), (1, 1));
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn an_orphaned_claim_is_given_up_as_unknown_if_the_list_stays_unreadable() {
    let (scene, relay) = Scene::relayed("orphan-never-seen", 1).await;
    let call = Scene::hold_call(&relay, At::Answer);
    let operator = scene.operator_through(&relay).await;
    let request = scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1);
    request.create().await;
    call.reached().await;
    operator.kill();
    scene.inject_list(Fault::new(FaultKind::Drop));

    scene.operator_through(&relay).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "OutcomeUnknown");
    assert_eq!(ended.outcomes(), [(SessionOutcome::Unknown, SessionReason::HolderLost)]);
    for words in ["the process list could not be read", "nothing is sent again", "create a new SessionKill"] {
        assert!(ended.message().contains(words), "{}", ended.message());
    }
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::OutcomeUnknown);
    scene.gateway().clear_faults();
    scene.delete("inc-1").await;
    request.create().await;
    let again = scene.wait_finished("inc-1").await;
    assert_eq!(again.reason(), "OutcomeUnknown", "applied again, it is still not sent");
    assert_eq!((call.count(), scene.kill_calls().len()), (1, 1));
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// Checked with the operator that made the call, and with another one.
#[tokio::test]
async fn a_call_in_verification_cannot_be_suspended() {
    let scene = Scene::set("suspended-verifying").await;
    scene.connection(json!({"requestTimeoutSeconds": 1})).await;
    let operator = scene.operator().await;
    scene.gateway().set_sessions(vec![lingering(1), lingering(2)]).unwrap();
    let mut shown = vec![];
    for (name, number) in [("here", 1), ("elsewhere", 2)] {
        let request = scene.request(name).sessions([number]);
        request.verified(VerificationPolicy::BestEffort, 20).create().await;
        shown.push(in_verification(&scene, name).await);
        scene.edit(name, json!({"spec": {"suspend": true}})).await;
    }
    scene.gateway().set_sessions(vec![lingering(2)]).unwrap();
    ended_by_the_same_call(&scene.wait_finished("here").await, &shown[0]);

    assert_eq!(scene.requests().get("elsewhere").await.unwrap().reason(), "Verifying");
    operator.kill();
    scene.gateway().set_sessions(vec![session(3)]).unwrap();
    scene.operator().await;
    ended_by_the_same_call(&scene.wait_finished("elsewhere").await, &shown[1]);
    for name in ["here", "elsewhere"] {
        let what = "to show that the edit was seen";
        scene.wait_for(name, what, |it| (it.status.as_ref()?.observed_generation == 2).then_some(())).await;
        assert_eq!(scene.wait_recorded(name).await.outcome, Outcome::SessionsKilled);
    }
    for number in [1, 2] {
        assert_eq!(scene.calls_for(number).len(), 1, "nothing is sent again");
    }
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn a_request_deleted_during_its_verification_has_its_outcome_recorded_all_the_same() {
    let scene = Scene::ready("deleted-verifying").await;
    scene.gateway().set_sessions(vec![lingering(1)]).unwrap();
    let request = scene.request("inc-1").verified(VerificationPolicy::BestEffort, 30);
    request.create().await;
    let shown = in_verification(&scene, "inc-1").await;
    scene.delete("inc-1").await;
    request.create().await;
    let waiting = scene.wait_for_reason("inc-1", "Dispatching").await;
    assert!(waiting.message().contains("its outcome will be copied"), "{}", waiting.message());
    assert!(scene.receipt().await.status.is_none(), "not recorded");
    scene.gateway().set_sessions(vec![session(2)]).unwrap();

    let record = scene.wait_recorded("inc-1").await;
    let dispatch = shown.status.unwrap().dispatch.unwrap();
    assert_eq!((record.outcome, &record.request_id), (Outcome::SessionsKilled, &dispatch.request_id));
    let again = scene.wait_finished("inc-1").await;
    assert_eq!((again.reason(), again.outcomes()), ("AlreadyExecuted", vec![VERIFIED]), "{}", again.message());
    assert_eq!(again.status.unwrap().dispatch.unwrap(), dispatch);
    assert_eq!(scene.audit_lines().len(), 1);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// The receipt keeps the call from being made again. If a user deletes it, the status must do so instead.
#[tokio::test]
async fn a_call_whose_receipt_was_deleted_is_not_made_again() {
    let scene = Scene::set("receipt-deleted").await;
    let operator = scene.operator().await;
    scene.gateway().set_sessions(vec![lingering(1)]).unwrap();
    scene.request("inc-1").verified(VerificationPolicy::Required, 60).create().await;
    let shown = in_verification(&scene, "inc-1").await;
    operator.kill();
    let receipt = scene.receipt().await.name_any();
    scene.api::<SessionKillReceipt>().delete(&receipt, &DeleteParams::default()).await.unwrap();

    scene.operator().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [(SessionOutcome::Failed, SessionReason::StillPresent)], "{}", ended.message());
    assert!(ended.message().contains("nothing is sent again"), "{}", ended.message());
    assert_eq!(ended.status.unwrap().dispatch, shown.status.unwrap().dispatch);
    assert!(scene.receipts().await.is_empty());
    assert_eq!(scene.kill_calls().len(), 1);
    scene.end().await;
}
