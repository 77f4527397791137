//! Sessions of a real engine, chosen by what they are.

use serde_json::json;
use sessionkill::api::{SessionOutcome, SessionReason};

use super::{CLUSTER, CONNECTION, TENANT, assert_executed, engine, host, scene};
use crate::scene::{Client, Request as _, create_user};

const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);

#[tokio::test]
async fn sessions_of_a_real_engine_are_chosen_and_compared_once_more_before_they_end() {
    let engine = engine().await;
    let scene = scene("sql-select", &engine, &[host(&engine)]).await;
    for user in ["sql_chosen", "sql_spared"] {
        create_user(&engine, user).await;
    }
    let statement = Client::connect(&engine, "sql_chosen").await.start_statement();
    let mut idle = Client::connect(&engine, "sql_chosen").await;
    let mut spared = Client::connect(&engine, "sql_spared").await;
    scene.wait_listed(&statement).await;
    let request =
        |name, selector| scene.request(name).through(CONNECTION).instance(CLUSTER).tenant(TENANT).selecting(selector);
    let chosen = json!({"match": {"users": ["sql_chosen"]}});
    request("list", chosen).dry_run().create().await;
    let listed = scene.wait_finished("list").await.status.unwrap();
    let mut ids: Vec<_> = listed.sessions.iter().map(|session| session.session_id).collect();
    ids.sort_unstable();
    let mut both = vec![statement.id, idle.id];
    both.sort_unstable();
    assert_eq!((ids, listed.counts.unwrap().matched), (both, Some(2)), "the operator's own session is no one's");

    let running = json!({
        "match": {"users": ["sql_chosen", "sql_spared"], "states": ["Active"], "sqlTextPattern": "canary_[a-z]+"},
        "maxSessions": 1,
    });
    request("inc-1", running).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED]), "{}", ended.message());
    let id = statement.id;
    statement.assert_lost().await;
    idle.assert_served().await;
    spared.assert_served().await;
    assert_executed(&engine, &[id, idle.id, spared.id], &[id]);

    let rest = json!({
        "match": {"users": ["sql_chosen", "sql_spared"], "transaction": "None"}, "exclude": {"users": ["sql_spared"]},
        "maxSessions": 5,
    });
    request("inc-2", rest).create().await;
    let ended = scene.wait_finished("inc-2").await;
    assert_eq!(ended.outcomes(), [VERIFIED], "{}", ended.message());
    idle.assert_lost().await;
    spared.assert_served().await;
    scene.end().await;
}

#[tokio::test]
async fn of_scope_query_only_running_statements_are_chosen() {
    let engine = engine().await;
    let scene = scene("sql-select-query", &engine, &[host(&engine)]).await;
    create_user(&engine, "sql_runner").await;
    let statement = Client::connect(&engine, "sql_runner").await.start_statement();
    let mut idle = Client::connect(&engine, "sql_runner").await;
    scene.wait_listed(&statement).await;
    let selector = json!({"match": {"users": ["sql_runner"]}, "maxSessions": 3});
    let request = scene.request("inc-1").through(CONNECTION).instance(CLUSTER).tenant(TENANT);
    request.selecting(selector).query().create().await;
    let ended = scene.wait_finished("inc-1").await;
    let query_ended = (SessionOutcome::Killed, SessionReason::QueryEnded);
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![query_ended]), "{}", ended.message());
    let (mut client, code) = statement.refused().await;
    assert_eq!(code, Some(1317));
    client.assert_served().await;
    idle.assert_served().await;
    scene.end().await;
}
