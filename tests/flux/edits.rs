//! Requests that exist already and are edited in Git, with the settings of Flux for that case.

use serde_json::json;
use sessionkill::api::SessionKillSpec;
use testbed::arena::{kill_of, manifest, session};

use crate::folder::Folder;
use crate::stage::{condition, text};
use crate::waiting::not_before;

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_request_that_is_forced_is_made_anew_and_is_another_kill() {
    let folder = Folder::set("forced", vec![session(1)]).await;
    let forced = |seconds| {
        let metadata = json!({"annotations": {"kustomize.toolkit.fluxcd.io/force": "enabled"}});
        manifest("inc-1", &metadata, &kill_of(&[1], seconds).unwrap())
    };
    folder.put_object(&forced(600));
    let commit = folder.follow().await;
    folder.synced(&commit).await;
    let first = folder.stage.ended("inc-1").await;
    assert_eq!(folder.stage.kills(), [1]);

    folder.stage.arena.gateway.set_sessions(vec![session(1)]).unwrap();
    folder.put_object(&forced(1200));
    let commit = folder.commit("edit it").await;
    folder.synced(&commit).await;
    let second = folder.stage.ended("inc-1").await;
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(text(condition(&second, "Succeeded"), "reason"), "SessionsKilled");
    assert_eq!(folder.stage.kills(), [2], "the session, and the one that had its ID after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn if_flux_is_told_to_leave_alone_what_is_there_neither_an_edit_nor_a_suspension_by_hand_holds_back_others() {
    let folder = Folder::set("left-alone", vec![session(1), session(2)]).await;
    let spec = not_before(kill_of(&[1], 7200).unwrap(), 3600);
    folder.put("inc-1", &spec);
    let told = json!({"commonMetadata": {"annotations": {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}}});
    folder.follow_with(&told).await;
    folder.stage.saying("inc-1", "Scheduled").await;
    let suspend = r#"{"spec": {"suspend": true}}"#;
    folder.stage.kubectl(&["patch", "sessionkill", "inc-1", "--type=merge", "-p", suspend]).await.unwrap();
    folder.stage.saying("inc-1", "Suspended").await;

    // An apply of this edit would be refused.
    let not_after_time = kill_of(&[1], 10_800).unwrap().not_after_time;
    folder.put("inc-1", &SessionKillSpec { not_after_time, ..spec.clone() });
    folder.put("inc-2", &kill_of(&[2], 600).unwrap());
    folder.commit("edit one, and add another").await;
    let ended = folder.stage.ended("inc-2").await;
    assert_eq!(text(condition(&ended, "Succeeded"), "reason"), "SessionsKilled");
    let held = folder.stage.saying("inc-1", "Suspended").await;
    assert_eq!(held["spec"]["notAfterTime"], json!(spec.not_after_time));
    assert_eq!(folder.stage.kills(), [1], "the other one");

    folder.remove("inc-1");
    let commit = folder.commit("remove it").await;
    folder.synced(&commit).await;
    folder.holds(&["inc-2"]).await;
}
