//! Requests that are created after their `notAfterTime`. Nothing is sent for them. An executed one copies its outcome,
//! a missed one is a failure, and an old one is neutral for health.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sessionkill::api::{Outcome, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::control_plane::Request as Asked;
use testbed::gateway::Session;

use crate::scene::{At, Launch, Request as _, Scene, Shown as _, eventually, in_seconds, session, until};

const NOT_SENT: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::DeadlineExceeded);
/// In seconds: one value within the time that counts as missed, and one beyond it.
const A_LITTLE: i64 = -5;
const LONG: i64 = -45;
/// In these 40 s a call is made even on a slow machine. The test waits until they have passed.
const IN_TIME: i64 = 40;

/// Waits until a new object is too late.
async fn passed(not_after: Timestamp) {
    until(not_after + SignedDuration::from_secs(1)).await;
}

#[tokio::test]
async fn put_back_after_its_time_a_request_says_what_was_executed_and_a_failure_stays_one() {
    let scene = Scene::ready("put-back-late").await;
    scene.gateway().set_sessions(vec![session(1), Session { protected: true, ..session(2) }]).unwrap();
    let not_after = in_seconds(IN_TIME);
    let request = |name: &str, number| scene.request(name).sessions([number]).not_after(not_after);
    let requests = [("killed", request("killed", 1)), ("failed", request("failed", 2))];
    let mut before = vec![];
    for (name, request) in &requests {
        request.create().await;
        before.push(scene.wait_finished(name).await);
        scene.wait_recorded(name).await;
    }
    assert_eq!((before[0].reason(), before[1].reason()), ("SessionsKilled", "KillFailed"));
    passed(not_after).await;

    // Create each twice under its own name, as a pipeline that retries does, and once under another name.
    for suffix in ["", "", "-again"] {
        for ((name, request), before) in requests.iter().zip(&before) {
            let name = format!("{name}{suffix}");
            if suffix.is_empty() {
                scene.delete(&name).await;
            }
            request.named(&name).create().await;
            let again = scene.wait_finished(&name).await;
            let expected = if name.starts_with("killed") {
                vec!["Succeeded=True(AlreadyExecuted)", "Ready=True(AlreadyExecuted)"]
            } else {
                vec!["Succeeded=False(KillFailed)", "Ready=False(KillFailed)", "Stalled=True(KillFailed)"]
            };
            assert_eq!(again.summary(), expected, "{}", again.message());
            assert!(again.message().contains("nothing was sent again"), "{}", again.message());
            let (before, again) = (before.status.as_ref().unwrap(), again.status.as_ref().unwrap());
            assert_eq!((&again.sessions, &again.dispatch), (&before.sessions, &before.dispatch));
        }
    }
    for number in [1, 2] {
        assert_eq!(scene.calls_for(number).len(), 1);
    }
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// How late a request is depends on its creation time. When the operator first sees these, all of them are past the
/// limit.
#[tokio::test]
async fn what_was_missed_is_told_and_no_success_and_what_is_old_is_harmless() {
    let scene = Scene::set("missed").await;
    let late = |name: &str, number, by| scene.request(name).sessions([number]).not_after(in_seconds(by));
    late("missed", 1, A_LITTLE).create().await;
    late("suspended", 2, A_LITTLE).suspended().create().await;
    late("dry-run", 3, A_LITTLE).dry_run().create().await;
    late("old", 4, LONG).create().await;
    late("waited", 5, IN_TIME).create().await;
    until(in_seconds(IN_TIME)).await;
    scene.operator().await;

    for name in ["missed", "suspended"] {
        let ended = scene.wait_finished(name).await;
        let stalled = ["Succeeded=False(KillMissed)", "Ready=False(KillMissed)", "Stalled=True(KillMissed)"];
        assert_eq!((ended.summary(), ended.outcomes()), (stalled.map(str::to_owned).to_vec(), vec![NOT_SENT]));
        let not_after = ended.spec.not_after_time.0;
        let late = ended.metadata.creation_timestamp.as_ref().unwrap().0.duration_since(not_after).as_secs();
        assert!((4..30).contains(&late), "{late}");
        for words in [format!("created {late}s after its own notAfterTime {not_after}"), "nothing was sent".into()] {
            assert!(ended.message().contains(&words), "{words} is missing in: {}", ended.message());
        }
        assert!(ended.message().contains("create a new SessionKill with a new notAfterTime"), "{}", ended.message());
        assert!(scene.wait_for_event(name, "KillMissed").await.contains("new notAfterTime"));
    }
    // A `DryRun` leaves no receipt, so it may have been executed before.
    for name in ["dry-run", "old"] {
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.summary(), ["Succeeded=False(ExpiredOnArrival)", "Ready=True(ExpiredOnArrival)"]);
    }
    assert_eq!(scene.wait_finished("waited").await.reason(), "DeadlineExceeded", "it was there in time");
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}

