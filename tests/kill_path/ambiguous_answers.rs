//! Calls whose answer does not tell whether they were executed. The process list shows what happened. The call is never
//! repeated.

use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::json;
use sessionkill::api::{Outcome, SessionKill, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind};
use testbed::operator::Operator;

use crate::scene::{Request as _, Scene, eventually, session_id, successor};

/// The name of the case, the fault, and whether the gateway executes the call.
type Case = (&'static str, Fault, bool);

const GONE: (SessionOutcome, SessionReason) = (SessionOutcome::Gone, SessionReason::NotFound);
const STILL_THERE: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::StillPresent);
const LOST: (SessionOutcome, SessionReason) = (SessionOutcome::Unknown, SessionReason::AnswerLost);

/// The number of a session that no request before the restart names.
const LAST: i64 = 60;

/// Every fault that leaves the outcome unknown.
fn all() -> Vec<Case> {
    use FaultKind::{Delay, Drop, Error, ErrorBody200, Html, Malformed, Status5xx, Truncated};
    let slow = Duration::from_secs(3);
    vec![
        ("dropped-before", Fault::new(Drop), false),
        ("dropped-after", Fault::new(Drop).after(), true),
        ("unavailable-before", Fault::new(Status5xx), false),
        ("unavailable-after", Fault::new(Status5xx).after(), true),
        ("html-before", Fault::new(Html), false),
        ("html-after", Fault::new(Html).after(), true),
        ("internal-error-before", Fault::new(ErrorBody200), false),
        ("internal-error-after", Fault::new(ErrorBody200).after(), true),
        ("unheard-of-code", Fault::new(Error).answering(400, "SomethingNew.Happened"), false),
        ("malformed", Fault::new(Malformed), true),
        ("truncated", Fault::new(Truncated), true),
        ("timed-out", Fault::new(Delay).after().delayed(slow), true),
    ]
}

fn named(names: &[&str]) -> Vec<Case> {
    all().into_iter().filter(|(name, _, _)| names.contains(name)).collect()
}

/// Creates one request per case, for the session with the case's number. The call of each request meets the fault of
/// its case. Their verifications run in parallel.
async fn send(scene: &Scene, cases: &[Case], timeout_seconds: i32) {
    for ((name, fault, _), number) in cases.iter().zip(1..) {
        scene.inject(fault.clone().times(1));
        let request = scene.request(name).sessions([number]);
        request.verified(VerificationPolicy::BestEffort, timeout_seconds).create().await;
        // Wait for this call: the next fault is meant for the next call.
        eventually(&format!("the call of {name}"), async || {
            if scene.calls_for(number).is_empty() { Err(format!("{:?}", scene.kill_calls())) } else { Ok(()) }
        })
        .await;
    }
}

/// Checks that each request ended as the gateway's ledger and process list say.
async fn end_as_it_was(scene: &Scene, cases: &[Case]) {
    for (name, _, executed) in cases {
        let ended = scene.wait_finished(name).await;
        if *executed {
            assert_eq!((ended.reason(), ended.outcomes()), ("SessionsGone", vec![GONE]), "{name}");
        } else {
            assert_eq!((ended.reason(), ended.outcomes()), ("StillPresent", vec![STILL_THERE]), "{name}");
            says_what_to_do(&ended);
            not_before_the_call_could_still_arrive(scene, &ended).await;
        }
        let record = scene.wait_recorded(name).await;
        assert_eq!(record.outcome.as_str(), ended.reason(), "{name}");
        assert_eq!(record.sessions, ended.status.unwrap().sessions, "{name}");
    }
    let left: Vec<_> = scene.gateway().sessions().await.unwrap().into_iter().map(|it| it.session_id).collect();
    for ((name, _, executed), number) in cases.iter().zip(1..) {
        assert_ne!(left.contains(&session_id(number)), *executed, "{name}");
    }
}

fn says_what_to_do(ended: &SessionKill) {
    for words in ["nothing is sent again", "create a new SessionKill with a new notAfterTime"] {
        assert!(ended.message().contains(words), "{}", ended.message());
    }
}

/// Checks that a call without an answer is not called failed before its dispatch deadline: until then the gateway may
/// still execute it, so a session that is still there proves nothing.
async fn not_before_the_call_could_still_arrive(scene: &Scene, ended: &SessionKill) {
    let (name, status) = (ended.name_any(), ended.status.as_ref().unwrap());
    let receipts = scene.receipts().await;
    let receipt = receipts.iter().find(|receipt| receipt.spec.session_kill_ref.name == name).unwrap();
    let (completed, deadline) = (status.completion_time.as_ref().unwrap(), &receipt.spec.dispatch_deadline_time);
    assert!(completed > deadline, "{name}: {completed:?} {deadline:?}");
}

/// Checks that neither a restart nor an edit makes the operator send a call again.
async fn nothing_is_repeated(scene: &Scene, operator: &Operator, cases: &[Case]) {
    operator.kill();
    scene.gateway().clear_faults();
    scene.operator().await;
    for (name, _, _) in cases {
        scene.edit(name, json!({"metadata": {"labels": {"edited": "yes"}}, "spec": {"suspend": true}})).await;
        let what = "to show that its edit was seen";
        scene.wait_for(name, what, |it| (it.status.as_ref()?.observed_generation == 2).then_some(())).await;
    }
    scene.request("last").sessions([LAST]).create().await;
    assert_eq!(scene.wait_finished("last").await.reason(), "SessionsKilled");
    for ((name, _, _), number) in cases.iter().zip(1..) {
        assert_eq!(scene.calls_for(number).len(), 1, "{name}");
    }
    let executed = cases.iter().zip(1..).filter(|((_, _, executed), _)| *executed).map(|(_, number)| number);
    scene.assert_killed_once(executed.chain([LAST]));
}

