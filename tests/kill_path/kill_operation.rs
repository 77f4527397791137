//! Which operation ends the sessions. Alibaba announced the removal of KillProcessList. The operator uses
//! BatchKillProcessList instead once the gateway proves that KillProcessList is gone, and never before.

use std::sync::Arc;

use serde_json::json;
use sessionkill::api::{Expect, Operation, SessionKill, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind};
use testbed::operator::Operator;

use crate::scene::{Launch, Request as _, Scene, Shown as _, results, session};

const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);
const STILL_PRESENT: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::StillPresent);

const REMOVED: (&str, &str) = ("KillProcessList", "InvalidAction.NotFound");
const KILLED: (&str, &str) = ("KillProcessList", "OK");
const KILLED_IN_BATCH: (&str, &str) = ("BatchKillProcessList", "OK");

/// An operator with a dispatch window of 60 s, so that it can try the other operation even on a busy machine.
async fn operator(scene: &Scene) -> Arc<Operator> {
    scene.launch(Launch { dispatch_window_seconds: Some(60), ..Launch::default() }).await
}

/// Makes the gateway answer that the operation does not exist, for kills and probes.
fn remove(scene: &Scene, operation: &str) {
    scene.gateway().inject(Fault::new(FaultKind::RemoveAction).on(operation));
}

/// Ends the session `number` by its own request.
async fn kill(scene: &Scene, number: i64) -> SessionKill {
    let name = format!("inc-{number}");
    scene.request(&name).sessions([number]).create().await;
    let ended = scene.wait_finished(&name).await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED]), "{}", ended.message());
    ended
}

fn operation_of(request: &SessionKill) -> Operation {
    request.status.as_ref().unwrap().dispatch.as_ref().unwrap().operation
}

#[tokio::test]
async fn once_the_operation_is_removed_the_other_takes_its_place_until_it_is_back() {
    let scene = Scene::set("removal").await;
    let first = operator(&scene).await;
    scene.wait_probed().await;
    remove(&scene, "KillProcessList");

    let ended = kill(&scene, 1).await;
    let calls = scene.calls_for(1);
    assert_eq!(results(&calls), [REMOVED, KILLED_IN_BATCH], "within the attempt");
    let dispatch = ended.status.as_ref().unwrap().dispatch.clone().unwrap();
    assert_eq!((dispatch.operation, &dispatch.request_id), (Operation::BatchKillProcessList, &calls[1].request_id));
    assert_eq!(scene.receipt().await.metadata.name, Some(dispatch.receipt_name), "one claim for both calls");
    assert_eq!(scene.wait_recorded("inc-1").await.operation, Operation::BatchKillProcessList);
    let connection = scene.wait_for_operation(Operation::BatchKillProcessList).await;
    assert_eq!(connection.condition("Ready").unwrap().status, "True");

    assert_eq!(operation_of(&kill(&scene, 2).await), Operation::BatchKillProcessList);
    scene.wait_recorded("inc-2").await;
    first.kill();
    operator(&scene).await;
    assert_eq!(operation_of(&kill(&scene, 3).await), Operation::BatchKillProcessList);
    for number in [2, 3] {
        assert_eq!(results(&scene.calls_for(number)), [KILLED_IN_BATCH], "the other is not asked for again");
    }
    assert_eq!(scene.probes().len(), 1, "{:?}", scene.probes());

    scene.gateway().clear_faults();
    scene.connection(json!({"requestTimeoutSeconds": 7})).await;
    scene.wait_for_operation(Operation::KillProcessList).await;
    assert_eq!(operation_of(&kill(&scene, 4).await), Operation::KillProcessList);
    assert_eq!(results(&scene.calls_for(4)), [KILLED]);
    scene.assert_killed_once(1..=4);
    scene.end().await;
}

#[tokio::test]
async fn a_probe_finds_the_removal_before_any_request() {
    let scene = Scene::set("removed-before").await;
    remove(&scene, "KillProcessList");
    scene.operator().await;
    let connection = scene.wait_probed().await;
    assert_eq!(connection.status.as_ref().unwrap().operation, Some(Operation::BatchKillProcessList));
    assert_eq!(connection.condition("Ready").unwrap().status, "True");
    assert_eq!(results(&scene.probes()), [REMOVED, ("BatchKillProcessList", "MissingInstanceId")]);
    kill(&scene, 1).await;
    assert_eq!(results(&scene.kill_calls()), [KILLED_IN_BATCH]);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn an_answer_that_does_not_prove_the_removal_never_leads_to_the_other_operation() {
    let scene = Scene::set("no-proof").await;
    operator(&scene).await;
    scene.wait_probed().await;
    let error = |status, code| Fault::new(FaultKind::Error).answering(status, code);
    let refusals = [
        (1, 404, "NoSuchVersion", "OperationUnavailable"),
        (2, 400, "InvalidAction", "OperationUnavailable"),
        (3, 403, "Forbidden.RAM", "PermissionDenied"),
        (4, 404, "InvalidInstanceId.NotFound", "KillFailed"),
    ];
    for (number, status, code, reason) in refusals {
        scene.inject(error(status, code));
        let name = format!("inc-{number}");
        scene.request(&name).sessions([number]).create().await;
        let told = scene.wait_for_reason(&name, reason).await;
        assert!(told.message().contains(code), "{}", told.message());
        assert!(!told.message().contains("Batch"), "{}", told.message());
        scene.gateway().clear_faults();
        scene.wait_finished(&name).await;
    }
    // These calls may have been executed: a call of the other operation could end the session a second time.
    for (number, status, code) in [(5, 500, "InternalError"), (6, 400, "SomethingNew"), (7, 404, "NotFound")] {
        scene.inject(error(status, code).times(1));
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
        assert_eq!(scene.wait_answered(number).await, code);
    }
    scene.gateway().set_sessions((8..=60).map(session).collect()).unwrap();
    for number in 5..=7 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound)], "{}", ended.message());
        assert_eq!(scene.calls_for(number).len(), 1);
    }
    let in_batch =
        scene.gateway().calls().into_iter().filter(|it| it.action.as_deref() == Some("BatchKillProcessList"));
    assert_eq!(in_batch.count(), 0);
    assert_eq!(scene.connection_now().await.status.unwrap().operation, Some(Operation::KillProcessList));
    scene.assert_killed_once(1..=3);
    scene.end().await;
}

