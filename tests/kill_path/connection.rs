//! A connection shows whether it works before a request needs it. The operator probes the gateway when a connection is
//! new or changed, and then once an hour. A probe ends no session.

use jiff::SignedDuration;
use serde_json::json;
use sessionkill::api::{OceanBaseConnection, Operation};
use testbed::control_plane::Request as Asked;
use testbed::gateway::{Fault, FaultKind};

use crate::scene::{KEY_ID, KEY_SECRET, Launch, Request as _, Scene, Shown as _, eventually, results};

const WORKS: [&str; 3] = [
    "Ready=True(CallAnswered)",
    "CredentialsValid=True(CredentialsAccepted)",
    "ServerSideFence=True(DeadlineTimeStamp)",
];

/// Waits until the connection says why it does not work, and checks that no call named a session.
async fn broken(scene: &Scene, reason: &str, words: &[&str]) -> OceanBaseConnection {
    let connection = scene.wait_for_connection(&format!("Ready=False({reason})")).await;
    let told = &connection.condition("Ready").unwrap().message;
    for word in words {
        assert!(told.contains(word), "{word} is missing in: {told}");
    }
    let status = connection.status.as_ref().unwrap();
    assert!(status.last_probe_time.is_none(), "a probe counts when it was answered");
    scene.assert_nothing_sent();
    connection
}

/// Changes the spec in a way that does not matter to the gateway.
async fn edit(scene: &Scene) {
    scene.connection(json!({"requestTimeoutSeconds": 7})).await;
}

#[tokio::test]
async fn a_new_connection_is_probed_before_any_request_needs_it() {
    let scene = Scene::ready("probed").await;
    let connection = scene.wait_probed().await;
    assert_eq!(connection.summary(), WORKS);
    let status = connection.status.unwrap();
    assert_eq!((status.observed_generation, status.operation), (1, Some(Operation::KillProcessList)));
    let created = connection.metadata.creation_timestamp.unwrap().0;
    assert!(status.last_probe_time.unwrap().0 >= created);

    let calls = scene.gateway().calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    let probe = &calls[0];
    // The error names a missing parameter, so the operation exists and the access key was accepted.
    assert_eq!(results(&calls), [("KillProcessList", "MissingInstanceId")]);
    assert!(probe.sessions.is_empty() && probe.tenant.is_none() && probe.instance.is_none(), "{probe:?}");

    let columns = scene.cluster.control_plane.run_kubectl(&["get", "obc", "-n", "probed"]).await.unwrap();
    let rows: Vec<Vec<&str>> = columns.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "BACKEND", "REGION", "READY", "REASON", "OPERATION", "AGE"]);
    let works = [Scene::CONNECTION, "AlibabaCloud", "cn-hangzhou", "True", "CallAnswered", "KillProcessList"];
    assert_eq!(rows[1][..6], works);
    let wide = scene.cluster.control_plane.run_kubectl(&["get", "obc", "-n", "probed", "-o", "wide"]).await.unwrap();
    assert!(wide.lines().next().unwrap().contains("LAST PROBE"), "{wide}");
    assert!(!wide.contains("<none>"), "{wide}");
    scene.end().await;
}

#[tokio::test]
async fn a_wrong_secret_is_found_before_any_request_and_tried_again_when_the_connection_is_edited() {
    let scene = Scene::set("probe-wrong-key").await;
    scene.secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", "wrong")]).await;
    scene.operator().await;
    let words = ["SignatureDoesNotMatch", "correct the access key in Secret aliyun-ak"];
    let connection = broken(&scene, "CredentialsRejected", &words).await;
    let expected = [
        "Ready=False(CredentialsRejected)",
        "CredentialsValid=False(CredentialsRejected)",
        WORKS[2],
        "Stalled=True(CredentialsRejected)",
    ];
    assert_eq!(connection.summary(), expected);
    let message = |type_| connection.condition(type_).unwrap().message.clone();
    assert_eq!(message("Stalled"), message("Ready"));
    scene.good_secret().await;
    edit(&scene).await;
    let mended = scene.wait_probed().await;
    assert_eq!(mended.summary(), WORKS);
    assert_eq!(mended.status.unwrap().observed_generation, 2);
    scene.end().await;
}

#[tokio::test]
async fn a_wrong_secret_that_was_corrected_is_used_by_the_next_request() {
    let scene = Scene::set("probe-mended-key").await;
    scene.secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", "wrong")]).await;
    scene.operator().await;
    broken(&scene, "CredentialsRejected", &[]).await;
    scene.good_secret().await;
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    assert_eq!(scene.wait_for_connection(WORKS[0]).await.summary(), WORKS);
    assert_eq!(results(&scene.kill_calls()), [("KillProcessList", "OK")], "the key that was refused was not kept");
    scene.end().await;
}

