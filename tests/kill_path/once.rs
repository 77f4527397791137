//! Each session is killed at most once, whatever happens to the objects meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use testbed::gateway::{Fault, FaultKind};
use tokio::task::JoinHandle;

use crate::scene::{Request as _, Scene, in_seconds};

const REQUESTS: i64 = 30;

fn name(number: i64) -> String {
    format!("inc-{number}")
}

/// All reasons that the requests of a scene have had, however short. Collected by a watch.
struct Seen {
    reasons: Arc<Mutex<BTreeSet<String>>>,
    watching: JoinHandle<()>,
}

impl Seen {
    fn start(scene: &Scene) -> Self {
        let reasons: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let seen = reasons.clone();
        let mut objects = watcher(scene.requests(), watcher::Config::default()).applied_objects().boxed();
        let watching = tokio::spawn(async move {
            while let Some(object) = objects.next().await {
                if let Ok(object) = object {
                    seen.lock().unwrap().insert(object.reason().to_owned());
                }
            }
        });
        Self { reasons, watching }
    }

    /// All reasons. A new request has an empty one, which is left out.
    fn reasons(&self) -> Vec<String> {
        self.watching.abort();
        self.reasons.lock().unwrap().iter().filter(|reason| !reason.is_empty()).cloned().collect()
    }
}

/// Creates the requests, edits their labels until all have ended, and checks the result.
async fn kill_while_labels_are_edited(scene: &Scene) {
    // A delay of 40 ms gives time for many edits during each call.
    scene.inject(Fault::new(FaultKind::Delay).delayed(Duration::from_millis(40)));
    let seen = Seen::start(scene);
    for number in 1..=REQUESTS {
        scene.request(&name(number)).sessions([number]).create().await;
    }
    let mut edits = 0_u32;
    let mut unfinished: Vec<i64> = (1..=REQUESTS).collect();
    while !unfinished.is_empty() {
        edits += 1;
        for number in unfinished.split_off(0) {
            scene.edit(&name(number), json!({"metadata": {"labels": {"edit": edits.to_string()}}})).await;
            if !scene.requests().get(&name(number)).await.unwrap().is_finished() {
                unfinished.push(number);
            }
        }
    }
    scene.assert_killed_once(1..=REQUESTS);
    for number in 1..=REQUESTS {
        assert_eq!(scene.calls_for(number).len(), 1, "one call names each session");
    }
    assert_eq!(seen.reasons(), ["SessionsKilled"], "nobody was told anything else, not even for a moment");
}

#[tokio::test]
async fn labels_that_are_edited_all_along_never_cause_a_second_kill() {
    let scene = Scene::ready("labels").await;
    kill_while_labels_are_edited(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn two_operators_at_once_kill_each_session_once_and_never_show_an_unknown_outcome() {
    let scene = Scene::set("two-operators").await;
    tokio::join!(scene.operator(), scene.operator());
    kill_while_labels_are_edited(&scene).await;
    let lines = scene.audit_lines();
    assert_eq!(lines.len(), usize::try_from(REQUESTS).unwrap(), "one audit line for each kill");
    scene.end().await;
}

#[tokio::test]
async fn a_request_that_is_deleted_and_applied_again_is_not_executed_again() {
    let scene = Scene::ready("re-applied").await;
    let request = scene.request("inc-1").sessions([1, 2]);
    request.create().await;
    let first = scene.wait_finished("inc-1").await;
    assert_eq!(first.reason(), "SessionsKilled");
    scene.delete("inc-1").await;

    request.create().await;
    let again = scene.wait_finished("inc-1").await;
    assert_eq!(again.reason(), "AlreadyExecuted");
    assert!(again.message().contains("nothing was sent again"), "{}", again.message());
    assert!(again.message().contains("create a SessionKill with a new notAfterTime"), "{}", again.message());
    let (first, again) = (first.status.unwrap(), again.status.unwrap());
    assert_eq!(again.sessions, first.sessions, "the outcome of each session is copied");
    assert_eq!(again.dispatch, first.dispatch, "and so is the call that it came from");
    scene.assert_killed_once([1, 2]);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.end().await;
}

#[tokio::test]
async fn the_same_content_under_two_names_at_once_is_executed_once() {
    let scene = Scene::set("twins").await;
    // Two operators: one alone would work on the requests one after the other.
    tokio::join!(scene.operator(), scene.operator());
    scene.inject(Fault::new(FaultKind::Delay).delayed(Duration::from_secs(1)));
    let seen = Seen::start(&scene);
    let (left, right) = (scene.request("left"), scene.request("left").named("right"));
    tokio::join!(left.create(), right.create());

    let (left, right) = tokio::join!(scene.wait_finished("left"), scene.wait_finished("right"));
    let mut reasons = [left.reason(), right.reason()];
    reasons.sort_unstable();
    assert_eq!(reasons, ["AlreadyExecuted", "SessionsKilled"]);
    assert!(
        seen.reasons().iter().all(|reason| ["AlreadyExecuted", "Dispatching", "SessionsKilled"].contains(&&**reason))
    );
    scene.assert_killed_once([1]);
    assert_eq!(scene.kill_calls().len(), 1);
    let copy = if left.reason() == "AlreadyExecuted" { left } else { right };
    let original = if copy.name_any() == "left" { "right" } else { "left" };
    assert!(copy.message().contains(&format!("executed as SessionKill {original}")), "{}", copy.message());
    scene.end().await;
}

#[tokio::test]
async fn a_new_not_after_time_makes_it_a_new_request() {
    let scene = Scene::ready("again").await;
    scene.request("first").not_after(in_seconds(300)).create().await;
    scene.wait_finished("first").await;
    // Another session has the ID again.
    scene.gateway().set_sessions(vec![crate::scene::session(1)]).unwrap();
    scene.gateway().clear_calls();
    scene.request("second").not_after(in_seconds(301)).create().await;
    assert_eq!(scene.wait_finished("second").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_request_in_flight_that_is_deleted_and_applied_again_ends_as_already_executed() {
    let scene = Scene::ready("replaced").await;
    scene.inject(Fault::new(FaultKind::Delay).after().delayed(Duration::from_secs(2)).times(1));
    let request = scene.request("inc-1");
    request.create().await;
    crate::scene::eventually("the kill", async || {
        if scene.gateway().kills_per_session().is_empty() { Err("not yet".into()) } else { Ok(()) }
    })
    .await;
    scene.delete("inc-1").await;
    let created = request.create().await.creation_timestamp().map_or(Timestamp::MAX, |time| time.0);

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "AlreadyExecuted", "{}", ended.message());
    assert!(ended.status.unwrap().dispatch.unwrap().start_time.0 <= created, "the first one's call");
    scene.assert_killed_once([1]);
    assert_eq!(scene.kill_calls().len(), 1);
    scene.end().await;
}
