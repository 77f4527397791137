//! A request that waits, in a folder with others.

use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use sessionkill::api::SessionKillSpec;
use testbed::arena::{kill_of, manifest, session};

use crate::folder::Folder;
use crate::stage::{condition, eventually, text};

/// The same with a `notBeforeTime` in `seconds` seconds.
pub fn not_before(spec: SessionKillSpec, seconds: i64) -> SessionKillSpec {
    let time = (Timestamp::now() + SignedDuration::from_secs(seconds)).round(Unit::Second).unwrap();
    SessionKillSpec { not_before_time: Some(Time(time)), ..spec }
}

async fn reason(folder: &Folder, name: &str) -> String {
    text(condition(&folder.stage.ended(name).await, "Succeeded"), "reason").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_urgent_request_is_executed_beside_one_that_is_scheduled_and_one_that_is_suspended() {
    let folder = Folder::set("urgent", vec![session(1), session(2), session(3)]).await;
    folder.put("scheduled", &not_before(kill_of(&[1], 7200).unwrap(), 3600));
    folder.put("suspended", &SessionKillSpec { suspend: true, ..kill_of(&[2], 7200).unwrap() });
    folder.follow().await;
    folder.stage.saying("scheduled", "Scheduled").await;
    folder.stage.saying("suspended", "Suspended").await;

    folder.put("urgent", &kill_of(&[3], 600).unwrap());
    folder.commit("an incident").await;
    eventually("the urgent request to be applied", async || {
        let there = folder.stage.arena.requests().await.map_err(|error| error.to_string())?;
        if there.len() == 3 { Ok(()) } else { Err(format!("{} are there", there.len())) }
    })
    .await;
    assert_eq!(reason(&folder, "urgent").await, "SessionsKilled");
    folder.stage.saying("scheduled", "Scheduled").await;
    folder.stage.saying("suspended", "Suspended").await;
    assert_eq!(folder.stage.kills(), [1], "the urgent one, and no other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_suspended_in_git_waits_until_git_lets_it_go() {
    let folder = Folder::set("suspended", vec![session(1)]).await;
    let spec = kill_of(&[1], 600).unwrap();
    folder.put("inc-1", &SessionKillSpec { suspend: true, ..spec.clone() });
    let commit = folder.follow().await;
    folder.failed(&commit, "SessionKill/suspended/inc-1 status: 'InProgress'").await;
    folder.stage.saying("inc-1", "Suspended").await;
    assert_eq!(folder.stage.kills(), [0; 0]);

    folder.put_object(&let_go("inc-1", &spec));
    let commit = folder.commit("let it go").await;
    folder.synced(&commit).await;
    assert_eq!(reason(&folder, "inc-1").await, "SessionsKilled");
    assert_eq!(folder.stage.kills(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_suspended_by_hand_stays_so_until_git_lets_it_go() {
    let folder = Folder::set("by-hand", vec![session(1)]).await;
    let spec = not_before(kill_of(&[1], 7200).unwrap(), 3600);
    folder.put("inc-1", &spec);
    folder.follow().await;
    folder.stage.saying("inc-1", "Scheduled").await;
    let suspend = r#"{"spec": {"suspend": true}}"#;
    folder.stage.kubectl(&["patch", "sessionkill", "inc-1", "--type=merge", "-p", suspend]).await.unwrap();
    folder.stage.saying("inc-1", "Suspended").await;
    folder.put("inc-2", &not_before(kill_of(&[1], 7200).unwrap(), 3600));
    let commit = folder.commit("something else").await;
    folder.failed(&commit, "suspend must not be removed while it is true: set it to false to go on").await;
    folder.stage.saying("inc-1", "Suspended").await;

    folder.put_object(&let_go("inc-1", &spec));
    folder.commit("let it go").await;
    folder.stage.saying("inc-1", "Scheduled").await;
    assert_eq!(folder.stage.kills(), [0; 0]);
}

/// The request with `suspend: false`. Without the field, it would stay suspended.
fn let_go(name: &str, spec: &SessionKillSpec) -> Value {
    let mut request = manifest(name, &json!({}), spec);
    request["spec"]["suspend"] = false.into();
    request
}