/// A `DryRun` asks what a Kill would do, and leaves no receipt. The receipt of a Kill with the same content must not
/// answer it.
#[tokio::test]
async fn a_dry_run_that_comes_too_late_copies_nothing_of_a_kill_that_was_executed() {
    let scene = Scene::ready("late-dry-run").await;
    let not_after = in_seconds(IN_TIME);
    let kill = scene.request("inc-1").not_after(not_after);
    kill.create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.wait_recorded("inc-1").await;
    passed(not_after).await;
    scene.delete("inc-1").await;
    for name in ["inc-1", "another"] {
        kill.named(name).dry_run().create().await;
        let ended = scene.wait_finished(name).await;
        let summary = ["Succeeded=False(ExpiredOnArrival)", "Ready=True(ExpiredOnArrival)"];
        assert_eq!((ended.summary(), ended.outcomes()), (summary.map(str::to_owned).to_vec(), vec![NOT_SENT]));
        assert!(ended.status.unwrap().dispatch.is_none(), "the call was not its own");
    }
    // The receipt that the `DryRun` must not copy exists.
    kill.named("kill-again").create().await;
    assert_eq!(scene.wait_finished("kill-again").await.reason(), "AlreadyExecuted");
    assert_eq!(scene.calls_for(1).len(), 1);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn while_its_receipt_cannot_be_read_nobody_says_that_a_request_came_too_late() {
    let scene = Scene::set("late-unread").await;
    let api = scene.api_relay().await;
    scene.launch(Launch { api: Some(&api), ..Launch::default() }).await;
    let not_after = in_seconds(IN_TIME);
    let request = scene.request("inc-1").not_after(not_after);
    request.create().await;
    scene.wait_recorded("inc-1").await;
    passed(not_after).await;

    for (name, status) in [("refused", 403), ("failed", 503)] {
        let is_read = |asked: &testbed::fault_proxy::Asked| {
            asked.method == Method::GET && asked.path().contains("/sessionkillreceipts/sk-")
        };
        let unread = api.refuse(status, usize::MAX, is_read);
        request.named(name).create().await;
        eventually("tries to read the receipt", async || match unread.count() {
            count if count >= 3 => Ok(()),
            count => Err(format!("{count}")),
        })
        .await;
        let waiting = scene.requests().get(name).await.unwrap();
        assert!(!waiting.is_finished(), "{}", json!(waiting.status));
        if status == 403 {
            let waiting = scene.wait_for_reason(name, "Pending").await;
            assert!(waiting.message().contains("read SessionKillReceipt"), "{}", waiting.message());
        }
        unread.release();
        assert_eq!(scene.wait_finished(name).await.reason(), "AlreadyExecuted");
    }
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn put_back_too_late_a_request_waits_for_the_call_that_another_operator_makes() {
    let (scene, relay) = Scene::relayed("late-in-flight", 60).await;
    scene.operator_through(&relay).await;
    let call = Scene::hold_call(&relay, At::Answer);
    // 25 s: the test waits for them while the call is held, and the call is given up after 60 s.
    let not_after = in_seconds(25);
    let request = scene.request("inc-1").not_after(not_after);
    request.create().await;
    call.reached().await;
    scene.operator_through(&relay).await;
    passed(not_after).await;
    scene.delete("inc-1").await;
    request.create().await;
    let waiting = scene.wait_for_reason("inc-1", "Dispatching").await;
    assert!(waiting.message().contains("its outcome will be copied"), "{}", waiting.message());
    call.release();

    assert_eq!(scene.wait_finished("inc-1").await.reason(), "AlreadyExecuted");
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn put_back_too_late_a_request_finds_out_what_a_crash_left() {
    let (scene, relay) = Scene::relayed("late-orphan", 3).await;
    let operator = scene.operator_through(&relay).await;
    let call = Scene::hold_call(&relay, At::Answer);
    let not_after = in_seconds(IN_TIME);
    let request = scene.request("inc-1").verified(VerificationPolicy::BestEffort, 1).not_after(not_after);
    request.create().await;
    call.reached().await;
    operator.kill();
    call.release();
    passed(not_after).await;
    scene.delete("inc-1").await;
    request.create().await;
    scene.operator_through(&relay).await;

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "AlreadyExecuted", "{}", ended.message());
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound)]);
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::SessionsGone);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_folder_of_old_requests_costs_one_look_for_a_receipt_each_and_finished_ones_cost_none() {
    const MANY: i64 = 30;
    let scene = Scene::set("late-folder").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    for number in 1..=MANY {
        scene.request(&format!("old-{number}")).sessions([number]).not_after(in_seconds(LONG)).create().await;
    }
    let launch = Launch { kubeconfig: Some(kubeconfig), ..Launch::default() };
    let first = scene.launch(launch.clone()).await;
    for number in 1..=MANY {
        assert_eq!(scene.wait_finished(&format!("old-{number}")).await.reason(), "ExpiredOnArrival");
    }
    let looks = || scene.own_requests().get(&Asked::new("get", "sessionkillreceipts", "")).copied().unwrap_or(0);
    scene.wait_swept(2).await;
    assert_eq!(looks(), u64::try_from(MANY).unwrap());
    first.stop().await;
    scene.launch(launch).await;
    scene.wait_swept(2).await;
    assert_eq!(looks(), u64::try_from(MANY).unwrap(), "what has ended is not looked at");
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_folder_of_old_requests_whose_receipts_are_not_read_holds_up_nobody_of_another_namespace() {
    const MANY: i64 = 40;
    let scene = Scene::set("beside-late-folder").await;
    let hostile = Scene::bare("late-folder-held").await;
    let api = scene.api_relay().await;
    let looks = api.hold(At::Request, Method::GET, "/namespaces/late-folder-held/sessionkillreceipts/sk-");
    for number in 1..=MANY {
        hostile.request(&format!("old-{number}")).sessions([number]).not_after(in_seconds(LONG)).create().await;
    }
    let launch = Launch { api: Some(&api), namespaces: vec!["late-folder-held"], ..Launch::default() };
    scene.launch(launch).await;
    looks.reached().await;
    scene.request("old").sessions([1]).not_after(in_seconds(LONG)).create().await;
    scene.request("missed").sessions([2]).not_after(in_seconds(A_LITTLE)).create().await;
    scene.request("kill").sessions([3]).create().await;
    for (name, reason) in [("old", "ExpiredOnArrival"), ("missed", "KillMissed"), ("kill", "SessionsKilled")] {
        assert_eq!(scene.wait_finished(name).await.reason(), reason);
    }
    assert!(looks.count() < usize::try_from(MANY).unwrap(), "it has waited for none of the others");
    looks.release();
    for number in 1..=MANY {
        assert_eq!(hostile.wait_finished(&format!("old-{number}")).await.reason(), "ExpiredOnArrival");
    }
    scene.assert_killed_once([3]);
    hostile.end().await;
    scene.end().await;
}
