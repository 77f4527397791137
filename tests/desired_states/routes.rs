//! Two ways to the same desired state have the same result.

use serde_json::{Value, json};
use sessionkill::api::{Operation, SessionOutcome, SessionReason};

use crate::scene::{KEY_ID, KEY_SECRET, Request as _, Scene, Shown as _};

/// What a request says at its end: the message, the outcomes of its sessions, and its conditions.
type Said = (String, Vec<(SessionOutcome, SessionReason)>, Vec<String>);

/// The result of a way: of a request that was created on the way, of one that was created later, and of the connection.
#[derive(Debug, PartialEq)]
struct End {
    requests: Vec<Said>,
    connection: Vec<String>,
    operation: Option<Operation>,
    killed: usize,
}

/// The result of a scene whose request `early` was created on the way.
async fn end(scene: Scene) -> End {
    scene.request("late").sessions([2]).create().await;
    let mut requests = vec![];
    for name in ["early", "late"] {
        let ended = scene.wait_finished(name).await;
        requests.push((ended.message().to_owned(), ended.outcomes(), ended.summary()));
    }
    let connection = scene.wait_for_connection("Ready=True(CallAnswered)").await;
    let operation = connection.status.as_ref().and_then(|status| status.operation);
    scene.assert_killed_once([1, 2]);
    let killed = scene.gateway().kills_per_session().len();
    let end = End { requests, connection: connection.summary(), operation, killed };
    scene.end().await;
    end
}

/// The result of a scene that had its desired state from the beginning.
async fn directly(name: &str, spec: Value) -> End {
    let scene = Scene::bare(name).await;
    scene.good_secret().await;
    scene.connection(spec).await;
    scene.operator().await;
    scene.request("early").create().await;
    end(scene).await
}

#[tokio::test]
async fn a_connection_that_was_edited_twice_is_as_one_that_was_made_so() {
    let wanted = json!({"killOperation": "BatchKillProcessList", "sqlText": "None", "signatureMethod": "HMAC-SHA1"});
    let scene = Scene::bare("edited").await;
    scene.good_secret().await;
    scene.connection(json!({"endpoint": "nobody.example.com"})).await;
    scene.operator().await;
    scene.request("early").create().await;
    scene.wait_for_reason("early", "EndpointNotAllowed").await;
    scene.connection(json!({"credentials": {"secretRef": {"name": "nowhere"}}, "tenantIDs": [Scene::TENANT]})).await;
    scene.wait_for_reason("early", "CredentialsUnavailable").await;
    // The list can be emptied, but not removed.
    let mut emptied = wanted.clone();
    emptied["tenantIDs"] = json!([]);
    scene.connection(emptied).await;
    assert_eq!(end(scene).await, directly("made-so", wanted).await);
}

#[tokio::test]
async fn a_request_that_was_held_and_let_go_ends_as_one_that_never_was() {
    let scene = Scene::ready("held").await;
    scene.request("early").suspended().create().await;
    scene.wait_for_reason("early", "Suspended").await;
    // The connection is broken meanwhile, so that nothing is sent while the request is resumed for a moment.
    scene.connection(json!({"endpoint": "nobody.example.com"})).await;
    scene.wait_for_connection("Ready=False(EndpointNotAllowed)").await;
    scene.edit("early", json!({"spec": {"suspend": false}})).await;
    scene.wait_for_reason("early", "EndpointNotAllowed").await;
    scene.edit("early", json!({"spec": {"suspend": true}})).await;
    scene.wait_for_reason("early", "Suspended").await;
    scene.assert_nothing_sent();
    scene.connection(json!({"sqlText": "None"})).await;
    scene.edit("early", json!({"spec": {"suspend": false}})).await;
    assert_eq!(end(scene).await, directly("never-held", json!({"sqlText": "None"})).await);
}

#[tokio::test]
async fn a_secret_that_was_replaced_and_relabelled_is_as_one_that_was_made_so() {
    let scene = Scene::set("replaced").await;
    scene.secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", "wrong")]).await;
    scene.operator().await;
    scene.request("early").create().await;
    scene.wait_for_reason("early", "CredentialsRejected").await;
    scene.unlabelled_secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)]).await;
    scene.wait_for_reason("early", "CredentialsUnavailable").await;
    scene.good_secret().await;
    assert_eq!(end(scene).await, directly("right-at-once", json!({})).await);
}
