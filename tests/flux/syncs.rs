//! Syncs of Flux, on its own and after changes by people: it applies again, restores and prunes.

use serde_json::Value;
use testbed::arena::{example_request, kill_of, session};

use crate::folder::Folder;
use crate::stage::{condition, text};

fn reason(request: &Value) -> &str {
    text(condition(request, "Succeeded"), "reason")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_is_executed_at_its_first_sync_and_never_again() {
    let folder = Folder::set("first-sync", vec![session(1)]).await;
    let request = example_request("deploy/flux/example/requests/request.yaml", 1, 600).unwrap();
    let name = text(&request["metadata"], "name");
    folder.put_object(&request);
    let commit = folder.follow().await;
    folder.synced(&commit).await;
    assert_eq!(reason(&folder.stage.ended(name).await), "SessionsKilled");
    for _ in 0..3 {
        // Another session has the ID, of the same user: `expect` alone would let the kill through.
        folder.stage.arena.gateway.set_sessions(vec![session(1)]).unwrap();
        folder.sync_again().await;
    }
    assert_eq!(reason(&folder.stage.ended(name).await), "SessionsKilled");
    assert_eq!(folder.stage.kills(), [1], "one session, one kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_flux_is_suspended_nothing_is_applied_and_what_was_executed_is_not_executed_when_it_goes_on() {
    let folder = Folder::set("held-back", vec![session(1), session(2)]).await;
    folder.put("inc-1", &kill_of(&[1], 600).unwrap());
    let first = folder.follow().await;
    folder.synced(&first).await;
    assert_eq!(folder.stage.kills(), [1]);
    folder.stage.arena.gateway.add_sessions(vec![session(1)]).unwrap();

    folder.suspend(true).await;
    // A sync may still be running. When Flux has handled this request, it knows that it is suspended.
    folder.handled(&folder.ask_again().await).await;
    folder.put("inc-2", &kill_of(&[2], 600).unwrap());
    let commit = folder.commit("while it is suspended").await;
    folder.fetched(&commit).await;
    let seen = folder.handled(&folder.ask_again().await).await;
    let tried = text(&seen["status"], "lastAttemptedRevision");
    assert!(tried.ends_with(&first), "{tried} was tried");
    folder.holds(&["inc-1"]).await;

    folder.suspend(false).await;
    folder.synced(&commit).await;
    assert_eq!(reason(&folder.stage.ended("inc-2").await), "SessionsKilled");
    assert_eq!(folder.stage.kills(), [1, 1], "two sessions, one kill each");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_folder_in_two_namespaces_is_executed_in_each() {
    let (one, two) = (Folder::set("copy-one", vec![session(1)]).await, Folder::set("copy-two", vec![session(1)]).await);
    let spec = kill_of(&[1], 600).unwrap();
    let mut claims = vec![];
    for folder in [&one, &two] {
        folder.put("inc-1", &spec);
        let commit = folder.follow().await;
        folder.synced(&commit).await;
        assert_eq!(reason(&folder.stage.ended("inc-1").await), "SessionsKilled");
        assert_eq!(folder.stage.kills(), [1]);
        let receipts = folder.stage.arena.receipts().await.unwrap();
        claims.push(receipts.into_iter().map(|it| it.metadata.name).collect::<Vec<_>>());
    }
    assert_eq!(claims[0].len(), 1);
    assert_eq!(claims[0], claims[1], "it is the same content, claimed in each namespace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_deleted_by_hand_is_put_back_and_not_executed_again() {
    let folder = Folder::set("put-back", vec![session(1)]).await;
    folder.put("inc-1", &kill_of(&[1], 600).unwrap());
    let commit = folder.follow().await;
    folder.synced(&commit).await;
    assert_eq!(reason(&folder.stage.ended("inc-1").await), "SessionsKilled");
    // With `foreground`, the garbage collector removes it.
    for cascade in ["background", "foreground", "orphan"] {
        folder.stage.arena.gateway.set_sessions(vec![session(1)]).unwrap();
        let cascade = format!("--cascade={cascade}");
        folder.stage.kubectl(&["delete", "sessionkill", "inc-1", &cascade, "--timeout=60s"]).await.unwrap();
        folder.sync_again().await;
        assert_eq!(reason(&folder.stage.ended("inc-1").await), "AlreadyExecuted");
    }
    assert_eq!(folder.stage.kills(), [1], "one session, one kill");
    assert_eq!(folder.stage.arena.receipts().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_file_was_removed_is_pruned_and_its_receipt_stays() {
    let folder = Folder::set("pruned", vec![session(1), session(2), session(3)]).await;
    let first = kill_of(&[1], 600).unwrap();
    folder.put("inc-1", &first);
    folder.put("inc-2", &kill_of(&[2], 600).unwrap());
    // This request is removed before its call.
    let later = kill_of(&[3], 7200).unwrap();
    folder.put("inc-3", &crate::waiting::not_before(later, 3600));
    folder.follow().await;
    folder.stage.saying("inc-3", "Scheduled").await;
    for name in ["inc-1", "inc-2"] {
        assert_eq!(reason(&folder.stage.ended(name).await), "SessionsKilled");
    }
    folder.remove("inc-1");
    folder.remove("inc-3");
    let commit = folder.commit("remove two").await;
    folder.synced(&commit).await;
    folder.holds(&["inc-2"]).await;
    assert_eq!(folder.stage.arena.receipts().await.unwrap().len(), 2);

    folder.stage.arena.gateway.add_sessions(vec![session(1)]).unwrap();
    folder.put("inc-1", &first);
    folder.put("renamed", &first);
    let commit = folder.commit("put one back, under another name, too").await;
    folder.synced(&commit).await;
    for name in ["inc-1", "renamed"] {
        assert_eq!(reason(&folder.stage.ended(name).await), "AlreadyExecuted");
    }
    assert_eq!(folder.stage.kills(), [1, 1], "two sessions, one kill each");
}
