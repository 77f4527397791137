//! `kill`, and its exit codes.

use serde_json::json;
use testbed::arena::{SERVER_IP, session_id};
use testbed::gateway::{Fault, FaultKind, Session};

use crate::stage::{Stage, idle, of, parsed, sessions};

#[tokio::test]
async fn what_matches_is_ended_as_it_was_shown() {
    let stage = Stage::ready("kill", sessions()).await;
    let said =
        stage.run(&["kill", "--user", "report", "--min", "5m", "--yes", "--reason", "INC-1", "--name", "inc-1"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout.contains("SessionsKilled") && said.stdout.contains("1 of 1 sessions killed"),
        "{}",
        said.stdout
    );
    assert_eq!(stage.kills(), [(1, 1)]);
    let request = stage.request("inc-1").await;
    let expect = serde_json::to_value(&request.spec.sessions[0].expect).unwrap();
    let expected =
        json!({"user": "report", "clientIP": "10.2.3.4", "sqlID": format!("{:032X}", 1), "minExecutionSeconds": 300});
    assert_eq!(expect, expected);
    assert_eq!(request.spec.reason.as_deref(), Some("INC-1"));
    assert_eq!(request.metadata.labels.unwrap()["app.kubernetes.io/managed-by"], "kubectl-sessionkill");
    stage.assert_no_list().await;

    let again = stage.run(&["kill", "--user", "report", "--min", "5m", "--yes"]).await;
    assert_eq!((again.code, again.stdout.as_str()), (0, ""), "{again:?}");
    assert!(again.stderr.contains("no session matches\nnothing to end"), "{}", again.stderr);
}

#[tokio::test]
async fn sessions_are_named_as_the_list_shows_them_or_by_their_ids() {
    let stage = Stage::ready("kill-named", sessions()).await;
    let (by_server, by_id) = (format!("{SERVER_IP}/{}", session_id(1)), session_id(4).to_string());
    let gone = format!("{SERVER_IP}/{}", session_id(99));
    let said = stage.run(&["kill", &by_server, &by_id, &gone, "--yes", "-o", "json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains(&format!("{gone} is not in the list: it has ended")), "{}", said.stderr);
    assert_eq!(parsed(&said.stdout)["status"]["counts"]["killed"], 2);
    assert_eq!(stage.kills(), [(1, 1), (4, 1)]);
}

#[tokio::test]
async fn the_exit_code_says_how_it_ended() {
    let lingering = Session { lingering: true, ..of("linger", 1, 10) };
    let protected = Session { protected: true, ..of("guarded", 2, 10) };
    let stage = Stage::ready("kill-codes", vec![lingering, protected, of("guarded", 3, 10), of("lost", 4, 10)]).await;
    let kill = async |user| stage.run(&["kill", "--user", user, "--yes", "--name", user]).await;
    let some_not = kill("guarded").await;
    assert_eq!(some_not.code, 2, "{some_not:?}");
    assert!(some_not.stderr.contains("what to do: read status.sessions"), "{}", some_not.stderr);

    // Nothing can be read after the call, whose answer is lost.
    stage.arena.gateway.inject(Fault::new(FaultKind::Drop).after().on_kills().naming(session_id(4)));
    let named = format!("{SERVER_IP}/{}", session_id(4));
    let detached = stage.run(&["kill", &named, "--yes", "--detach", "--name", "detached"]).await;
    assert_eq!(
        (detached.code, detached.stdout.as_str()),
        (0, "sessionkill.sessionkill.dev/detached\n"),
        "{detached:?}"
    );
    stage.arena.gateway.clear_faults();

    let too_many = stage.run(&["kill", "--user", "guarded,linger", "--max", "1", "--yes"]).await;
    assert!(too_many.code == 4 && too_many.stderr.contains("at most 1 may be ended"), "{too_many:?}");
    let no_filter = stage.run(&["kill", "--active", "--yes"]).await;
    assert!(no_filter.code == 1 && no_filter.stderr.contains("no filter never means all"), "{no_filter:?}");
    let by_api = stage.run(&["kill", "--user", "guarded", "--query", "--yes"]).await;
    assert!(by_api.code == 1 && by_api.stderr.contains("needs a connection by SQL"), "{by_api:?}");
}

#[tokio::test]
async fn without_a_terminal_yes_must_be_said() {
    let stage = Stage::ready("kill-no-terminal", sessions()).await;
    let said = stage.run(&["kill", "--user", "report"]).await;
    assert!(said.code == 1 && said.stderr.contains("there is no terminal to ask on"), "{said:?}");
    assert!(stage.kills().is_empty() && stage.requests().await.is_empty());
}

#[tokio::test]
async fn a_manifest_for_git_is_one_that_the_api_server_takes() {
    let stage = Stage::ready("kill-manifest", sessions()).await;
    let line =
        ["kill", "--user", "report", "--reason", "INC-2", "--name", "inc-2", "--dry-run", "client", "-o", "yaml"];
    let said = stage.run(&line).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(stage.requests().await.is_empty(), "it is only printed");
    let created = stage.ground.control_plane.apply(&said.stdout).await.unwrap();
    assert!(created.contains("inc-2"), "{created}");
    assert_eq!(stage.request("inc-2").await.spec.sessions.len(), 2);
}

#[tokio::test]
async fn filters_can_be_sent_as_a_selector() {
    let stage =
        Stage::ready("kill-selector", vec![of("report", 1, 700), of("report", 2, 600), idle("app", 3, 800)]).await;
    let line =
        ["kill", "--user", "report", "--selector", "--max", "1", "--take", "longest", "--yes", "--name", "inc-3"];
    let said = stage.run(&line).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(stage.kills(), [(1, 1)]);
    let selector = stage.request("inc-3").await.spec.selector.unwrap();
    assert_eq!((selector.max_sessions, selector.matches.users), (Some(1), vec!["report".to_owned()]));
}

#[tokio::test]
async fn what_expires_before_it_is_sent_was_refused() {
    let stage = Stage::ready("kill-expired", sessions()).await;
    // The list is read once, and not again.
    stage.arena.gateway.inject(Fault::new(FaultKind::Throttle).on_kills());
    let said = stage.run(&["kill", "--user", "app", "--for", "12s", "--yes", "--name", "inc-4"]).await;
    assert_eq!(said.code, 4, "{said:?}");
    assert!(stage.kills().is_empty());
}
