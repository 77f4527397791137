//! Sessions chosen by what they are: what matches right before the claim is ended, and nothing that matches later.

use serde_json::{Value, json};
use sessionkill::api::{SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind, Session};

use crate::scene::{At, Request as _, Scene, Shown as _, session, session_id};

const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);
const TOO_MANY: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::TooManyMatched);
const WOULD: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::DryRun);

/// Session number `number` of `user`, which has been in its state for so many seconds.
fn of(user: &str, number: i64, execute_time: i64) -> Session {
    Session { user: user.into(), execute_time, ..session(number) }
}

/// Six sessions of three users.
fn sessions() -> Vec<Session> {
    vec![
        of("report", 1, 400),
        of("report", 2, 200),
        of("report", 3, 301),
        of("app", 4, 900),
        Session { client_ip: "10.9.9.9".into(), ..of("report", 5, 1000) },
        Session { database: String::new(), status: "SLEEP".into(), command: "Sleep".into(), ..of("dba", 6, 5) },
    ]
}

fn long_reports(more: &Value) -> Value {
    let mut selector = json!({
        "match": {"users": ["report"], "minExecutionSeconds": 300}, "exclude": {"clientCIDRs": ["10.9.0.0/16"]},
        "maxSessions": 5,
    });
    selector.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    selector
}

/// A scene whose gateway has these sessions.
async fn scene(name: &str) -> Scene {
    let scene = Scene::ready(name).await;
    scene.gateway().set_sessions(sessions()).unwrap();
    scene
}

#[tokio::test]
async fn what_matches_is_ended_and_what_was_seen_of_it_is_recorded() {
    let scene = scene("select").await;
    let request = scene.request("inc-1").selecting(long_reports(&json!({})));
    request.create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED; 2]), "{}", ended.message());
    scene.assert_killed_once([1, 3]);
    let status = ended.status.unwrap();
    let ids: Vec<_> = status.sessions.iter().map(|session| session.session_id).collect();
    assert_eq!(ids, [session_id(1), session_id(3)], "those first that ran longest");
    assert_eq!(status.counts.unwrap().matched, Some(2));
    let receipts = scene.receipts().await;
    let claimed = &receipts[0].spec;
    assert_eq!((claimed.matched, claimed.sessions.len()), (Some(2), 2));
    let seen = claimed.sessions[0].observed.as_ref().unwrap();
    assert_eq!((seen.user.as_str(), seen.execute_time.as_str()), ("report", "400"));
    assert!(!seen.client_ip.is_empty(), "{seen:?}");
    assert_eq!(scene.wait_recorded("inc-1").await.sessions.len(), 2);
    assert_eq!(scene.audit_lines()[0]["sessions"].as_array().unwrap().len(), 2);

    // More would match by now.
    scene.gateway().set_sessions(sessions()).unwrap();
    request.named("inc-2").create().await;
    let again = scene.wait_finished("inc-2").await;
    assert_eq!(again.reason(), "AlreadyExecuted", "{}", again.message());
    scene.assert_killed_once([1, 3]);
    scene.end().await;
}

#[tokio::test]
async fn if_more_match_than_may_be_ended_none_is_and_the_status_says_who_they_are() {
    let scene = scene("select-many").await;
    scene.request("inc-1").selecting(json!({"match": {"users": ["report"]}, "maxSessions": 2})).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("TooManyMatched", vec![TOO_MANY; 4]));
    for words in ["4 sessions match", "maxSessions", r#"3 of "report" at"#, r#"1 of "report" at "10.9.9.9""#] {
        assert!(ended.message().contains(words), "{words} is missing in: {}", ended.message());
    }
    let status = ended.status.clone().unwrap();
    assert_eq!((status.counts.unwrap().matched, status.dispatch), (Some(4), None));
    assert!(ended.summary().contains(&"Stalled=True(TooManyMatched)".to_owned()), "{:?}", ended.summary());
    scene.assert_nothing_sent();
    assert_eq!(scene.wait_recorded("inc-1").await.sessions.len(), 4);
    assert!(scene.audit_lines().is_empty(), "nothing was ended");

    let longest = json!({"match": {"users": ["report"]}, "maxSessions": 2, "take": "Longest"});
    scene.request("inc-2").selecting(longest).create().await;
    let ended = scene.wait_finished("inc-2").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED; 2]));
    assert_eq!(ended.status.unwrap().counts.unwrap().matched, Some(4));
    scene.assert_killed_once([1, 5]);
    let newest = json!({"match": {"users": ["report"]}, "maxSessions": 1, "take": "Newest"});
    scene.request("inc-3").selecting(newest).create().await;
    assert_eq!(scene.wait_finished("inc-3").await.outcomes(), [VERIFIED]);
    scene.assert_killed_once([1, 2, 5]);
    scene.end().await;
}

