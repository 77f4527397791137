//! A request that a user suspends with kubectl, and what the next sync does about it. The tools do not run here. The
//! tests send the same requests to the API server.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sessionkill::api::{SessionKill, SessionKillSpec};
use testbed::arena::{kill_of, manifest, session};

use crate::stage::Stage;

const REFUSED: &str = "suspend must not be removed while it is true: set it to false to go on";

const FLUX: &str = "kustomize-controller";
const ARGO_CD: &str = "argocd-controller";

/// The manifest in Git, with `suspend` or without.
fn in_git(name: &str, spec: &SessionKillSpec, suspend: Option<bool>) -> PathBuf {
    let mut object = manifest(name, &json!({}), spec);
    if let Some(suspend) = suspend {
        object["spec"]["suspend"] = suspend.into();
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("by-hand-{name}.json"));
    fs::write(&file, object.to_string()).unwrap();
    file
}

/// Both tools use a forced server-side apply.
async fn apply(stage: &Stage, manager: &str, file: &Path) -> Result<String, String> {
    let manager = format!("--field-manager={manager}");
    let arguments = ["apply", "--server-side", "--force-conflicts", &manager, "-f", file.to_str().unwrap()];
    stage.kubectl(&arguments).await
}

/// Before an apply, Flux takes over all fields that kubectl has written. The apply then removes those that are not in
/// Git.
async fn take_over(stage: &Stage, name: &str) {
    let object = serde_json::to_value(stage.raw::<SessionKill>().get(name).await.unwrap()).unwrap();
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let of = |manager: &str| entries.iter().find(|entry| entry["manager"].as_str().unwrap().starts_with(manager));
    let (mut own, kubectls) = (of(FLUX).unwrap().clone(), of("kubectl").unwrap());
    assert_eq!(kubectls["fieldsV1"], json!({"f:spec": {"f:suspend": {}}}));
    own["fieldsV1"]["f:spec"]["f:suspend"] = json!({});
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [own]}]).to_string();
    stage.kubectl(&["patch", "sk", name, "--type", "json", "-p", &patch]).await.unwrap();
}

/// A request that a tool has applied and that a user has suspended.
async fn held_back(stage: &Stage, name: &str, manager: &str, suspend: Option<bool>) -> PathBuf {
    let file = in_git(name, &kill_of(&[1], 600).unwrap(), suspend);
    apply(stage, manager, &file).await.unwrap();
    let by_hand = json!({"spec": {"suspend": true}}).to_string();
    stage.kubectl(&["patch", "sk", name, "--type", "merge", "-p", &by_hand]).await.unwrap();
    file
}

async fn suspend(stage: &Stage, name: &str) -> Value {
    stage.raw::<SessionKill>().get(name).await.unwrap().data["spec"]["suspend"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_suspended_by_hand_is_let_go_by_no_sync_of_a_file_that_does_not_say_so() {
    let stage = Stage::set("by-hand", vec![session(1)]).await;
    let file = held_back(&stage, "flux", FLUX, None).await;
    take_over(&stage, "flux").await;
    let refused = apply(&stage, FLUX, &file).await.unwrap_err();
    assert!(refused.contains(REFUSED), "{refused}");
    assert_eq!(suspend(&stage, "flux").await, true);

    let file = held_back(&stage, "argo-cd", ARGO_CD, None).await;
    apply(&stage, ARGO_CD, &file).await.unwrap();
    assert_eq!(suspend(&stage, "argo-cd").await, true);
    // Argo CD does this with `Replace=true`.
    let refused = stage.kubectl(&["replace", "-f", file.to_str().unwrap()]).await.unwrap_err();
    assert!(refused.contains(REFUSED), "{refused}");
    assert_eq!(suspend(&stage, "argo-cd").await, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_suspended_by_hand_is_let_go_by_a_file_that_says_so() {
    let stage = Stage::set("by-hand-said", vec![session(1)]).await;
    for (name, manager) in [("flux-said", FLUX), ("argo-cd-said", ARGO_CD)] {
        let file = held_back(&stage, name, manager, Some(false)).await;
        if manager == FLUX {
            take_over(&stage, name).await;
        }
        apply(&stage, manager, &file).await.unwrap();
        assert_eq!(suspend(&stage, name).await, false, "{manager}");
    }
}
