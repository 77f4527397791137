//! A `DryRun` makes the same checks as a Kill, reports what the Kill would do, and sends nothing.

use sessionkill::api::{Expect, SessionOutcome, SessionReason};
use testbed::gateway::{Fault, FaultKind};

use crate::scene::{Request as _, Scene, Shown as _, in_seconds, session, successor};

const WOULD: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::DryRun);

fn report() -> Expect {
    Expect { user: Some("report_ro".into()), ..Expect::default() }
}

#[tokio::test]
async fn a_dry_run_says_of_each_session_what_a_kill_would_do_and_then_the_kill_does_it() {
    let scene = Scene::ready("dry-run").await;
    scene.gateway().set_sessions(vec![session(1), successor(2), session(4)]).unwrap();
    let request = scene.request("kill").sessions(1..=3).expecting(&report());
    request.named("dry-run").dry_run().create().await;
    let ended = scene.wait_finished("dry-run").await;
    assert_eq!(ended.summary(), ["Succeeded=True(DryRunCompleted)", "Ready=True(DryRunCompleted)"]);
    assert!(ended.message().contains("a Kill would be sent for 1 of 3 sessions"), "{}", ended.message());
    let others = [
        (SessionOutcome::Skipped, SessionReason::PreconditionMismatch),
        (SessionOutcome::Gone, SessionReason::NotFound),
    ];
    assert_eq!(ended.outcomes(), [WOULD, others[0], others[1]]);
    let status = ended.status.unwrap();
    assert_eq!(status.sessions[0].message, "a Kill would be sent for it");
    assert_eq!(status.sessions[0].observed.as_ref().unwrap().user, "report_ro");
    assert_eq!(status.sessions[1].message, r#"user is "app", expected "report_ro""#);
    assert!(status.dispatch.is_none());
    scene.wait_for_event("dry-run", "DryRunCompleted").await;
    assert!(scene.receipts().await.is_empty() && scene.audit_lines().is_empty());
    scene.assert_nothing_sent();

    request.create().await;
    let killed = scene.wait_finished("kill").await;
    assert_eq!(killed.reason(), "PartiallyKilled", "{}", killed.message());
    assert_eq!(killed.outcomes(), [(SessionOutcome::Killed, SessionReason::Verified), others[0], others[1]]);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_dry_run_waits_for_a_list_that_can_be_read_even_if_nothing_is_expected() {
    let scene = Scene::ready("dry-run-unseen").await;
    scene.inject_list(Fault::new(FaultKind::Status5xx));
    scene.request("inc-1").dry_run().create().await;
    let waiting = scene.wait_for_reason("inc-1", "ObservationFailed").await;
    for words in ["OceanBaseConnection prod-ob", Scene::TENANT, "ServiceUnavailable"] {
        assert!(waiting.message().contains(words), "{words} is missing in: {}", waiting.message());
    }
    scene.gateway().clear_faults();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("DryRunCompleted", vec![WOULD]));
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_dry_run_of_what_was_executed_says_that_no_kill_would_be_sent() {
    let scene = Scene::ready("dry-run-executed").await;
    let request = scene.request("kill").expecting(&report());
    request.create().await;
    scene.wait_finished("kill").await;
    // Another session with the expected properties has the ID now. By the list alone, a Kill would be sent.
    scene.gateway().set_sessions(vec![session(1)]).unwrap();
    request.named("dry-run").dry_run().create().await;
    let ended = scene.wait_finished("dry-run").await;
    assert_eq!(ended.reason(), "DryRunCompleted");
    assert!(ended.message().contains("was executed before as SessionKill kill"), "{}", ended.message());
    assert!(!ended.message().contains("a Kill would be sent for"), "{}", ended.message());
    let status = ended.status.unwrap();
    assert_eq!(status.sessions[0].message, "no Kill would be sent for it");
    assert!(status.dispatch.is_none(), "the call was not its own");
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// The time of the dry run is over. The outcome of another request, which was a Kill, does not answer it.
#[tokio::test]
async fn a_dry_run_that_is_not_done_in_time_ends_even_if_a_kill_of_the_same_content_was_executed() {
    let scene = Scene::ready("dry-run-late").await;
    // In 40 s both requests are made even on a slow machine. The test waits until this time has passed.
    let not_after = in_seconds(40);
    let request = scene.request("kill").not_after(not_after);
    request.create().await;
    assert_eq!(scene.wait_finished("kill").await.reason(), "SessionsKilled");
    scene.inject_list(Fault::new(FaultKind::Error));
    request.named("dry-run").dry_run().create().await;
    let ended = scene.wait_finished("dry-run").await;
    assert_eq!(ended.reason(), "DeadlineExceeded");
    assert!(ended.status.as_ref().unwrap().completion_time.as_ref().unwrap().0 >= not_after);
    for words in ["nothing was sent", "ObservationFailed", "Forbidden.RAM"] {
        assert!(ended.message().contains(words), "{words} is missing in: {}", ended.message());
    }
    assert_eq!(ended.outcomes(), [(SessionOutcome::Skipped, SessionReason::DeadlineExceeded)]);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.end().await;
}