#[tokio::test]
async fn a_connection_that_names_the_removed_operation_waits_until_it_names_another() {
    let scene = Scene::bare("never-batch").await;
    scene.good_secret().await;
    scene.connection(json!({"killOperation": "KillProcessList"})).await;
    operator(&scene).await;
    scene.wait_probed().await;
    remove(&scene, "KillProcessList");
    scene.request("inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "OperationUnavailable").await;
    let remedy = "does not offer KillProcessList: see spec.alibabaCloud.killOperation of the connection";
    assert!(waiting.message().contains(remedy), "{}", waiting.message());
    scene.wait_for_connection("Ready=False(OperationUnavailable)").await;
    assert!(scene.calls_for(1).iter().all(|call| call.action.as_deref() == Some("KillProcessList")));
    scene.assert_killed_once([]);

    scene.connection(json!({"killOperation": "Auto"})).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [VERIFIED]);
    assert_eq!(operation_of(&ended), Operation::BatchKillProcessList);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_batch_ends_exactly_the_named_sessions_and_is_verified_whatever_the_policy() {
    let scene = Scene::bare("batch").await;
    scene.good_secret().await;
    // Sessions of the same proxy session: without `ByObSessionId` all of them would end.
    let mut sessions: Vec<_> = (1..=5).map(session).collect();
    for session in &mut sessions {
        session.proxy_sess_id = Some("12402504630519660553".into());
    }
    sessions[2].lingering = true;
    scene.gateway().set_sessions(sessions).unwrap();
    scene.connection(json!({"killOperation": "BatchKillProcessList"})).await;
    scene.operator().await;
    let connection = scene.wait_probed().await;
    assert_eq!(connection.status.unwrap().operation, Some(Operation::BatchKillProcessList));

    // The answer of BatchKillProcessList names no session. Without a read of the list nothing would be known.
    scene.request("none").sessions([1]).verified(VerificationPolicy::None, 5).create().await;
    assert_eq!(scene.wait_finished("none").await.outcomes(), [VERIFIED]);
    assert!(!scene.list_reads().is_empty());
    let expect = Expect { user: Some("report_ro".into()), ..Expect::default() };
    scene.request("best-effort").sessions([2, 3]).expecting(&expect).create().await;
    let ended = scene.wait_finished("best-effort").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("PartiallyKilled", vec![VERIFIED, STILL_PRESENT]));

    let left: Vec<_> = scene.gateway().sessions().await.unwrap().iter().map(|it| it.session_id).collect();
    assert_eq!(left, [3, 4, 5].map(crate::scene::session_id));
    scene.assert_killed_once([1, 2, 3]);
    let actions = scene.gateway().calls();
    assert!(actions.iter().all(|call| call.action.as_deref() != Some("KillProcessList")), "{actions:?}");
    assert_eq!(results(&scene.kill_calls()), [KILLED_IN_BATCH, KILLED_IN_BATCH]);
    scene.end().await;
}

#[tokio::test]
async fn a_batch_that_cannot_be_verified_is_unknown_and_not_repeated() {
    let scene = Scene::bare("batch-unseen").await;
    scene.good_secret().await;
    scene.connection(json!({"killOperation": "BatchKillProcessList"})).await;
    scene.operator().await;
    scene.inject_list(Fault::new(FaultKind::Error));
    for (policy, number) in [(VerificationPolicy::BestEffort, 1), (VerificationPolicy::None, 2)] {
        scene.request(&format!("inc-{number}")).sessions([number]).verified(policy, 5).create().await;
    }
    for number in 1..=2 {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        let unknown = (SessionOutcome::Unknown, SessionReason::NotVerified);
        assert_eq!((ended.reason(), ended.outcomes()), ("OutcomeUnknown", vec![unknown]));
        for words in ["its answer names no session", "nothing is sent again", "a new SessionKill"] {
            assert!(ended.message().contains(words), "{}", ended.message());
        }
        assert_eq!(results(&scene.calls_for(number)), [KILLED_IN_BATCH]);
    }
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}