#[tokio::test]
async fn a_refused_key_that_is_put_right_is_found_by_the_next_probe_without_an_edit_or_a_request() {
    let scene = Scene::set("probe-key-back").await;
    scene.secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", "wrong")]).await;
    scene.operator().await;
    let stalled = broken(&scene, "CredentialsRejected", &[]).await;
    assert!(stalled.condition("Stalled").is_some());
    scene.good_secret().await;
    let back = scene.wait_for_connection(WORKS[0]).await;
    assert_eq!(back.summary(), WORKS);
    assert_eq!(back.status.unwrap().observed_generation, 1, "nobody touched the connection");
    let asked = [("KillProcessList", "SignatureDoesNotMatch"), ("KillProcessList", "MissingInstanceId")];
    assert_eq!(results(&scene.probes()), asked, "once a minute");
    scene.end().await;
}

#[tokio::test]
async fn a_missing_secret_is_found_before_any_request() {
    let scene = Scene::bare("probe-no-secret").await;
    scene.connection(json!({})).await;
    scene.operator().await;
    let words = ["aliyun-ak does not exist", "create it in namespace probe-no-secret"];
    let connection = broken(&scene, "CredentialsUnavailable", &words).await;
    let expected = ["Ready=False(CredentialsUnavailable)", "CredentialsValid=False(CredentialsUnavailable)", WORKS[2]];
    assert_eq!(connection.summary(), expected);
    assert!(scene.gateway().calls().is_empty());
    scene.good_secret().await;
    edit(&scene).await;
    assert_eq!(scene.wait_probed().await.summary(), WORKS);
    scene.end().await;
}

#[tokio::test]
async fn a_probe_without_a_certain_answer_is_told_and_not_what_was_wrong_before() {
    let scene = Scene::bare("probe-unanswered").await;
    scene.connection(json!({})).await;
    scene.operator().await;
    broken(&scene, "CredentialsUnavailable", &["aliyun-ak does not exist"]).await;
    scene.gateway().inject(Fault::new(FaultKind::Status5xx).on("KillProcessList"));
    scene.good_secret().await;
    edit(&scene).await;
    let unanswered = scene.wait_for_connection("Ready=Unknown(ProbeUnanswered)").await;
    assert_eq!(unanswered.summary()[1], "CredentialsValid=Unknown(NotYetKnown)");
    let told = &unanswered.condition("Ready").unwrap().message;
    assert!(told.contains("no certain answer to the probe") && told.contains(&scene.gateway_url()), "{told}");
    assert!(!json!(unanswered.status).to_string().contains("does not exist"), "{}", json!(unanswered.status));
    scene.gateway().clear_faults();
    scene.connection(json!({"requestTimeoutSeconds": 8})).await;
    assert_eq!(scene.wait_probed().await.summary(), WORKS);
    scene.end().await;
}

#[tokio::test]
async fn the_same_reason_in_other_words_is_told_too() {
    let scene = Scene::bare("probe-reworded").await;
    scene.connection(json!({})).await;
    scene.operator().await;
    broken(&scene, "CredentialsUnavailable", &["aliyun-ak does not exist"]).await;
    scene.unlabelled_secret(&[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)]).await;
    scene.request("inc-1").create().await;
    eventually("the connection to say that the Secret is not labelled", async || {
        let told = scene.connection_now().await.condition("Ready").unwrap().message.clone();
        if told.contains("aliyun-ak is not labelled") { Ok(()) } else { Err(told) }
    })
    .await;
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_missing_permission_is_found_before_any_request_and_told_from_a_wrong_key() {
    let scene = Scene::set("probe-no-permission").await;
    scene.gateway().inject(Fault::new(FaultKind::Error).on("KillProcessList"));
    scene.operator().await;
    let words = ["Forbidden.RAM", "allow the access key of Secret aliyun-ak to call KillProcessList on its instances"];
    let connection = broken(&scene, "PermissionDenied", &words).await;
    let expected = ["Ready=False(PermissionDenied)", WORKS[1], WORKS[2]];
    assert_eq!(connection.summary(), expected);
    scene.gateway().clear_faults();
    edit(&scene).await;
    assert_eq!(scene.wait_probed().await.summary(), WORKS);
    scene.end().await;
}

