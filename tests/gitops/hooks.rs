//! A request as a hook of Argo CD, which deletes and creates it at each sync.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sessionkill::api::{SessionKill, SessionKillSpec};
use testbed::arena::{kill_of, session};
use testbed::gateway::{Fault, FaultKind, Session};
use testbed::manifests;

use crate::stage::{Stage, condition, eventually, text, verdict};

/// In these 45 s, hooks end even on a slow machine. The test waits until they have passed.
const IN_TIME: i64 = 45;

/// The metadata of the shipped example of a hook, with what Argo CD adds to it.
fn metadata() -> Value {
    let mut metadata = manifests::read("deploy/argocd/example/hook.yaml").unwrap().remove(0)["metadata"].take();
    assert_eq!(metadata["annotations"]["argocd.argoproj.io/hook"], "Sync");
    assert_eq!(metadata["annotations"]["argocd.argoproj.io/hook-delete-policy"], "BeforeHookCreation");
    let id = format!("session-kills:sessionkill.dev/SessionKill:dba/{}", text(&metadata, "name"));
    metadata["annotations"]["argocd.argoproj.io/tracking-id"] = id.into();
    metadata
}

/// What a sync does with a hook that has the policy `BeforeHookCreation`.
async fn sync(stage: &Stage, name: &str, metadata: &Value, spec: &SessionKillSpec) {
    if stage.raw::<SessionKill>().get_opt(name).await.unwrap().is_some() {
        stage.delete(name).await;
    }
    stage.create(name, metadata, spec).await;
}

/// The reason at the end of a hook, which must count as succeeded for Argo CD.
async fn succeeded(stage: &Stage, name: &str) -> String {
    let ended = stage.ended(name).await;
    assert_eq!(verdict(&ended).await, ("Current".to_owned(), "Healthy".to_owned()), "{ended}");
    text(condition(&ended, "Succeeded"), "reason").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_deleted_and_created_at_each_sync_stays_one_kill() {
    let stage = Stage::set("hooks", vec![session(1)]).await;
    stage.start_operator().await;
    let metadata = metadata();
    let name = text(&metadata, "name");
    let spec = kill_of(&[1], 600).unwrap();

    sync(&stage, name, &metadata, &spec).await;
    assert_eq!(succeeded(&stage, name).await, "SessionsKilled");
    for _ in 0..3 {
        // Another session has the ID, of the same user: `expect` alone would let the kill through.
        stage.arena.gateway.set_sessions(vec![session(1)]).unwrap();
        sync(&stage, name, &metadata, &spec).await;
        assert_eq!(succeeded(&stage, name).await, "AlreadyExecuted");
    }
    assert_eq!(stage.kills(), [1], "one session, one kill");
    assert_eq!(stage.arena.receipts().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_re_created_while_its_call_is_in_flight_stays_one_kill() {
    let stage = Stage::set("hooks-in-flight", vec![session(1)]).await;
    stage.start_operator().await;
    let metadata = metadata();
    let name = text(&metadata, "name");
    let spec = kill_of(&[1], 600).unwrap();

    let slow = Fault::new(FaultKind::Delay).after().on_kills().times(1).delayed(Duration::from_secs(3));
    stage.arena.gateway.inject(slow);
    sync(&stage, name, &metadata, &spec).await;
    eventually("the call", async || {
        let is_sent = stage.arena.gateway.calls().iter().any(|call| !call.sessions.is_empty());
        if is_sent { Ok(()) } else { Err("nothing was sent".to_owned()) }
    })
    .await;
    sync(&stage, name, &metadata, &spec).await;
    assert_eq!(succeeded(&stage, name).await, "AlreadyExecuted");
    assert_eq!(stage.kills(), [1], "one session, one kill");
}

/// The sync is tried again after `notAfterTime`. The migration that follows the hook must not run while the sessions
/// still exist.
#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_created_again_after_its_time_opens_no_gate_unless_its_sessions_were_killed() {
    let stage = Stage::set("hooks-again-late", vec![session(1), Session { protected: true, ..session(2) }]).await;
    stage.start_operator().await;
    let metadata = metadata();
    let spec = kill_of(&[1], IN_TIME).unwrap();
    let failing = SessionKillSpec { sessions: kill_of(&[2], IN_TIME).unwrap().sessions, ..spec.clone() };
    let named = |name: &str| {
        let mut metadata = metadata.clone();
        metadata["name"] = name.into();
        metadata
    };
    let failed = async |reason: &str, name: &str| {
        let ended = stage.ended(name).await;
        assert_eq!(verdict(&ended).await, ("Failed".to_owned(), "Degraded".to_owned()), "{ended}");
        assert_eq!(text(condition(&ended, "Succeeded"), "reason"), reason, "{ended}");
        text(condition(&ended, "Ready"), "message").to_owned()
    };
    sync(&stage, "killed", &named("killed"), &spec).await;
    sync(&stage, "failed", &named("failed"), &failing).await;
    assert_eq!(succeeded(&stage, "killed").await, "SessionsKilled");
    failed("KillFailed", "failed").await;
    let sent = stage.arena.calls_for(2).len();
    assert_ne!(sent, 0);
    eventually("the records", async || {
        let receipts = stage.arena.receipts().await.unwrap();
        let recorded = receipts.iter().filter(|receipt| receipt.status.is_some()).count();
        if recorded == 2 { Ok(()) } else { Err(format!("{recorded}")) }
    })
    .await;

    eventually("notAfterTime to pass", async || {
        let left = spec.not_after_time.0.duration_since(Timestamp::now());
        if left.is_negative() { Ok(()) } else { Err(format!("{left} left")) }
    })
    .await;
    for _ in 0..2 {
        sync(&stage, "killed", &named("killed"), &spec).await;
        sync(&stage, "failed", &named("failed"), &failing).await;
        assert_eq!(succeeded(&stage, "killed").await, "AlreadyExecuted");
        let message = failed("KillFailed", "failed").await;
        assert!(message.contains("executed as SessionKill failed and ended at"), "{message}");
    }
    assert_eq!(stage.arena.calls_for(2).len(), sent, "what failed is not sent again");
    // This request is new, so its kill was missed.
    stage.create("missed", &named("missed"), &kill_of(&[1], -60).unwrap()).await;
    let message = failed("KillMissed", "missed").await;
    assert!(message.contains("create a new SessionKill with a new notAfterTime"), "{message}");
    assert_eq!(stage.kills(), [1], "one session, one kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_of_last_year_does_nothing_and_is_healthy() {
    let stage = Stage::set("hooks-late", vec![session(1)]).await;
    stage.start_operator().await;
    let metadata = metadata();
    let name = text(&metadata, "name");
    stage.create(name, &metadata, &kill_of(&[1], -31_536_000).unwrap()).await;
    assert_eq!(succeeded(&stage, name).await, "ExpiredOnArrival");
    assert_eq!(stage.kills(), [0; 0]);
}
