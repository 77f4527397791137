//! An engine with TLS, which is restarted: the server is verified before the login, and IDs begin anew.

use std::sync::Arc;

use serde_json::json;
use sessionkill::api::{Expect, SessionOutcome, SessionReason};
use testbed::oceanbase::Engine;
use testbed::oceanbase::mysql_async::prelude::Queryable as _;
use testbed::sql_relay::{Fate, SqlRelay};

use super::{CONNECTION, PASSWORD, RIGHTS, SECRET, USER, assert_executed, host, reached, request, wait_connection};
use crate::scene::{Client, Cluster, Launch, Request as _, Scene};

/// A scene on an engine of its own with TLS. The CA is in the Secret, and `hosts` are allowed.
async fn secure_scene(name: &str) -> (Arc<Engine>, SqlRelay, Scene) {
    let directory = Cluster::shared().await.directory.join(format!("{name}-engine"));
    let engine = Arc::new(Engine::start_secure(&directory).await.unwrap());
    engine.create_user(USER, PASSWORD, RIGHTS).await.unwrap();
    let relay = SqlRelay::start(engine.port()).await.unwrap();
    let scene = Scene::set_on(&engine, name).await;
    let ca = engine.ca_pem().unwrap().to_owned();
    scene.put_secret(SECRET, true, &[("username", USER), ("password", PASSWORD), ("ca.crt", &ca)]).await;
    let hosts = format!("{},{}", host(&engine), relay.host());
    let variables = vec![format!("SESSIONKILL_ALLOW_SQL_HOSTS={hosts}")];
    scene.launch(Launch { variables, ..Launch::default() }).await;
    (engine, relay, scene)
}

#[tokio::test]
async fn a_server_is_verified_before_anything_is_sent_to_it() {
    let (engine, _relay, scene) = secure_scene("sql-tls").await;
    super::connect(&scene, &host(&engine), json!({"tls": {}})).await;
    let mut client = Client::connect(&engine, "root").await;
    request(&scene, "inc-1", &engine, client.id).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [(SessionOutcome::Killed, SessionReason::Verified)], "{}", ended.message());
    client.assert_lost().await;
    wait_connection(&scene, "Encrypted=True(TLSRequired)").await;

    // Another name than the certificate has.
    let tls = |tls: serde_json::Value| json!({"spec": {"sql": {"tls": tls}}});
    scene.patch_connection(CONNECTION, tls(json!({"serverName": "other.example"}))).await;
    let mut client = Client::connect(&engine, "root").await;
    request(&scene, "inc-2", &engine, client.id).create().await;
    let why = |reason: &'static str| {
        let scene = &scene;
        async move {
            scene
                .wait_for("inc-2", reason, |request| (request.reason() == reason).then(|| request.message().to_owned()))
                .await
        }
    };
    let message = why("EndpointUnreachable").await;
    assert!(message.contains("certificate") && message.contains("spec.sql.tls"), "{message}");
    client.assert_served().await;
    // The CA alone is enough, if the connection says so.
    scene.patch_connection(CONNECTION, tls(json!({"mode": "VerifyCA", "serverName": "other.example"}))).await;
    assert_eq!(scene.wait_finished("inc-2").await.outcomes(), [(SessionOutcome::Killed, SessionReason::Verified)]);
    client.assert_lost().await;

    // Another CA.
    let other = testbed::server_certificate::ServerCertificate::issue().unwrap().ca;
    let login = [("username", USER), ("password", PASSWORD), ("ca.crt", other.as_str())];
    scene.put_secret("other-ca", true, &login).await;
    let mut client = Client::connect(&engine, "root").await;
    let sql = json!({"tls": {"mode": "VerifyIdentity", "serverName": null}, "credentials": {"secretRef": {"name": "other-ca"}}});
    scene.patch_connection(CONNECTION, json!({"spec": {"sql": sql}})).await;
    wait_connection(&scene, "Ready=False(EndpointUnreachable)").await;
    request(&scene, "inc-3", &engine, client.id).create().await;
    scene.wait_for("inc-3", "to wait", |request| (request.reason() == "EndpointUnreachable").then_some(())).await;
    client.assert_served().await;
    let killed = engine.executed_kills().unwrap();
    assert!(!killed.contains(&client.id), "{killed:?}");
    scene.end().await;
}

#[tokio::test]
async fn after_a_restart_another_session_under_the_same_id_lives() {
    let (engine, relay, scene) = secure_scene("sql-restarted").await;
    super::connect(&scene, &relay.host(), json!({})).await;
    wait_connection(&scene, "Ready=True(CallAnswered)").await;
    let victim = Client::connect(&engine, "root").await;
    let id = victim.id;
    let held = relay.rule("SELECT @k := ", Fate::HeldBefore);
    let listed = scene.listed(id).await.unwrap();
    assert_eq!(listed.user, "root");
    let mut root = engine.connect().await.unwrap();
    let port = format!("SELECT USER_CLIENT_PORT FROM oceanbase.V$OB_PROCESSLIST WHERE ID = {id}");
    let expect = Expect { client_port: root.query_first(port).await.unwrap(), ..Expect::default() };
    assert!(expect.client_port.is_some());
    request(&scene, "inc-1", &engine, id).expecting(&expect).create().await;
    reached(&held).await;
    engine.restart().await.unwrap();
    let mut innocent = with_id(&engine, id).await;
    held.release();
    let ended = scene.wait_finished("inc-1").await;
    // It depends on when the operator gets through again: before the ID has another session, or after.
    let gone = (SessionOutcome::Gone, SessionReason::NotFound);
    let mismatch = (SessionOutcome::Skipped, SessionReason::PreconditionMismatch);
    assert!([gone, mismatch].contains(&ended.outcomes()[0]), "{}", ended.message());
    innocent.assert_served().await;
    assert_executed(&engine, &[id], &[]);
    scene.end().await;
}

/// A new session with this ID: IDs begin anew with each start of the engine, and some go to its own sessions.
async fn with_id(engine: &Engine, id: i64) -> Client {
    for _ in 0..5 {
        loop {
            let client = Client::connect(engine, "root").await;
            if client.id == id {
                return client;
            }
            if client.id > id {
                break;
            }
        }
        engine.restart().await.unwrap();
    }
    panic!("no session got the ID {id}");
}
