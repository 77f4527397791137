//! What is killed: sessions, and statements only.

use serde_json::json;
use sessionkill::api::{Expect, Outcome, SessionOutcome, SessionReason};

use super::{CONNECTION, assert_executed, engine, host, request, scene, wait_connection};
use crate::scene::{Client, Request as _, SQL_MARK, Shown as _, create_user};

const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);

#[tokio::test]
async fn a_session_is_ended_by_sql_and_everything_that_follows_is_as_by_any_backend() {
    let engine = engine().await;
    let scene = scene("sql-kill", &engine, &[host(&engine)]).await;
    create_user(&engine, "sql_victim").await;
    let statement = Client::connect(&engine, "sql_victim").await.start_statement();
    let mut other = Client::connect(&engine, "sql_victim").await;
    let (id, living) = (statement.id, other.id);
    scene.wait_listed(&statement).await;
    let expect = Expect { user: Some("sql_victim".to_owned()), database: Some("test".to_owned()), ..Expect::default() };
    request(&scene, "inc-1", &engine, id).expecting(&expect).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED]), "{}", ended.message());
    statement.assert_lost().await;
    other.assert_served().await;
    assert_executed(&engine, &[id, living], &[id]);

    let status = ended.status.unwrap();
    let observed = status.sessions[0].observed.clone().unwrap();
    assert_eq!((observed.user.as_str(), observed.client_ip.as_str()), ("sql_victim", "127.0.0.1"));
    assert!(observed.host.starts_with("127.0.0.1:") && !observed.trace_id.is_empty(), "{observed:?}");
    assert!(observed.sql_text.contains(SQL_MARK), "{observed:?}");
    let dispatch = status.dispatch.unwrap();
    assert!(dispatch.request_id.parse::<i64>().is_ok(), "{dispatch:?}");
    assert_eq!(dispatch.operation.as_str(), "Kill");
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::SessionsKilled);
    let line = &scene.audit_lines()[0];
    assert_eq!((&line["backend"], &line["scope"]), (&json!("SQL"), &json!("Session")));
    assert_eq!(line["serverConnectionID"], dispatch.request_id.as_str());

    let connection = wait_connection(&scene, "ServerSideFence=True(DeadlineInStatement)").await;
    let summary = connection.summary();
    for said in
        ["Ready=True(CallAnswered)", "CredentialsValid=True(CredentialsAccepted)", "Encrypted=False(TLSDisabled)"]
    {
        assert!(summary.iter().any(|it| it == said), "{said}: {summary:?}");
    }
    assert_eq!(json!(connection.status.unwrap().backend), "SQL");
    scene.end().await;
}

#[tokio::test]
async fn the_same_content_is_executed_once_under_whatever_name() {
    let engine = engine().await;
    let scene = scene("sql-once", &engine, &[host(&engine)]).await;
    let mut victim = Client::connect(&engine, "root").await;
    let wanted = request(&scene, "inc-1", &engine, victim.id);
    wanted.create().await;
    assert_eq!(scene.wait_finished("inc-1").await.outcomes(), [VERIFIED]);
    victim.assert_lost().await;
    wanted.named("inc-2").create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "AlreadyExecuted");
    assert_executed(&engine, &[victim.id], &[victim.id]);
    scene.end().await;
}

#[tokio::test]
async fn of_scope_query_the_statement_ends_and_its_session_lives() {
    let engine = engine().await;
    let scene = scene("sql-query", &engine, &[host(&engine)]).await;
    let statement = Client::connect(&engine, "root").await.start_statement();
    let id = statement.id;
    let listed = scene.wait_listed(&statement).await;
    let expect = Expect { sql_id: Some(listed.sql_id.clone()), ..Expect::default() };
    request(&scene, "inc-1", &engine, id).query().expecting(&expect).create().await;
    let ended = scene.wait_finished("inc-1").await;
    let query_ended = (SessionOutcome::Killed, SessionReason::QueryEnded);
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![query_ended]), "{}", ended.message());
    let (mut client, code) = statement.refused().await;
    assert_eq!(code, Some(1317), "the client is told that its statement was interrupted");
    client.assert_served().await;
    assert_executed(&engine, &[id], &[]);
    assert!(engine.witness().unwrap().interrupted.contains(&id));
    // The same sessions without the scope are another request.
    request(&scene, "inc-2", &engine, id).create().await;
    assert_eq!(scene.wait_finished("inc-2").await.outcomes(), [VERIFIED]);
    client.assert_lost().await;
    scene.end().await;
}

#[tokio::test]
async fn an_id_that_the_server_would_cut_to_another_is_refused() {
    let engine = engine().await;
    let scene = scene("sql-wide", &engine, &[host(&engine)]).await;
    let mut innocent = Client::connect(&engine, "root").await;
    request(&scene, "inc-1", &engine, innocent.id + (1 << 32)).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "NotAllowed");
    assert!(ended.message().contains("is not the ID of a session by SQL"), "{}", ended.message());
    assert!(ended.message().contains(CONNECTION), "{}", ended.message());
    innocent.assert_served().await;
    assert_executed(&engine, &[innocent.id], &[]);
    scene.end().await;
}

#[tokio::test]
async fn many_sessions_are_ended_one_after_the_other_on_one_connection() {
    let engine = engine().await;
    let scene = scene("sql-many", &engine, &[host(&engine)]).await;
    let mut clients = vec![];
    for _ in 0..20 {
        clients.push(Client::connect(&engine, "root").await);
    }
    let ids: Vec<i64> = clients.iter().map(|client| client.id).collect();
    let mut wanted = request(&scene, "inc-1", &engine, ids[0]);
    for id in &ids[1..] {
        wanted = wanted.and_session_on(engine.server_ip(), *id);
    }
    wanted.and_session_on(engine.server_ip(), i64::from(u32::MAX)).create().await;
    let ended = scene.wait_finished("inc-1").await;
    let mut outcomes = vec![VERIFIED; 20];
    outcomes.push((SessionOutcome::Gone, SessionReason::NotFound));
    assert_eq!(ended.outcomes(), outcomes);
    for client in &mut clients {
        client.assert_lost().await;
    }
    assert_executed(&engine, &ids, &ids);
    scene.end().await;
}
