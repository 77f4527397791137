//! What a user is told who cannot log in, or may not see or end anything, and how that is repaired.

use serde_json::json;
use sessionkill::api::{SessionOutcome, SessionReason};
use testbed::oceanbase::mysql_async::prelude::Queryable as _;

use super::{
    CLUSTER, CONNECTION, PASSWORD, RIGHTS, SECRET, TENANT, USER, assert_executed, engine, host, request, scene,
    scene_as, wait_connection,
};
use crate::scene::{Client, Request as _, Scene};

const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);

/// The message of a request that waits for `reason`.
async fn waits(scene: &Scene, name: &str, reason: &str) -> String {
    scene.wait_for(name, reason, |request| (request.reason() == reason).then(|| request.message().to_owned())).await
}

#[tokio::test]
async fn a_wrong_password_is_told_and_a_right_one_is_used_without_a_restart() {
    let engine = engine().await;
    engine.create_user(USER, PASSWORD, RIGHTS).await.unwrap();
    let scene = scene_as("sql-password", &engine, &[host(&engine)], (USER, "wr0ng")).await;
    let mut client = Client::connect(&engine, "root").await;
    request(&scene, "inc-1", &engine, client.id).create().await;
    let message = waits(&scene, "inc-1", "CredentialsRejected").await;
    assert!(message.contains("1045") && message.contains(&format!("Secret {SECRET}")), "{message}");
    assert!(!message.contains("wr0ng"), "{message}");
    wait_connection(&scene, "CredentialsValid=False(CredentialsRejected)").await;
    client.assert_served().await;
    scene.put_secret(SECRET, true, &[("username", USER), ("password", PASSWORD)]).await;
    assert_eq!(scene.wait_finished("inc-1").await.outcomes(), [VERIFIED]);
    client.assert_lost().await;
    scene.end().await;
}

#[tokio::test]
async fn what_a_user_may_not_see_is_not_taken_for_gone() {
    let engine = engine().await;
    engine.create_user("sql_blind", PASSWORD, &[]).await.unwrap();
    let scene = scene_as("sql-rights", &engine, &[host(&engine)], ("sql_blind", PASSWORD)).await;
    let mut client = Client::connect(&engine, "root").await;
    request(&scene, "inc-1", &engine, client.id).create().await;
    let message = waits(&scene, "inc-1", "PermissionDenied").await;
    assert!(message.contains("1142") && message.contains("GRANT SELECT ON oceanbase.*"), "{message}");
    let mut root = engine.connect().await.unwrap();
    root.query_drop("GRANT SELECT ON oceanbase.* TO sql_blind").await.unwrap();
    root.query_drop("GRANT PROCESS, SUPER ON *.* TO sql_blind").await.unwrap();
    assert_eq!(scene.wait_finished("inc-1").await.outcomes(), [VERIFIED]);
    client.assert_lost().await;
    assert_executed(&engine, &[client.id], &[client.id]);
    scene.end().await;
}

#[tokio::test]
async fn a_locked_user_and_a_server_that_is_not_allowed_are_told() {
    let engine = engine().await;
    engine.create_user("sql_locked", PASSWORD, RIGHTS).await.unwrap();
    let mut root = engine.connect().await.unwrap();
    root.query_drop("ALTER USER sql_locked ACCOUNT LOCK").await.unwrap();
    let scene = scene_as("sql-locked", &engine, &[host(&engine)], ("sql_locked", PASSWORD)).await;
    let client = Client::connect(&engine, "root").await;
    request(&scene, "inc-1", &engine, client.id).create().await;
    let message = waits(&scene, "inc-1", "CredentialsRejected").await;
    assert!(message.contains("3118") && message.contains("unlock the user"), "{message}");
    root.query_drop("ALTER USER sql_locked ACCOUNT UNLOCK").await.unwrap();
    assert_eq!(scene.wait_finished("inc-1").await.outcomes(), [VERIFIED]);

    scene.patch_connection(CONNECTION, json!({"spec": {"sql": {"host": "127.0.0.1:1"}}})).await;
    request(&scene, "inc-2", &engine, client.id).create().await;
    let message = waits(&scene, "inc-2", "EndpointNotAllowed").await;
    assert!(message.contains("--allow-sql-host=127.0.0.1:1"), "{message}");
    scene.end().await;
}

#[tokio::test]
async fn a_request_for_another_cluster_or_tenant_is_refused() {
    let engine = engine().await;
    let scene = scene("sql-elsewhere", &engine, &[host(&engine)]).await;
    let mut client = Client::connect(&engine, "root").await;
    for (name, instance, tenant, refusal) in [
        ("inc-1", "other", TENANT, "instance other is not in spec.sql.cluster"),
        ("inc-2", CLUSTER, "other", "the server has one tenant only, sys"),
    ] {
        request(&scene, name, &engine, client.id).instance(instance).tenant(tenant).create().await;
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.reason(), "NotAllowed");
        assert!(ended.message().contains(refusal), "{}", ended.message());
    }
    client.assert_served().await;
    assert_executed(&engine, &[client.id], &[]);
    scene.end().await;
}
