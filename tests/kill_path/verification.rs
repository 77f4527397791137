//! The process list after the kill. An answer of the API proves neither that a session ended nor that it was the right
//! one.

use std::time::Duration;

use sessionkill::api::{Expect, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind, Session};
use testbed::operator::Operator;

use crate::scene::{At, Request as _, Scene, Shown as _, lingering, session, session_id, successor};

const ACCEPTED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Accepted);
const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);
const STILL_THERE: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::StillPresent);

#[tokio::test]
async fn a_session_that_takes_its_time_is_waited_for_until_it_is_gone() {
    let scene = Scene::ready("slow-end").await;
    scene.gateway().set_sessions(vec![lingering(1), session(2)]).unwrap();
    scene.request("inc-1").sessions([1, 2]).verified(VerificationPolicy::Required, 30).create().await;
    let shown = scene.wait_for_reason("inc-1", "Verifying").await;
    let expected = ["Succeeded=Unknown(Verifying)", "Ready=False(Verifying)", "Reconciling=True(Verifying)"];
    assert_eq!(shown.summary(), expected);
    assert!(shown.message().contains("KillProcessList was called"), "{}", shown.message());
    assert_eq!(shown.outcomes(), [ACCEPTED, VERIFIED], "what is known so far");
    let counts = shown.status.as_ref().unwrap().counts.unwrap();
    assert_eq!((counts.total, counts.killed), (2, 2));
    let dispatch = shown.status.unwrap().dispatch.unwrap();
    assert_eq!(dispatch.request_id, scene.kill_calls()[0].request_id);
    assert!(scene.receipt().await.status.is_none(), "nothing is recorded before its end");

    scene.gateway().set_sessions(vec![session(3)]).unwrap();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED, VERIFIED]));
    assert_eq!(ended.status.unwrap().dispatch.unwrap(), dispatch);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_is_still_there_at_the_end_was_not_killed_and_nothing_is_sent_again() {
    let scene = Scene::ready("no-end").await;
    scene.gateway().set_sessions(vec![lingering(1), lingering(2), session(3), lingering(4)]).unwrap();
    let request = |name, policy| scene.request(name).verified(policy, 2);
    request("best-effort", VerificationPolicy::BestEffort).sessions([1]).create().await;
    request("required", VerificationPolicy::Required).sessions([2]).create().await;
    request("one-of-two", VerificationPolicy::BestEffort).sessions([3, 4]).create().await;
    for (name, reason, outcomes) in [
        ("best-effort", "StillPresent", vec![STILL_THERE]),
        ("required", "StillPresent", vec![STILL_THERE]),
        ("one-of-two", "PartiallyKilled", vec![VERIFIED, STILL_THERE]),
    ] {
        let ended = scene.wait_finished(name).await;
        assert_eq!((ended.reason(), ended.outcomes()), (reason, outcomes), "{name}");
        let expected =
            [format!("Succeeded=False({reason})"), format!("Ready=False({reason})"), format!("Stalled=True({reason})")];
        assert_eq!(ended.summary(), expected);
        for words in ["1 still present", "nothing is sent again", "create a new SessionKill with a new notAfterTime"] {
            assert!(ended.message().contains(words), "{name}: {words} is missing in: {}", ended.message());
        }
        let told = ended.status.unwrap().sessions.pop().unwrap().message;
        assert!(told.starts_with("still in the process list at ") && told.contains(r#"in state "ACTIVE""#), "{told}");
        scene.wait_for_event(name, reason).await;
        assert_eq!(scene.wait_recorded(name).await.outcome.as_str(), reason);
    }
    for number in 1..=4 {
        assert_eq!(scene.calls_for(number).len(), 1, "nothing is sent again");
    }
    scene.assert_killed_once(1..=4);
    scene.end().await;
}

/// If the verification took longer, another operator could take the claim for an orphaned one.
#[tokio::test]
async fn verification_that_has_to_wait_for_its_turn_ends_in_its_own_time() {
    let scene = Scene::ready("throttled-look").await;
    // The first read is the one before the kill. The one after it is throttled, with a pause that is longer than all
    // the time that is left.
    scene.inject_list(Fault::new(FaultKind::Delay).times(1));
    scene.inject_list(Fault::new(FaultKind::Throttle).retry_after(Duration::from_secs(30)).times(1));
    scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![ACCEPTED]));
    assert_eq!(scene.list_reads().len(), 2, "it did not wait for another: {:?}", scene.list_reads());
    let receipt = scene.receipt().await;
    assert!(ended.status.unwrap().completion_time.unwrap().0 <= receipt.spec.settle_deadline_time.0);
    scene.wait_recorded("inc-1").await;
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn an_id_that_another_session_has_after_the_kill_proves_that_the_killed_one_ended() {
    let scene = Scene::ready("reused").await;
    scene.gateway().set_sessions(vec![lingering(1), lingering(2), lingering(3), lingering(4)]).unwrap();
    scene.request("inc-1").sessions(1..=4).verified(VerificationPolicy::BestEffort, 10).create().await;
    scene.wait_for_reason("inc-1", "Verifying").await;
    let elsewhere = Session { client_ip: "10.9.9.9".into(), ..session(2) };
    let behind_proxy = Session { proxy_sess_id: Some("12402504630519660553".into()), ..session(3) };
    // The last one is the same session with another statement in another database.
    let same = Session { database: "hr".into(), sql_text: "SELECT 1".into(), execute_time: 0, ..session(4) };
    scene.gateway().set_sessions(vec![successor(1), elsewhere, behind_proxy, same]).unwrap();
    let ended = scene.wait_finished("inc-1").await;
    let reused = (SessionOutcome::Killed, SessionReason::IdReused);
    assert_eq!(ended.outcomes(), [reused, reused, STILL_THERE, STILL_THERE]);
    assert_eq!(ended.reason(), "PartiallyKilled");
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_once(1..=4);
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_ends_by_itself_before_the_kill_arrives_is_gone() {
    let (scene, relay) = Scene::relayed("ended-before", 60).await;
    let call = Scene::hold_call(&relay, At::Request);
    scene.operator_through(&relay).await;
    scene.request("inc-1").sessions([1, 2]).create().await;
    call.reached().await;
    scene.gateway().set_sessions(vec![session(2), session(3)]).unwrap();
    call.release();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound), VERIFIED]);
    assert!(ended.status.unwrap().sessions[0].error_message.starts_with("Unknown thread id"));
    scene.assert_killed_once([2]);
    scene.end().await;
}