#[tokio::test]
async fn an_answer_that_leaves_the_outcome_open_is_resolved_by_the_list_and_the_call_never_repeated() {
    let scene = Scene::set("ambiguous").await;
    scene.connection(json!({"requestTimeoutSeconds": 2})).await;
    let operator = scene.operator().await;
    send(&scene, &all(), 1).await;
    end_as_it_was(&scene, &all()).await;
    nothing_is_repeated(&scene, &operator, &all()).await;
    scene.end().await;
}

#[tokio::test]
async fn with_an_unreadable_list_too_the_outcome_is_unknown_and_the_call_never_repeated() {
    let scene = Scene::set("ambiguous-unseen").await;
    scene.connection(json!({"requestTimeoutSeconds": 2})).await;
    let operator = scene.operator().await;
    scene.inject_list(Fault::new(FaultKind::Drop));
    send(&scene, &all(), 1).await;
    for (name, _, _) in all() {
        let ended = scene.wait_finished(name).await;
        assert_eq!((ended.reason(), ended.outcomes()), ("OutcomeUnknown", vec![LOST]), "{name}");
        says_what_to_do(&ended);
        not_before_the_call_could_still_arrive(&scene, &ended).await;
        assert!(ended.message().contains("the process list could not be read"), "{name}: {}", ended.message());
        assert_eq!(scene.wait_recorded(name).await.outcome, Outcome::OutcomeUnknown, "{name}");
    }
    scene.wait_for_event("dropped-after", "OutcomeUnknown").await;
    nothing_is_repeated(&scene, &operator, &all()).await;
    scene.end().await;
}

#[tokio::test]
async fn a_list_that_comes_back_in_time_still_tells_what_happened() {
    let scene = Scene::set("ambiguous-seen-late").await;
    scene.connection(json!({"requestTimeoutSeconds": 2})).await;
    let operator = scene.operator().await;
    scene.inject_list(Fault::new(FaultKind::Drop));
    let cases = named(&["dropped-before", "dropped-after", "unavailable-after"]);
    send(&scene, &cases, 20).await;
    for (name, _, _) in &cases {
        let open = scene.wait_for_reason(name, "Verifying").await;
        assert_eq!(open.outcomes(), [LOST], "{name}");
    }
    scene.gateway().clear_faults();
    end_as_it_was(&scene, &cases).await;
    nothing_is_repeated(&scene, &operator, &cases).await;
    scene.end().await;
}

#[tokio::test]
async fn a_batch_kill_without_an_answer_is_resolved_by_the_list_and_never_repeated() {
    let scene = Scene::set("ambiguous-batch").await;
    scene.connection(json!({"requestTimeoutSeconds": 2, "killOperation": "BatchKillProcessList"})).await;
    let operator = scene.operator().await;
    let cases = named(&["dropped-before", "dropped-after", "unavailable-before", "unavailable-after", "timed-out"]);
    send(&scene, &cases, 1).await;
    end_as_it_was(&scene, &cases).await;
    nothing_is_repeated(&scene, &operator, &cases).await;
    for call in scene.kill_calls() {
        assert_eq!(call.action.as_deref(), Some("BatchKillProcessList"));
    }
    scene.end().await;
}

#[tokio::test]
async fn an_id_that_another_session_has_by_now_means_that_the_one_without_an_answer_ended() {
    let scene = Scene::ready("ambiguous-reused").await;
    send(&scene, &named(&["dropped-before"]), 20).await;
    scene.gateway().set_sessions(vec![successor(1)]).unwrap();
    let ended = scene.wait_finished("dropped-before").await;
    assert_eq!(ended.reason(), "SessionsGone", "{}", ended.message());
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::IdReused)]);
    assert_eq!(scene.calls_for(1).len(), 1);
    scene.assert_killed_once([]);
    scene.end().await;
}

#[tokio::test]
async fn a_session_without_a_row_in_the_answer_is_looked_for_beside_those_that_have_one() {
    let scene = Scene::ready("partial").await;
    scene.inject(Fault::new(FaultKind::Partial).times(1));
    scene.request("inc-1").sessions(1..=4).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
    let killed = (SessionOutcome::Killed, SessionReason::Verified);
    assert_eq!(ended.outcomes(), [killed, killed, GONE, GONE]);
    let counts = ended.status.unwrap().counts.unwrap();
    assert_eq!((counts.total, counts.killed, counts.gone, counts.unknown), (4, 2, 2, 0));
    scene.assert_killed_once(1..=4);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.end().await;
}

#[tokio::test]
async fn a_session_without_a_row_is_unknown_if_the_list_cannot_be_read_either() {
    let scene = Scene::ready("partial-unseen").await;
    scene.inject(Fault::new(FaultKind::Partial).times(1));
    scene.inject_list(Fault::new(FaultKind::Drop));
    scene.request("inc-1").sessions(1..=4).verified(VerificationPolicy::BestEffort, 1).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "OutcomeUnknown");
    says_what_to_do(&ended);
    let killed = (SessionOutcome::Killed, SessionReason::Accepted);
    let missing = (SessionOutcome::Unknown, SessionReason::MissingInAnswer);
    assert_eq!(ended.outcomes(), [killed, killed, missing, missing]);
    let counts = ended.status.unwrap().counts.unwrap();
    assert_eq!((counts.total, counts.killed, counts.unknown), (4, 2, 2));
    scene.wait_for_event("inc-1", "OutcomeUnknown").await;
    scene.assert_killed_once(1..=4);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.end().await;
}
