//! Sessions of a real engine: those that meet the request's `expect`, and those that do not.

use serde_json::json;
use sessionkill::api::{Expect, Operation, Outcome, SessionOutcome, SessionReason, SessionState, VerificationPolicy};
use testbed::gateway::{Fault, FaultKind, Session};
use testbed::oceanbase::mysql_async::prelude::Queryable as _;

use crate::scene::{
    At, Client, Launch, Request as _, SQL_MARK, Scene, Shown as _, as_listed, create_user, eventually, shared_engine,
};

const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);
const NOT_FOUND: (SessionOutcome, SessionReason) = (SessionOutcome::Gone, SessionReason::NotFound);
const MISMATCH: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::PreconditionMismatch);
/// The engine's error code for a statement that was ended while its session goes on.
const QUERY_INTERRUPTED: u16 = 1317;

#[tokio::test]
async fn a_session_that_is_as_expected_in_every_field_is_killed_and_seen_to_be_gone() {
    let engine = shared_engine().await;
    let scene = Scene::set_on(&engine, "engine-right").await;
    scene.connection(json!({"sqlText": "Truncated"})).await;
    scene.operator().await;
    create_user(&engine, "right_reader").await;
    let statement = Client::connect(&engine, "right_reader").await.start_statement();
    let (id, listed) = (statement.id, scene.wait_listed(&statement).await);
    let expect = as_listed(&listed);
    let all = Expect {
        user: Some("right_reader".to_owned()),
        database: Some("test".to_owned()),
        client_ip: Some("127.0.0.1".to_owned()),
        command: Some("Query".to_owned()),
        state: Some(SessionState::Active),
        sql_id: Some(listed.sql_id.clone()),
        proxy_session_id: None,
        min_execution_seconds: expect.min_execution_seconds,
        ..Expect::default()
    };
    assert!(expect == all && listed.sql_id.len() == 32 && listed.execute_time > 0, "{listed:?}");

    scene.request("inc-1").session_on(engine.server_ip(), id).expecting(&expect).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED]));
    assert_eq!(ended.message(), "1 of 1 sessions killed");
    statement.assert_lost().await;
    assert_eq!(scene.listed(id).await, None);

    let told = &ended.status.as_ref().unwrap().sessions[0];
    let observed = told.observed.as_ref().unwrap();
    assert_eq!((observed.user.as_str(), observed.database.as_str()), ("right_reader", "test"));
    assert_eq!((observed.client_ip.as_str(), observed.command.as_str()), ("127.0.0.1", "Query"));
    assert_eq!((observed.sql_id.as_str(), observed.tenant_id.as_str()), (listed.sql_id.as_str(), Scene::TENANT));
    assert!(observed.sql_text.contains(SQL_MARK), "{observed:?}");
    assert!(observed.execute_time.parse::<i64>().unwrap() >= listed.execute_time, "{observed:?}");
    assert!(observed.observation_time.is_some());
    assert_eq!((told.status.as_str(), told.message.as_str()), ("ACTIVE", ""));
    let record = scene.wait_recorded("inc-1").await;
    assert_eq!((record.outcome, record.sessions), (Outcome::SessionsKilled, ended.status.unwrap().sessions));
    scene.assert_killed_on(&engine, [id]);
    scene.end().await;
}