#[tokio::test]
async fn that_nothing_matches_is_decided_once() {
    let scene = scene("select-nothing").await;
    let request = scene.request("inc-1").selecting(json!({"match": {"users": ["batch"]}, "maxSessions": 2}));
    request.create().await;
    let ended = scene.wait_finished("inc-1").await;
    let summary = ["Succeeded=True(NothingMatched)", "Ready=True(NothingMatched)"];
    assert_eq!((ended.summary(), ended.outcomes()), (summary.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(ended.status.unwrap().counts.unwrap().matched, Some(0));
    assert!(scene.wait_recorded("inc-1").await.sessions.is_empty());
    // Somebody was told that nothing matched: what matches now is another request's.
    scene.gateway().set_sessions(vec![of("batch", 1, 5)]).unwrap();
    request.named("inc-2").create().await;
    let again = scene.wait_finished("inc-2").await;
    assert_eq!(again.reason(), "AlreadyExecuted");
    assert!(again.message().contains("ended at") && again.message().contains("NothingMatched"), "{}", again.message());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_dry_run_without_a_filter_is_the_list() {
    let scene = scene("select-list").await;
    scene.request("list").selecting(json!({"match": {}})).dry_run().create().await;
    let ended = scene.wait_finished("list").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("DryRunCompleted", vec![WOULD; 6]));
    let status = ended.status.unwrap();
    let seen: Vec<_> = status.sessions.iter().map(|session| session.observed.as_ref().unwrap()).collect();
    let times: Vec<_> = seen.iter().map(|seen| seen.execute_time.as_str()).collect();
    assert_eq!(times, ["1000", "900", "400", "301", "200", "5"]);
    assert_eq!((seen[5].user.as_str(), seen[5].command.as_str()), ("dba", "Sleep"));

    scene.gateway().set_sessions((1..=250).map(|number| of("app", number, number)).collect()).unwrap();
    scene.request("many").selecting(json!({"match": {}})).dry_run().create().await;
    let ended = scene.wait_finished("many").await;
    let counts = ended.status.as_ref().unwrap().counts.unwrap();
    assert_eq!((counts.total, counts.matched), (100, Some(250)));
    assert_eq!(ended.status.unwrap().sessions[99].observed.as_ref().unwrap().execute_time, "151");
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_dry_run_says_what_a_kill_would_take() {
    let scene = scene("select-dry-run").await;
    let kill = json!({"match": {"users": ["report"]}, "maxSessions": 2});
    let request = scene.request("bounded").selecting(kill.clone()).dry_run();
    request.create().await;
    let ended = scene.wait_finished("bounded").await;
    assert_eq!(ended.outcomes(), [TOO_MANY; 4]);
    assert!(ended.message().contains("a Kill would be sent for 0 of 4 sessions"), "{}", ended.message());
    let mut taking = kill;
    taking["take"] = "Longest".into();
    scene.request("taking").selecting(taking).dry_run().create().await;
    let ended = scene.wait_finished("taking").await;
    assert_eq!(ended.outcomes(), [WOULD, WOULD, TOO_MANY, TOO_MANY]);
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn nothing_is_chosen_from_a_list_that_cannot_be_read_or_is_not_complete() {
    let scene = scene("select-unread").await;
    scene.inject_list(Fault::new(FaultKind::Status5xx));
    scene.request("inc-1").selecting(long_reports(&json!({}))).create().await;
    scene.wait_for_reason("inc-1", "ObservationFailed").await;
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.gateway().clear_faults();
    assert_eq!(scene.wait_finished("inc-1").await.outcomes(), [VERIFIED; 2]);
    scene.end().await;
}

#[tokio::test]
async fn a_pattern_that_the_api_server_lets_pass_and_the_operator_cannot_use_sends_nothing() {
    let scene = scene("select-pattern").await;
    // The API server's regular expressions have it, and those of the operator do not.
    let selector = json!({"match": {"sqlTextPattern": r"orders \Q.\E"}, "maxSessions": 2});
    scene.request("inc-1").selecting(selector).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "PreconditionFailed");
    let said = "selector.match.sqlTextPattern: character 8 of the regular expression";
    assert!(ended.message().contains(said), "{}", ended.message());
    scene.assert_nothing_sent();
    let mut selector = json!({"match": {"sqlTextPattern": r"(?i)sum\(AMOUNT\) from"}, "maxSessions": 6});
    selector["exclude"] = json!({"users": ["report", "dba"]});
    scene.request("inc-2").selecting(selector).create().await;
    assert_eq!(scene.wait_finished("inc-2").await.outcomes(), [VERIFIED]);
    scene.assert_killed_once([4]);
    scene.end().await;
}

#[tokio::test]
async fn what_only_sql_can_tell_is_refused_elsewhere() {
    let scene = scene("select-transaction").await;
    let selector = json!({"match": {"users": ["report"], "transaction": "Open"}, "maxSessions": 2});
    scene.request("inc-1").selecting(selector).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "NotAllowed");
    assert!(
        ended.message().contains("selector.match.transaction is for connections by SQL only"),
        "{}",
        ended.message()
    );
    scene.assert_nothing_sent();
    scene.end().await;
}

/// What a lost operator had chosen is looked at, and nothing else is chosen.
#[tokio::test]
async fn after_a_crash_the_claim_says_what_was_chosen() {
    let (scene, relay) = Scene::relayed("select-crash", 3).await;
    scene.gateway().set_sessions(sessions()).unwrap();
    let call = Scene::hold_call(&relay, At::Answer);
    let operator = scene.operator_through(&relay).await;
    let request = scene.request("inc-1").selecting(long_reports(&json!({})));
    request.verified(VerificationPolicy::BestEffort, 1).create().await;
    call.reached().await;
    operator.kill();
    scene.assert_killed_once([1, 3]);
    // By now another session matches.
    let others = sessions().into_iter().filter(|session| session.user != "report");
    scene.gateway().set_sessions(others.chain([of("report", 2, 800)]).collect()).unwrap();
    scene.operator_through(&relay).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsGone", "{}", ended.message());
    let status = ended.status.unwrap();
    assert_eq!(status.counts.unwrap().matched, Some(2));
    let ids: Vec<_> = status.sessions.iter().map(|session| session.session_id).collect();
    assert_eq!(ids, [session_id(1), session_id(3)]);
    assert_eq!((call.count(), scene.kill_calls().len()), (1, 1), "nothing was sent again");
    scene.end().await;
}
