//! A request that a GitOps tool keeps is not deleted, whatever its TTL is: the tool would create it again.

use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sessionkill::api::{SessionKill, SessionKillSpec};
use testbed::arena::{kill_of, session};

use crate::stage::{Stage, eventually};

/// The last name in a list. A sweep that removes this request has checked the others before.
const UNTRACKED: &str = "zz-untracked";

/// The name of a request, the mark of a tool, and the metadata with that mark.
fn tracked() -> [(&'static str, &'static str, Value); 4] {
    let annotation = |key: &str| json!({"annotations": {key: "session-kills:sessionkill.dev/SessionKill:dba/x"}});
    let label = |key: &str| json!({"labels": {key: "session-kills"}});
    [
        ("argo-cd", "annotation argocd.argoproj.io/tracking-id", annotation("argocd.argoproj.io/tracking-id")),
        ("argo-cd-label", "label argocd.argoproj.io/instance", label("argocd.argoproj.io/instance")),
        ("flux", "label kustomize.toolkit.fluxcd.io/name", label("kustomize.toolkit.fluxcd.io/name")),
        ("flux-helm", "label helm.toolkit.fluxcd.io/name", label("helm.toolkit.fluxcd.io/name")),
    ]
}

/// The notes of the Events `TTLIgnored` of a request. A note appears as many times as its Event was counted.
async fn told(stage: &Stage, name: &str) -> Vec<String> {
    let events: Vec<Event> = stage.arena.events().await.unwrap();
    let of_it = events.into_iter().filter(|event| {
        let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
        regarding == Some(name) && event.reason.as_deref() == Some("TTLIgnored")
    });
    let counted = |event: Event| {
        let count = event.series.map_or(1, |series| series.count);
        std::iter::repeat_n(event.note.unwrap_or_default(), usize::try_from(count).unwrap())
    };
    of_it.flat_map(counted).collect()
}

async fn is_there(stage: &Stage, name: &str) -> bool {
    stage.raw::<SessionKill>().get_opt(name).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ttl_of_what_a_gitops_tool_keeps_is_ignored_and_that_is_said_once() {
    let stage = Stage::set("ttl", vec![session(1)]).await;
    stage.start_operator().await;
    // These sessions do not exist, so nothing is sent.
    let gone = |number: i64| SessionKillSpec { ttl_seconds_after_finished: Some(0), ..kill_of(&[number], 4).unwrap() };
    for ((name, _, metadata), number) in tracked().iter().zip(11..) {
        stage.create(name, metadata, &gone(number)).await;
        stage.ended(name).await;
    }
    // Helm charts set this label, whichever tool installs them.
    let of_helm = json!({"labels": {"app.kubernetes.io/instance": "x"}});
    stage.create(UNTRACKED, &of_helm, &gone(20)).await;
    eventually("the untracked request to be removed", async || {
        if is_there(&stage, UNTRACKED).await { Err("it is there".to_owned()) } else { Ok(()) }
    })
    .await;
    for (name, mark, _) in tracked() {
        assert!(is_there(&stage, name).await, "{name} was removed");
        let told = told(&stage, name).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(mark) && told[0].contains("would put it back"), "{told:?}");
    }
    assert_eq!(told(&stage, UNTRACKED).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ttl_that_is_set_after_the_end_is_answered_too() {
    let stage = Stage::set("ttl-later", vec![session(1)]).await;
    stage.start_operator().await;
    let [(name, _, metadata), ..] = tracked();
    stage.create(name, &metadata, &kill_of(&[1], 600).unwrap()).await;
    stage.ended(name).await;
    assert_eq!(told(&stage, name).await, [""; 0]);
    let edit = Patch::Merge(json!({"spec": {"ttlSecondsAfterFinished": 60}}));
    stage.raw::<SessionKill>().patch(name, &PatchParams::default(), &edit).await.unwrap();
    eventually("an Event", async || {
        let told = told(&stage, name).await;
        if told.len() == 1 { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}
