//! What changes between the process list and the kill, and what comes late: the server compares, and the server refuses.

use std::time::Duration;

use sessionkill::api::{Expect, SessionOutcome, SessionReason, SessionState, VerificationPolicy};
use testbed::oceanbase::mysql_async::prelude::Queryable as _;
use testbed::sql_relay::{Fate, SqlRelay};

use super::{assert_executed, engine, host, reached, request, scene};
use crate::scene::{Client, Request as _, create_user, in_seconds};

/// A part of the statement that compares, and of the one that kills.
const COMPARE: &str = "SELECT @k := ";
const KILL: &str = "@k, 0)";

#[tokio::test]
async fn a_session_that_runs_something_else_by_then_lives() {
    let engine = engine().await;
    let relay = SqlRelay::start(engine.port()).await.unwrap();
    let scene = scene("sql-changed", &engine, &[relay.host()]).await;
    let statement = Client::connect(&engine, "root").await.start_statement();
    let id = statement.id;
    let listed = scene.wait_listed(&statement).await;
    let held = relay.rule(COMPARE, Fate::HeldBefore);
    let expect = Expect { sql_id: Some(listed.sql_id), state: Some(SessionState::Active), ..Expect::default() };
    request(&scene, "inc-1", &engine, id).expecting(&expect).create().await;
    reached(&held).await;
    let mut root = engine.connect().await.unwrap();
    root.query_drop(format!("KILL QUERY {id}")).await.unwrap();
    let (mut client, _) = statement.refused().await;
    client.assert_served().await;
    held.release();
    let ended = scene.wait_finished("inc-1").await;
    let mismatch = (SessionOutcome::Skipped, SessionReason::PreconditionMismatch);
    assert_eq!((ended.reason(), ended.outcomes()), ("PreconditionFailed", vec![mismatch]), "{}", ended.message());
    client.assert_served().await;
    assert_executed(&engine, &[id], &[]);
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_is_gone_by_then_is_told_gone() {
    let engine = engine().await;
    let relay = SqlRelay::start(engine.port()).await.unwrap();
    let scene = scene("sql-gone", &engine, &[relay.host()]).await;
    let client = Client::connect(&engine, "root").await;
    let id = client.id;
    let held = relay.rule(COMPARE, Fate::HeldBefore);
    request(&scene, "inc-1", &engine, id).create().await;
    reached(&held).await;
    client.leave().await;
    scene.wait_unlisted(id).await;
    held.release();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound)]);
    assert_executed(&engine, &[id], &[]);
    scene.end().await;
}

#[tokio::test]
async fn a_kill_that_reaches_the_server_after_its_deadline_is_refused_by_the_server() {
    let engine = engine().await;
    let relay = SqlRelay::start(engine.port()).await.unwrap();
    let scene = scene("sql-late", &engine, &[relay.host()]).await;
    let mut client = Client::connect(&engine, "root").await;
    let held = relay.rule(KILL, Fate::HeldBefore);
    let deadline = in_seconds(10);
    request(&scene, "inc-1", &engine, client.id).not_after(deadline).create().await;
    reached(&held).await;
    // The packet is on its way, and the operator can do nothing about it any more.
    crate::scene::until(deadline + Duration::from_secs(1)).await;
    held.release();
    let ended = scene.wait_finished("inc-1").await;
    assert_ne!(ended.reason(), "SessionsKilled", "{}", ended.message());
    client.assert_served().await;
    assert_executed(&engine, &[client.id], &[]);
    scene.end().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_kill_is_found_out_and_nothing_is_sent_again() {
    let engine = engine().await;
    for (name, fate, executed) in
        [("sql-lost-after", Fate::LostAfter, true), ("sql-lost-before", Fate::LostBefore, false)]
    {
        let relay = SqlRelay::start(engine.port()).await.unwrap();
        let scene = scene(name, &engine, &[relay.host()]).await;
        let (mut first, mut second) = (Client::connect(&engine, "root").await, Client::connect(&engine, "root").await);
        let ids = [first.id, second.id];
        let lost = relay.rule(KILL, fate);
        let wanted = request(&scene, "inc-1", &engine, ids[0]).and_session_on(engine.server_ip(), ids[1]);
        wanted.verified(VerificationPolicy::Required, 5).create().await;
        reached(&lost).await;
        let ended = scene.wait_finished("inc-1").await;
        if executed {
            // Both connections of the call are lost, each with a kill that was executed.
            assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound); 2], "{}", ended.message());
            first.assert_lost().await;
            second.assert_lost().await;
            assert_executed(&engine, &ids, &ids);
        } else {
            assert_eq!(
                ended.outcomes(),
                [(SessionOutcome::Failed, SessionReason::StillPresent); 2],
                "{}",
                ended.message()
            );
            first.assert_served().await;
            second.assert_served().await;
            assert_executed(&engine, &ids, &[]);
        }
        assert_eq!(lost.count(), 2, "each session has one kill");
        scene.end().await;
    }
}