#[tokio::test]
async fn a_gateway_that_offers_no_operation_is_found_before_any_request() {
    let scene = Scene::set("probe-no-operation").await;
    scene.gateway().inject(Fault::new(FaultKind::RemoveAction));
    scene.operator().await;
    let remedy = format!("{} offers neither KillProcessList nor BatchKillProcessList", scene.gateway_url());
    let connection = broken(&scene, "OperationUnavailable", &["InvalidAction.NotFound", &remedy]).await;
    let expected = ["Ready=False(OperationUnavailable)", WORKS[1], WORKS[2]];
    assert_eq!(connection.summary(), expected);
    let asked = [("KillProcessList", "InvalidAction.NotFound"), ("BatchKillProcessList", "InvalidAction.NotFound")];
    assert_eq!(results(&scene.probes()), asked);
    scene.end().await;
}

#[tokio::test]
async fn a_gateway_with_another_clock_is_probed_by_that_clock() {
    let scene = Scene::set("probe-other-clock").await;
    scene.gateway().inject(Fault::new(FaultKind::ClockSkew).skewed(SignedDuration::from_mins(40)));
    scene.operator().await;
    let connection = scene.wait_probed().await;
    assert_eq!(connection.summary()[..2], WORKS[..2]);
    let asked = [("KillProcessList", "InvalidTimeStamp.Expired"), ("KillProcessList", "MissingInstanceId")];
    assert_eq!(results(&scene.probes()), asked);
    scene.end().await;
}

#[tokio::test]
async fn an_edited_connection_is_probed_again_at_once() {
    let scene = Scene::ready("probe-edited").await;
    let before = scene.wait_probed().await.status.unwrap();
    scene.connection(json!({"requestTimeoutSeconds": 7})).await;
    let after = scene.wait_probed().await.status.unwrap();
    assert_eq!((before.observed_generation, after.observed_generation), (1, 2));
    assert!(after.last_probe_time.unwrap() >= before.last_probe_time.unwrap());
    assert_eq!(scene.probes().len(), 2, "{:?}", scene.probes());

    scene.connection(json!({"endpoint": "oceanbase.example.com"})).await;
    let broken = scene.wait_for_connection("Ready=False(EndpointNotAllowed)").await;
    assert_eq!(broken.summary()[1], "CredentialsValid=Unknown(NotYetKnown)", "nobody knows what it makes of the key");
    assert_eq!(broken.status.unwrap().observed_generation, 3);
    scene.connection(json!({})).await;
    assert_eq!(scene.wait_for_connection(WORKS[0]).await.status.unwrap().observed_generation, 4);
    assert_eq!(scene.probes().len(), 3, "{:?}", scene.probes());
    scene.end().await;
}

#[tokio::test]
async fn neither_a_restart_nor_a_label_probes_again_within_the_hour() {
    let scene = Scene::set("probe-restart").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    let launch = Launch { kubeconfig: Some(kubeconfig), ..Launch::default() };
    let first = scene.launch(launch.clone()).await;
    let before = scene.wait_probed().await.status;
    first.kill();
    scene.launch(launch).await;
    let labelled = json!({"metadata": {"labels": {"team": "dba"}}});
    scene.edit_connection(labelled).await;
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    // The first use of the connection would already make a probe. Three sweeps give it more time than that.
    scene.wait_swept(3).await;
    assert_eq!(results(&scene.probes()), [("KillProcessList", "MissingInstanceId")], "that of the first operator");
    assert_eq!(scene.connection_now().await.status, before);
    scene.end().await;
}

#[tokio::test]
async fn two_operators_tell_the_same_of_a_connection_and_leave_it_at_that() {
    let scene = Scene::bare("probe-twice").await;
    scene.good_secret().await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    let launch = Launch { kubeconfig: Some(kubeconfig), ..Launch::default() };
    tokio::join!(scene.launch(launch.clone()), scene.launch(launch));
    scene.connection(json!({})).await;
    assert_eq!(scene.wait_probed().await.summary(), WORKS);
    for number in 1..=6 {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
    for number in 1..=6 {
        assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.reason(), "SessionsKilled");
    }
    // Each of the two operators sweeps, so wait for six sweeps.
    scene.wait_swept(6).await;
    let written = scene.own_requests()[&Asked::new("patch", "oceanbaseconnections", "status")];
    assert!((1..=2).contains(&written), "each writes once what it learned, not over the other's: {written}");
    assert!((1..=2).contains(&scene.probes().len()), "{:?}", scene.probes());
    assert_eq!(scene.connection_now().await.summary(), WORKS);
    scene.assert_killed_once(1..=6);
    scene.end().await;
}