/// A field of `expect`, a function that makes it wrong, and the message that the user then gets.
type WrongField = (&'static str, fn(&mut Expect), String);

/// One wrong value for each field, for the session `listed`.
fn wrong_fields(listed: &Session) -> Vec<WrongField> {
    vec![
        ("user", |it| it.user = Some("app".to_owned()), format!("user is {:?}, expected \"app\"", listed.user)),
        ("database", |it| it.database = Some("shop".to_owned()), r#"database is "test", expected "shop""#.to_owned()),
        (
            "clientip",
            |it| it.client_ip = Some("10.2.3.4".to_owned()),
            r#"clientIP is "127.0.0.1", expected "10.2.3.4""#.to_owned(),
        ),
        ("command", |it| it.command = Some("Sleep".to_owned()), r#"command is "Query", expected "Sleep""#.to_owned()),
        ("state", |it| it.state = Some(SessionState::Sleep), r#"state is "ACTIVE", expected "SLEEP""#.to_owned()),
        ("sqlid", |it| it.sql_id = Some("AB".to_owned()), format!("sqlID is {:?}, expected \"AB\"", listed.sql_id)),
        (
            "proxysessionid",
            |it| it.proxy_session_id = Some("752113700739156671".to_owned()),
            r#"proxySessionID is "", expected "752113700739156671""#.to_owned(),
        ),
        (
            "minexecutionseconds",
            |it| it.min_execution_seconds = Some(86_400),
            r#"ExecuteTime is "{seconds}", expected minExecutionSeconds 86400 at least"#.to_owned(),
        ),
    ]
}

#[tokio::test]
async fn a_session_that_differs_in_any_one_field_lives_until_the_request_is_right() {
    let engine = shared_engine().await;
    let scene = Scene::set_on(&engine, "engine-wrong").await;
    scene.operator().await;
    create_user(&engine, "wrong_reader").await;
    let statement = Client::connect(&engine, "wrong_reader").await.start_statement();
    let id = statement.id;
    let listed = scene.wait_listed(&statement).await;
    for (field, make_wrong, message) in wrong_fields(&listed) {
        let mut expect = as_listed(&listed);
        make_wrong(&mut expect);
        let name = format!("wrong-{field}");
        scene.request(&name).session_on(engine.server_ip(), id).expecting(&expect).create().await;
        let ended = scene.wait_finished(&name).await;
        assert_eq!((ended.reason(), ended.outcomes()), ("PreconditionFailed", vec![MISMATCH]), "{field}");
        assert_eq!(ended.message(), "nothing was sent: 0 of 1 sessions killed, 1 skipped");
        assert!(ended.condition("Stalled").is_some_and(|stalled| stalled.status == "True"), "{field}");
        let told = &ended.status.as_ref().unwrap().sessions[0];
        let observed = told.observed.as_ref().unwrap();
        assert_eq!(told.message, message.replace("{seconds}", &observed.execute_time), "{field}");
        let now = scene.listed(id).await.unwrap();
        let went_on = now.sql_text == listed.sql_text && now.execute_time >= listed.execute_time;
        assert!(statement.is_running() && went_on, "{field}: {now:?}");
    }
    scene.assert_nothing_sent();
    assert_eq!(scene.receipts().await, []);
    // `KILL QUERY` ends the statement. Its connection still answers.
    let mut root = engine.connect().await.unwrap();
    root.query_drop(format!("KILL QUERY {id}")).await.unwrap();
    let (mut client, code) = statement.refused().await;
    assert_eq!(code, Some(QUERY_INTERRUPTED));
    client.assert_served().await;

    let statement = client.start_statement();
    let expect = as_listed(&scene.wait_listed(&statement).await);
    scene.request("right").session_on(engine.server_ip(), id).expecting(&expect).create().await;
    let ended = scene.wait_finished("right").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED]));
    statement.assert_lost().await;
    scene.assert_killed_on(&engine, [id]);
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_ended_by_itself_before_the_request_is_gone_and_nothing_is_sent() {
    let engine = shared_engine().await;
    let scene = Scene::set_on(&engine, "engine-gone").await;
    scene.operator().await;
    let client = Client::connect(&engine, "root").await;
    let id = client.id;
    let expect = as_listed(&scene.wait_idle(&client).await);
    client.leave().await;
    scene.wait_unlisted(id).await;

    scene.request("inc-1").session_on(engine.server_ip(), id).expecting(&expect).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.summary(), ["Succeeded=True(SessionsGone)", "Ready=True(SessionsGone)"]);
    assert_eq!(ended.outcomes(), [NOT_FOUND]);
    assert_eq!(ended.message(), "nothing was sent: 0 of 1 sessions killed, 1 gone");
    assert!(ended.status.unwrap().dispatch.is_none());
    scene.assert_nothing_sent();
    assert_eq!(scene.receipts().await, []);
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_ends_by_itself_while_the_kill_is_on_its_way_is_gone_and_no_failure() {
    let engine = shared_engine().await;
    let scene = Scene::set_on(&engine, "engine-leaves").await;
    let relay = scene.gateway_relay().await;
    let call = Scene::hold_call(&relay, At::Request);
    scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 60})).await;
    // 120 s, so that the client can disconnect in time even on a busy machine.
    let launch = Launch { allow: vec![relay.url()], dispatch_window_seconds: Some(120), ..Launch::default() };
    scene.launch(launch).await;
    let client = Client::connect(&engine, "root").await;
    let id = client.id;
    let expect = as_listed(&scene.wait_idle(&client).await);
    scene.request("inc-1").session_on(engine.server_ip(), id).expecting(&expect).create().await;
    call.reached().await;
    client.leave().await;
    scene.wait_unlisted(id).await;
    scene.assert_nothing_sent();
    call.release();

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.summary(), ["Succeeded=True(SessionsGone)", "Ready=True(SessionsGone)"]);
    assert_eq!(ended.outcomes(), [NOT_FOUND]);
    let told = &ended.status.as_ref().unwrap().sessions[0];
    assert_eq!(told.error_message, format!("Unknown thread id: {id}"));
    assert_eq!(told.observed.as_ref().unwrap().user, "root");
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::SessionsGone);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.assert_killed_on(&engine, []);
    scene.end().await;
}

#[tokio::test]
async fn without_the_operation_that_is_to_be_removed_exactly_the_named_session_is_killed() {
    let engine = shared_engine().await;
    let scene = Scene::set_on(&engine, "engine-batch").await;
    scene.gateway().inject(Fault::new(FaultKind::RemoveAction).on("KillProcessList"));
    scene.operator().await;
    create_user(&engine, "batch_reader").await;
    let mut before = Client::connect(&engine, "batch_reader").await;
    let mut named = Client::connect(&engine, "batch_reader").await;
    let mut after = Client::connect(&engine, "batch_reader").await;
    let expect = as_listed(&scene.wait_idle(&named).await);
    let request = scene.request("inc-1").session_on(engine.server_ip(), named.id).expecting(&expect);
    request.verified(VerificationPolicy::Required, 60).create().await;

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("SessionsKilled", vec![VERIFIED]));
    named.assert_lost().await;
    before.assert_served().await;
    after.assert_served().await;
    scene.assert_killed_on(&engine, [named.id]);
    let calls = scene.kill_calls();
    assert_eq!(calls.last().unwrap().action.as_deref(), Some("BatchKillProcessList"), "{calls:?}");
    let batch = Operation::BatchKillProcessList;
    assert_eq!(ended.status.unwrap().dispatch.unwrap().operation, batch);
    assert_eq!(scene.wait_recorded("inc-1").await.operation, batch);
    eventually("the connection to say so", async || {
        let operation = scene.connection_now().await.status.and_then(|status| status.operation);
        if operation == Some(batch) { Ok(()) } else { Err(format!("{operation:?}")) }
    })
    .await;
    scene.end().await;
}
