//! The read of the process list before the kill. Only sessions that meet their preconditions are killed. If the list
//! cannot show that, nothing is sent.

use sessionkill::api::{Expect, Outcome, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind, Session};

use crate::scene::{Request as _, SERVER_IP, Scene, Shown as _, in_seconds, lingering, session, session_id, successor};

const ACCEPTED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Accepted);
const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);
const GONE: (SessionOutcome, SessionReason) = (SessionOutcome::Gone, SessionReason::NotFound);
const MISMATCH: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::PreconditionMismatch);
const WAITING: (SessionOutcome, SessionReason) = (SessionOutcome::Pending, SessionReason::Waiting);

/// What every session of the memory backend meets.
fn report() -> Expect {
    Expect { user: Some("report_ro".into()), database: Some("reports".into()), ..Expect::default() }
}

/// How many times the process list was read.
fn lists(scene: &Scene) -> usize {
    let is_list = |action: &str| action == "DescribeProcessStatsComposition";
    scene.gateway().calls().iter().filter(|call| call.action.as_deref().is_some_and(is_list)).count()
}

#[tokio::test]
async fn only_sessions_that_are_as_expected_are_named_in_the_call() {
    let scene = Scene::ready("expected").await;
    scene.gateway().set_sessions(vec![session(1), successor(2), session(4)]).unwrap();
    scene.request("inc-1").sessions(1..=3).expecting(&report()).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("PartiallyKilled", vec![VERIFIED, MISMATCH, GONE]));
    let status = ended.status.unwrap();
    assert_eq!(status.sessions[1].message, r#"user is "app", expected "report_ro""#);
    assert_eq!(status.sessions[1].observed.as_ref().unwrap().user, "app");
    let counts = status.counts.unwrap();
    assert_eq!((counts.total, counts.killed, counts.skipped, counts.gone), (3, 1, 1, 1));
    let calls = scene.kill_calls();
    assert_eq!((calls.len(), calls[0].sessions.len()), (1, 1), "{calls:?}");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_name_is_compared_as_it_is_with_its_blanks_and_with_what_cannot_be_seen() {
    let scene = Scene::set("names-as-they-are").await;
    let names = [(1, "batch "), (2, "batch "), (3, "ad\u{200b}min\u{202e}")];
    let sessions = names.map(|(number, name)| Session { user: name.into(), ..session(number) });
    scene.gateway().set_sessions(sessions.into()).unwrap();
    scene.operator().await;
    let expecting = |user: &str| Expect { user: Some(user.into()), ..Expect::default() };
    for (name, number, user) in [("blank", 1, names[0].1), ("unseen", 3, names[2].1)] {
        scene.request(name).sessions([number]).expecting(&expecting(user)).create().await;
        let ended = scene.wait_finished(name).await;
        let killed = ["Succeeded=True(SessionsKilled)", "Ready=True(SessionsKilled)"];
        assert_eq!(ended.summary(), killed, "no mismatch is told of what the answer names");
    }
    scene.request("without").sessions([2]).expecting(&expecting("batch")).create().await;
    let spared = scene.wait_finished("without").await.status.unwrap();
    assert_eq!(spared.sessions[0].message, r#"user is "batch ", expected "batch""#);
    assert_eq!(spared.sessions[0].observed.as_ref().unwrap().user, "batch ");
    let unseen = scene.wait_finished("unseen").await.status.unwrap();
    assert_eq!(unseen.sessions[0].observed.as_ref().unwrap().user, r"ad\u{200b}min\u{202e}");
    scene.assert_killed_once([1, 3]);
    scene.end().await;
}

#[tokio::test]
async fn the_same_id_on_another_server_is_another_session() {
    let scene = Scene::ready("two-servers").await;
    let id = session_id(1);
    scene.request("inc-1").session_on(SERVER_IP, id).and_session_on("192.168.13.120", id).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED, GONE]));
    let calls = scene.kill_calls();
    assert_eq!((calls.len(), calls[0].sessions.len()), (1, 1), "{calls:?}");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn without_a_session_left_to_kill_nothing_is_claimed_and_nothing_is_sent() {
    let scene = Scene::ready("nothing-left").await;
    scene.gateway().set_sessions(vec![successor(2), session(4)]).unwrap();
    for (name, sessions, reason, outcomes) in [
        ("gone", vec![1, 3], "SessionsGone", vec![GONE, GONE]),
        ("other", vec![2], "PreconditionFailed", vec![MISMATCH]),
        ("gone-or-other", vec![1, 2], "PreconditionFailed", vec![GONE, MISMATCH]),
    ] {
        scene.request(name).sessions(sessions).expecting(&report()).create().await;
        let ended = scene.wait_finished(name).await;
        assert_eq!((ended.reason(), ended.outcomes()), (reason, outcomes), "{name}");
        assert!(ended.message().starts_with("nothing was sent"), "{name}: {}", ended.message());
        assert!(ended.status.unwrap().dispatch.is_none());
    }
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn what_is_expected_of_sessions_that_cannot_be_seen_keeps_them_from_being_killed() {
    let scene = Scene::ready("unseen").await;
    let faults = [
        ("dropped", Fault::new(FaultKind::Drop), "AnswerLost"),
        ("unavailable", Fault::new(FaultKind::Status5xx), "ServiceUnavailable"),
        ("throttled", Fault::new(FaultKind::Throttle), "Throttling.User"),
        ("forbidden", Fault::new(FaultKind::Error), "Forbidden.RAM"),
        ("malformed", Fault::new(FaultKind::Malformed), "UnreadableAnswer"),
    ];
    for ((name, fault, cause), number) in faults.into_iter().zip(1..) {
        scene.inject_list(fault);
        scene.request(name).sessions([number]).expecting(&report()).create().await;
        let waiting = scene.wait_for_reason(name, "ObservationFailed").await;
        let expected =
            ["Succeeded=Unknown", "Ready=False", "Reconciling=True"].map(|it| format!("{it}(ObservationFailed)"));
        assert_eq!(waiting.summary(), expected);
        assert_eq!(waiting.outcomes(), [WAITING]);
        for words in ["OceanBaseConnection prod-ob", Scene::TENANT, cause, "nothing was sent"] {
            assert!(waiting.message().contains(words), "{name}: {words} is missing in: {}", waiting.message());
        }
        assert!(waiting.status.unwrap().next_attempt_time.is_some());
        scene.wait_for_event(name, "ObservationFailed").await;
        let kept = scene.receipts().await.len();
        assert_eq!((scene.calls_for(number).len(), kept), (0, usize::try_from(number).unwrap() - 1), "{name}");

        scene.gateway().clear_faults();
        let ended = scene.wait_finished(name).await;
        assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED]), "{name}");
    }
    scene.assert_killed_once(1..=5);
    scene.end().await;
}

