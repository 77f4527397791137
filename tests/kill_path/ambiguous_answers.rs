//! Calls that were sent and whose answer leaves open what happened: said so, and never repeated.

use std::time::Duration;

use serde_json::json;
use sessionkill::api::{SessionOutcome, SessionReason};
use testbed::gateway::{Fault, FaultKind};

use crate::scene::{Request as _, Scene};

const LOST: (SessionOutcome, SessionReason) = (SessionOutcome::Unknown, SessionReason::AnswerLost);

/// Every fault that leaves the outcome open, and whether the call was executed.
fn faults() -> Vec<(&'static str, Fault, bool)> {
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

#[tokio::test]
async fn an_answer_that_leaves_the_outcome_open_is_unknown_and_the_call_is_never_repeated() {
    let scene = Scene::set("ambiguous").await;
    scene.connection(json!({"requestTimeoutSeconds": 2})).await;
    let operator = scene.operator().await;
    let mut killed = vec![];
    for ((name, fault, executed), number) in faults().into_iter().zip(1..) {
        scene.inject(fault.times(1));
        scene.request(name).sessions([number]).create().await;
        let ended = scene.wait_finished(name).await;
        assert_eq!((ended.reason(), ended.outcomes()), ("OutcomeUnknown", vec![LOST]), "{name}");
        assert!(ended.message().contains("nothing is sent again"), "{name}: {}", ended.message());
        assert!(ended.message().contains("create a new SessionKill"), "{name}: {}", ended.message());
        scene.wait_recorded(name).await;
        killed.extend(executed.then_some(number));
    }
    // A restart and an edit are occasions to send again.
    operator.kill();
    scene.operator().await;
    for (name, _, _) in faults() {
        scene.edit(name, json!({"metadata": {"labels": {"edited": "yes"}}, "spec": {"suspend": true}})).await;
    }
    scene.request("last").sessions([60]).create().await;
    assert_eq!(scene.wait_finished("last").await.reason(), "SessionsKilled");
    for ((name, _, _), number) in faults().iter().zip(1..) {
        assert_eq!(scene.calls_for(number).len(), 1, "{name}");
    }
    scene.assert_killed_once(killed.into_iter().chain([60]));
    scene.end().await;
}

#[tokio::test]
async fn a_session_without_a_row_in_the_answer_is_unknown_beside_those_that_have_one() {
    let scene = Scene::ready("partial").await;
    scene.inject(Fault::new(FaultKind::Partial).times(1));
    scene.request("inc-1").sessions(1..=4).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "OutcomeUnknown");
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
