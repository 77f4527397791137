//! Requests that fail, and the syncs after that.

use serde_json::Value;
use testbed::arena::{kill_of, session};
use testbed::gateway::Session;

use crate::folder::Folder;
use crate::stage::{condition, eventually, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_that_failed_fails_the_sync_and_another_request_mends_it() {
    let folder = Folder::set("failed", vec![Session { protected: true, ..session(1) }, session(2)]).await;
    folder.put("inc-1", &kill_of(&[1], 600).unwrap());
    folder.put("inc-2", &kill_of(&[2], 600).unwrap());
    let commit = folder.follow().await;
    let words = "failed early due to stalled resources: [SessionKill/failed/inc-1 status: 'Failed']";
    folder.failed(&commit, words).await;
    folder.stage.ended("inc-2").await;
    assert_eq!(folder.stage.kills(), [1], "the other one");
    let sent = folder.stage.arena.calls_for(1).len();
    assert_ne!(sent, 0);
    for _ in 0..2 {
        let asked = folder.ask_again().await;
        folder.failed_again(&asked, words).await;
    }
    assert_eq!(folder.stage.arena.calls_for(1).len(), sent, "it fails again and again, and is not sent again");

    folder.stage.arena.gateway.set_sessions(vec![session(1)]).unwrap();
    folder.remove("inc-1");
    folder.put("inc-1-again", &kill_of(&[1], 900).unwrap());
    let commit = folder.commit("another try").await;
    folder.synced(&commit).await;
    assert_eq!(folder.stage.kills(), [1, 1], "two sessions, one kill each");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_connection_that_works_and_are_executed_when_its_key_was_corrected() {
    let folder = Folder::set("corrected", vec![session(1)]).await;
    let secret = ["get", "secret", "aliyun-ak", "-o", "jsonpath={.data.accessKeySecret}"];
    let right = folder.stage.kubectl(&secret).await.unwrap();
    key(&folder, "d3Jvbmc=").await;
    folder.put("inc-1", &kill_of(&[1], 600).unwrap());
    let commit = folder.follow().await;
    eventually("the connections to fail", async || {
        let found = folder.connections().await;
        let ready = condition(&found, "Ready");
        let is_failed = ready["status"] == "False" && text(ready, "message").contains("OceanBaseConnection/corrected/");
        if is_failed { Ok(()) } else { Err(found["status"].to_string()) }
    })
    .await;
    let depends = |found: &Value| text(condition(found, "Ready"), "reason") == "DependencyNotReady";
    folder.until("held back by the connections", depends).await;
    assert!(folder.stage.arena.requests().await.unwrap().is_empty(), "nothing can be missed before it is there");

    key(&folder, &right).await;
    folder.synced(&commit).await;
    assert_eq!(folder.stage.kills(), [1]);
}

async fn key(folder: &Folder, secret: &str) {
    let patch = format!(r#"{{"data": {{"accessKeySecret": "{secret}"}}}}"#);
    folder.stage.kubectl(&["patch", "secret", "aliyun-ak", "--type=merge", "-p", &patch]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_that_was_missed_fails_the_sync_and_a_folder_of_last_year_does_not() {
    let folder = Folder::set("missed", vec![session(1), session(2)]).await;
    folder.put("old", &kill_of(&[1], -31_536_000).unwrap());
    let commit = folder.follow().await;
    folder.synced(&commit).await;
    let ended = folder.stage.ended("old").await;
    assert_eq!(text(condition(&ended, "Succeeded"), "reason"), "ExpiredOnArrival");

    folder.put("late", &kill_of(&[2], -120).unwrap());
    let commit = folder.commit("too late").await;
    folder.failed(&commit, "[SessionKill/missed/late status: 'Failed']").await;
    let ended = folder.stage.ended("late").await;
    assert_eq!(text(condition(&ended, "Succeeded"), "reason"), "KillMissed");
    assert_eq!(folder.stage.kills(), [0; 0]);
}
