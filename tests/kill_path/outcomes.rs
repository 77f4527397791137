//! What a user can read about a kill: the request, the receipt, the Event, the audit line and the connection.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sessionkill::api::{Operation, Outcome, SessionOutcome, SessionReason};
use testbed::gateway::Backend;
use testbed::oceanbase::mysql_async::{Error, prelude::Queryable as _};
use tokio::time::timeout;

use crate::scene::{
    Cluster, Request as _, SERVER_IP, Scene, Shown as _, eventually, session, session_id, shared_engine,
};

#[tokio::test]
async fn a_runaway_query_on_a_real_engine_loses_its_session_and_everybody_is_told() {
    let engine = shared_engine().await;
    let backend = Backend::OceanBase { url: engine.url() };
    let scene = Scene::on(Cluster::shared().await, "main-job", backend).await;
    scene.good_secret().await;
    scene.connection(json!({})).await;
    scene.operator().await;
    let mut client = engine.connect().await.unwrap();
    let id = engine.session_id(&mut client).await.unwrap();
    let query = tokio::spawn(async move {
        client.query_drop("SELECT SLEEP(1000)").await.expect_err("the query does not come to its end");
        // The engine may answer more than one statement with the error that the session was interrupted.
        loop {
            match client.query_drop("SELECT 1").await {
                Ok(()) => panic!("the session is still served"),
                Err(Error::Server(_)) => {}
                Err(lost) => return lost,
            }
        }
    });
    eventually("the query to run", async || {
        let sessions = scene.gateway().sessions().await.map_err(|error| error.to_string())?;
        let runs = sessions.iter().any(|it| it.session_id == id && it.sql_text.contains("SLEEP"));
        runs.then_some(()).ok_or_else(|| format!("{sessions:?}"))
    })
    .await;

    let created = scene.request("inc-4711").session_on(engine.server_ip(), id).create().await;
    assert_eq!(created.status.as_ref().unwrap().observed_generation, -1, "no tool calls it healthy yet");
    // The C client reports this as error 2013: the connection is lost.
    timeout(Duration::from_mins(1), query).await.expect("the client loses its connection").unwrap();

    let ended = scene.wait_finished("inc-4711").await;
    assert_eq!(ended.summary(), ["Succeeded=True(SessionsKilled)", "Ready=True(SessionsKilled)"]);
    assert_eq!(ended.message(), "1 of 1 sessions killed");
    assert!(ended.conditions().iter().all(|condition| condition.observed_generation == Some(1)));
    let status = ended.status.clone().unwrap();
    assert_eq!(status.observed_generation, 1);
    assert!(status.start_time.unwrap() <= status.completion_time.unwrap());
    assert!(status.next_attempt_time.is_none());
    let counts = status.counts.unwrap();
    assert_eq!((counts.total, counts.killed, counts.unknown), (1, 1, 0));
    let told = &status.sessions[0];
    assert_eq!((told.server_ip.as_str(), told.session_id), (engine.server_ip(), id));
    assert_eq!((told.outcome, told.reason), (SessionOutcome::Killed, SessionReason::Verified));
    assert_eq!((told.status.as_str(), told.error_message.as_str()), ("ACTIVE", ""));
    let observed = told.observed.clone().unwrap();
    assert_eq!((observed.user.as_str(), observed.command.as_str()), ("root", "Query"));
    assert!(observed.sql_text.starts_with("sha256:"), "{observed:?}");

    let calls = scene.kill_calls();
    assert_eq!((calls.len(), calls[0].result.as_deref()), (1, Some("OK")));
    let dispatch = status.dispatch.unwrap();
    assert_eq!(dispatch.request_id, calls[0].request_id, "for a support case");
    assert_eq!(dispatch.operation, Operation::KillProcessList);

    let record = scene.wait_recorded("inc-4711").await;
    let receipt = scene.receipt().await;
    assert_eq!(receipt.metadata.name.as_deref(), Some(dispatch.receipt_name.as_str()));
    assert_eq!(receipt.spec.attempt_id, dispatch.attempt_id);
    assert!(receipt.metadata.owner_references.is_none(), "it outlives the request");
    assert_eq!((record.outcome, &record.sessions), (Outcome::SessionsKilled, &status.sessions));

    let note = scene.wait_for_event("inc-4711", "SessionsKilled").await;
    assert_eq!(note, "1 of 1 sessions killed [INC-4711 runaway report]");

    let lines = scene.audit_lines();
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    let form = (json!("sessionkill.dev/audit/v1"), json!("sessionkill.dev/kill"));
    assert_eq!((&line["schema"], &line["audit"]), (&form.0, &form.1));
    assert_eq!((&line["namespace"], &line["name"]), (&json!("main-job"), &json!("inc-4711")));
    assert_eq!(line["uid"], json!(ended.metadata.uid));
    assert_eq!((&line["reason"], &line["outcome"]), (&json!("INC-4711 runaway report"), &json!("SessionsKilled")));
    assert_eq!((&line["requestID"], &line["receipt"]), (&json!(dispatch.request_id), &json!(dispatch.receipt_name)));
    assert_eq!(line["sessions"][0]["sessionID"], json!(id));
    assert_eq!(line["sessions"][0]["user"], "root");
    line["time"].as_str().unwrap().parse::<Timestamp>().unwrap();

    let summary = eventually("the connection's status", async || {
        let summary = scene.connection_now().await.summary();
        if summary.is_empty() { Err("none".to_owned()) } else { Ok(summary) }
    })
    .await;
    let expected = [
        "Ready=True(CallAnswered)",
        "CredentialsValid=True(CredentialsAccepted)",
        "ServerSideFence=True(DeadlineTimeStamp)",
    ];
    assert_eq!(summary, expected);

    let columns = scene.cluster.control_plane.run_kubectl(&["get", "sk", "-n", "main-job"]).await.unwrap();
    let rows: Vec<Vec<&str>> = columns.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "SUCCEEDED", "REASON", "TENANT", "KILLED", "TOTAL", "AGE"]);
    assert_eq!(rows[1][..6], ["inc-4711", "True", "SessionsKilled", Scene::TENANT, "1", "1"]);
    let waited = ["wait", "-n", "main-job", "sk/inc-4711", "--for=jsonpath={.status.completionTime}", "--timeout=1s"];
    scene.cluster.control_plane.run_kubectl(&waited).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_may_not_be_killed_fails_with_the_words_of_the_database() {
    let scene = Scene::ready("protected").await;
    let mut sessions: Vec<_> = (1..=3).map(session).collect();
    sessions[1].protected = true;
    scene.gateway().set_sessions(sessions).unwrap();

    scene.request("inc-1").sessions([1, 2, 3]).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(
        ended.summary(),
        ["Succeeded=False(PartiallyKilled)", "Ready=False(PartiallyKilled)", "Stalled=True(PartiallyKilled)"]
    );
    assert_eq!(
        ended.message(),
        "2 of 3 sessions killed, 1 failed: see status.sessions; nothing is sent again; to try again, create a new \
         SessionKill with a new notAfterTime"
    );
    let verified = (SessionOutcome::Killed, SessionReason::Verified);
    assert_eq!(ended.outcomes(), [verified, (SessionOutcome::Failed, SessionReason::KillRefused), verified]);
    let status = ended.status.unwrap();
    let counts = status.counts.unwrap();
    assert_eq!((counts.total, counts.killed, counts.failed), (3, 2, 1));
    assert_eq!(status.sessions[1].error_message, format!("You are not owner of thread {}", session_id(2)));
    scene.wait_for_event("inc-1", "PartiallyKilled").await;
    scene.assert_killed_once([1, 3]);
    scene.end().await;
}

#[tokio::test]
async fn a_session_that_does_not_exist_is_gone_and_nothing_is_sent() {
    let scene = Scene::ready("unknown-session").await;
    scene.request("inc-1").session_on(SERVER_IP, 4711).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.summary(), ["Succeeded=True(SessionsGone)", "Ready=True(SessionsGone)"]);
    assert_eq!(ended.message(), "nothing was sent: 0 of 1 sessions killed, 1 gone");
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound)]);
    let status = ended.status.unwrap();
    assert!(status.dispatch.is_none(), "{:?}", status.dispatch);
    assert_eq!((status.sessions[0].error_message.as_str(), &status.sessions[0].observed), ("", &None));
    scene.wait_for_event("inc-1", "SessionsGone").await;
    assert!(scene.receipts().await.is_empty());
    scene.assert_nothing_sent();
    scene.end().await;
}