#[tokio::test]
async fn a_connection_that_was_lost_before_a_kill_is_made_anew() {
    let engine = engine().await;
    let relay = SqlRelay::start(engine.port()).await.unwrap();
    let scene = scene("sql-anew", &engine, &[relay.host(), host(&engine)]).await;
    let mut client = Client::connect(&engine, "root").await;
    let lost = relay.rule(COMPARE, Fate::LostAfter);
    request(&scene, "inc-1", &engine, client.id).create().await;
    reached(&lost).await;
    lost.release();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [(SessionOutcome::Killed, SessionReason::Verified)], "{}", ended.message());
    client.assert_lost().await;
    assert_executed(&engine, &[client.id], &[client.id]);
    scene.end().await;
}

#[tokio::test]
async fn a_process_that_is_paused_between_compare_and_kill_until_too_late_ends_nothing() {
    let engine = engine().await;
    let relay = SqlRelay::start(engine.port()).await.unwrap();
    let scene = scene("sql-paused", &engine, &[relay.host()]).await;
    let operator = scene.first_operator();
    let mut client = Client::connect(&engine, "root").await;
    let compared = relay.rule(COMPARE, Fate::HeldAfter);
    let deadline = in_seconds(10);
    request(&scene, "inc-1", &engine, client.id).not_after(deadline).create().await;
    reached(&compared).await;
    operator.pause().unwrap();
    compared.release();
    crate::scene::until(deadline + Duration::from_secs(1)).await;
    operator.resume().unwrap();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "DeadlineExceeded", "{}", ended.message());
    client.assert_served().await;
    assert_executed(&engine, &[client.id], &[]);
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_has_another_user_by_then_lives() {
    let engine = engine().await;
    create_user(&engine, "sql_before").await;
    create_user(&engine, "sql_after").await;
    let relay = SqlRelay::start(engine.port()).await.unwrap();
    let scene = scene("sql-user", &engine, &[relay.host()]).await;
    let mut client = Client::connect(&engine, "sql_before").await;
    let held = relay.rule(COMPARE, Fate::HeldBefore);
    request(&scene, "inc-1", &engine, client.id).create().await;
    reached(&held).await;
    client.become_user("sql_after").await;
    held.release();
    let ended = scene.wait_finished("inc-1").await;
    // It is another login, under the same ID.
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::IdReused)], "{}", ended.message());
    client.assert_served().await;
    assert_executed(&engine, &[client.id], &[]);
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_waits_for_a_lock_is_waited_for_until_it_is_gone() {
    let engine = engine().await;
    let scene = scene("sql-lock", &engine, &[host(&engine)]).await;
    let mut holder = engine.connect().await.unwrap();
    holder.query_drop("CREATE TABLE IF NOT EXISTS test.sql_lock (id INT PRIMARY KEY, n INT)").await.unwrap();
    holder.query_drop("REPLACE INTO test.sql_lock VALUES (1, 0)").await.unwrap();
    holder.query_drop("BEGIN").await.unwrap();
    holder.query_drop("UPDATE test.sql_lock SET n = 1 WHERE id = 1").await.unwrap();
    let waiter = Client::connect(&engine, "root").await.start("UPDATE test.sql_lock SET n = 2 WHERE id = 1");
    let id = waiter.id;
    crate::scene::eventually("the session to wait for the lock", async || {
        let listed = scene.listed(id).await;
        let waits = listed.as_ref().is_some_and(|session| session.sql_text.contains("n = 2"));
        if waits { Ok(()) } else { Err(format!("{listed:?}")) }
    })
    .await;
    let expect = Expect { state: Some(SessionState::Active), ..Expect::default() };
    let wanted = request(&scene, "inc-1", &engine, id).expecting(&expect);
    wanted.verified(VerificationPolicy::Required, 60).create().await;
    scene.wait_for("inc-1", "to be verified or ended", |request| (request.reason() != "Pending").then_some(())).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [(SessionOutcome::Killed, SessionReason::Verified)], "{}", ended.message());
    waiter.refused().await;
    holder.query_drop("ROLLBACK").await.unwrap();
    let n: Option<i64> = holder.query_first("SELECT n FROM test.sql_lock WHERE id = 1").await.unwrap();
    assert_eq!(n, Some(0), "the transaction of the killed session was rolled back");
    assert_executed(&engine, &[id], &[id]);
    scene.end().await;
}
