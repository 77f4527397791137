//! What is made of each recorded answer.

use std::time::Duration;

use serde_json::json;
use sessionkill::api::WaitReason;

use crate::recordings::Recordings;
use crate::scene::{Scene, assumed, issued, of_account, of_node};
use crate::server::{Answer, Server};

/// The ID of the key in `answer`, if it is one, for this source.
async fn read(spec: serde_json::Value, (status, body): (u16, &str)) -> Result<String, WaitReason> {
    let body = body.to_owned();
    let server = Server::answering(move |_, request| match request.target.as_str() {
        // The first two steps go well.
        "/latest/api/token" | "/latest/meta-data/ram/security-credentials/" => issued(request, 0, 0),
        _ => Answer(status, &[], body.clone()),
    });
    let scene = Scene::of(server.await);
    let identity = scene.identity(spec, &json!({}));
    scene.key(&identity).await.map(|key| key.id).map_err(|why| why.reason)
}

#[tokio::test]
async fn a_key_is_taken_from_a_whole_answer_only() {
    for answer in Recordings::read().answers {
        let (specs, failed) = match answer.of.as_str() {
            "AssumeRole and AssumeRoleWithOIDC" => (vec![assumed(), of_account()], WaitReason::StsUnavailable),
            // No connection can name a URI, but what it answers is like the answer of the metadata service.
            "metadata" | "credentials URI" => (vec![of_node()], WaitReason::MetadataUnavailable),
            other => panic!("{other} is not tried"),
        };
        for spec in specs {
            let read = read(spec.clone(), (answer.status, &answer.body)).await;
            let expected = match answer.ours.as_str() {
                // The same instant, written with an offset, may be taken.
                "accept" | "either" => Ok("STS.FAKE1AccessKeyId".to_owned()),
                _ => Err(failed),
            };
            assert_eq!(read, expected, "{} for {spec}", answer.id);
        }
    }
}

#[tokio::test]
async fn a_key_that_expired_before_it_came_is_none() {
    for spec in [assumed(), of_account(), of_node()] {
        let scene = Scene::of(Server::answering(|number, request| issued(request, number, -60)).await);
        let identity = scene.identity(spec, &json!({}));
        let why = scene.why(&identity).await;
        assert!(why.message.contains("has expired already: check the clock"), "{why}");
        let asked = scene.server.count();
        // The official clients use it, or ask again at each call.
        for _ in 0..20 {
            scene.why(&identity).await;
        }
        assert_eq!(scene.server.count(), asked);
    }
}

#[tokio::test]
async fn an_answer_of_any_size_ends() {
    for spec in [assumed(), of_account(), of_node()] {
        let scene = Scene::of(Server::answering(|_, _| Answer(200, &[], "x".repeat(1 << 20))).await);
        let why = scene.why(&scene.identity(spec, &json!({}))).await;
        assert!(why.message.contains("bytes"), "{why}");
    }
}

/// The clients ignore an end that they cannot read, and ask STS at each call.
#[tokio::test]
async fn an_end_that_cannot_be_read_makes_no_storm() {
    let server = Server::answering(|_, request| {
        let Answer(status, headers, body) = issued(request, 0, 3600);
        let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["Credentials"]["Expiration"] = "in an hour".into();
        Answer(status, headers, body.to_string())
    });
    let scene = Scene::of(server.await);
    let identity = scene.identity(assumed(), &json!({}));
    for _ in 0..300 {
        assert_eq!(scene.why(&identity).await.reason, WaitReason::StsUnavailable);
        scene.later(Duration::from_millis(500)).await;
    }
    // In 150 s, with pauses of 5 s to 60 s.
    assert!((3..=25).contains(&scene.server.count()), "{}", scene.server.count());
}