#[tokio::test]
async fn one_session_of_which_something_is_expected_holds_back_the_others_of_its_request() {
    let scene = Scene::ready("unseen-together").await;
    scene.inject_list(Fault::new(FaultKind::Drop));
    let request = scene.request("inc-1").sessions([1]).expecting(&report());
    request.and_session_on(SERVER_IP, session_id(2)).create().await;
    let waiting = scene.wait_for_reason("inc-1", "ObservationFailed").await;
    assert_eq!(waiting.outcomes(), [WAITING, WAITING]);
    scene.assert_nothing_sent();
    scene.gateway().clear_faults();
    assert_eq!(scene.wait_finished("inc-1").await.outcomes(), [VERIFIED, VERIFIED]);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn a_list_that_stays_unreadable_ends_the_request_in_time_with_the_cause() {
    let scene = Scene::ready("never-seen").await;
    scene.inject_list(Fault::new(FaultKind::Error));
    scene.request("inc-1").expecting(&report()).not_after(in_seconds(4)).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "DeadlineExceeded");
    for words in ["nothing was sent", "ObservationFailed", "OceanBaseConnection prod-ob", "Forbidden.RAM"] {
        assert!(ended.message().contains(words), "{words} is missing in: {}", ended.message());
    }
    assert_eq!(ended.outcomes(), [(SessionOutcome::Skipped, SessionReason::DeadlineExceeded)]);
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn an_incomplete_list_vouches_only_for_the_sessions_that_it_has() {
    let scene = Scene::ready("half-seen").await;
    // The gateway reports 60 sessions in all, but lists only sessions 1 to 30.
    scene.inject_list(Fault::new(FaultKind::Partial));
    let request = |name, number| scene.request(name).sessions([number]).verified(VerificationPolicy::BestEffort, 1);
    request("listed", 1).expecting(&report()).create().await;
    request("unlisted", 60).expecting(&report()).create().await;
    request("unlisted-unconditional", 59).create().await;
    let waiting = scene.wait_for_reason("unlisted", "ObservationFailed").await;
    assert!(waiting.message().contains("it is not complete"), "{}", waiting.message());
    for name in ["listed", "unlisted-unconditional"] {
        let ended = scene.wait_finished(name).await;
        assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![ACCEPTED]), "no absence proves an end");
    }
    scene.assert_killed_once([1, 59]);
    scene.gateway().clear_faults();
    assert_eq!(scene.wait_finished("unlisted").await.outcomes(), [VERIFIED]);
    scene.assert_killed_once([1, 59, 60]);
    scene.end().await;
}