/// No check before the call can rule this out, so it must be reported.
#[tokio::test]
async fn an_answer_that_names_another_session_than_was_meant_is_told_everywhere() {
    let (scene, relay) = Scene::relayed("mismatch", 60).await;
    let call = Scene::hold_call(&relay, At::Request);
    let operator = scene.operator_through(&relay).await;
    assert!(mismatches(&operator).await.ends_with(" 0"));
    let expect = Expect { user: Some("report_ro".into()), ..Expect::default() };
    scene.request("inc-1").sessions([1, 2]).expecting(&expect).create().await;
    call.reached().await;
    scene.gateway().set_sessions(vec![successor(1), session(2)]).unwrap();
    call.release();

    let ended = scene.wait_finished("inc-1").await;
    let expected =
        ["Succeeded=True(SessionsKilled)", "Ready=True(SessionsKilled)", "TargetMismatch=True(AnswerDiffers)"];
    assert_eq!(ended.summary(), expected);
    let told = &ended.condition("TargetMismatch").unwrap().message;
    assert!(told.contains(r#"the answer names user "app", not "report_ro""#), "{told}");
    assert!(told.contains(&session_id(1).to_string()), "{told}");
    assert!(!told.contains(&session_id(2).to_string()), "{told}");
    let sessions = &ended.status.as_ref().unwrap().sessions;
    assert_eq!(sessions[0].message, r#"the answer names user "app", not "report_ro""#);
    assert_eq!(sessions[1].message, "");
    assert_eq!(scene.wait_recorded("inc-1").await.sessions[0].message, sessions[0].message);

    let note = scene.wait_for_event("inc-1", "TargetMismatch").await;
    assert!(note.contains(r#"the answer names user "app", not "report_ro""#), "{note}");
    let events = scene.events().await;
    let warning = events.iter().find(|event| event.reason.as_deref() == Some("TargetMismatch")).unwrap();
    assert_eq!(warning.type_.as_deref(), Some("Warning"));
    assert!(mismatches(&operator).await.ends_with(" 1"));
    let lines = scene.audit_lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["sessions"][0]["message"], r#"the answer names user "app", not "report_ro""#);
    assert_eq!(lines[0]["sessions"][1]["message"], "");
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

/// The line of the metric that counts target mismatches.
async fn mismatches(operator: &Operator) -> String {
    let text = Scene::metrics(operator).await;
    text.lines().find(|line| line.starts_with("sessionkill_target_mismatches_total")).unwrap().to_owned()
}