#[tokio::test]
async fn where_nothing_is_expected_an_unreadable_list_keeps_nobody_from_being_killed() {
    let scene = Scene::ready("unseen-unconditional").await;
    scene.inject_list(Fault::new(FaultKind::Drop));
    let request = |name, number, policy| scene.request(name).sessions([number]).verified(policy, 2);
    request("best-effort", 1, VerificationPolicy::BestEffort).create().await;
    request("required", 2, VerificationPolicy::Required).create().await;
    let ended = scene.wait_finished("best-effort").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![ACCEPTED]));
    assert_eq!(scene.wait_recorded("best-effort").await.outcome, Outcome::SessionsKilled);

    let ended = scene.wait_finished("required").await;
    let unverified = (SessionOutcome::Unknown, SessionReason::NotVerified);
    assert_eq!((ended.reason(), ended.outcomes()), ("OutcomeUnknown", vec![unverified]));
    for words in ["process list could not be read", "nothing is sent again", "create a new SessionKill"] {
        assert!(ended.message().contains(words), "{words} is missing in: {}", ended.message());
    }
    assert_eq!(scene.wait_recorded("required").await.outcome, Outcome::OutcomeUnknown);
    for number in [1, 2] {
        assert_eq!(scene.calls_for(number).len(), 1, "nothing is sent again");
    }
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn without_verification_the_list_is_read_only_for_what_is_expected() {
    let scene = Scene::ready("unverified").await;
    scene.gateway().set_sessions(vec![lingering(1), lingering(2)]).unwrap();
    let request = |name, number| scene.request(name).sessions([number]).verified(VerificationPolicy::None, 30);
    request("unconditional", 1).create().await;
    let ended = scene.wait_finished("unconditional").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![ACCEPTED]));
    assert_eq!(lists(&scene), 0);
    request("expecting", 2).expecting(&report()).create().await;
    assert_eq!(scene.wait_finished("expecting").await.outcomes(), [ACCEPTED]);
    assert_eq!(lists(&scene), 1);
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

/// By the current process list, these requests would not be sent, and would not end as executed. Their receipts decide.
#[tokio::test]
async fn an_executed_request_that_is_applied_again_is_already_executed_whatever_the_list_says() {
    let scene = Scene::ready("executed").await;
    let expecting = |name: &'static str, number| scene.request(name).sessions([number]).expecting(&report());
    let unconditional = |name: &'static str, number| scene.request(name).sessions([number]);
    let requests = [
        ("gone", unconditional("gone", 1)),
        ("expected-gone", expecting("expected-gone", 2)),
        ("expected-other", expecting("expected-other", 3)),
        ("unseen", unconditional("unseen", 4)),
        ("expected-unseen", expecting("expected-unseen", 5)),
    ];
    for (name, request) in &requests {
        request.create().await;
        assert_eq!(scene.wait_finished(name).await.reason(), "SessionsKilled", "{name}");
        scene.delete(name).await;
    }
    scene.gateway().set_sessions(vec![successor(3)]).unwrap();
    for (name, request) in &requests {
        if name.ends_with("unseen") {
            scene.inject_list(Fault::new(FaultKind::Drop));
        }
        request.create().await;
        let ended = scene.wait_finished(name).await;
        assert_eq!((ended.reason(), ended.outcomes()), ("AlreadyExecuted", vec![VERIFIED]), "{name}");
        assert!(ended.message().contains("nothing was sent again"), "{name}: {}", ended.message());
    }
    assert_eq!(scene.kill_calls().len(), requests.len());
    scene.assert_killed_once(1..=5);
    scene.end().await;
}
