//! Objects that the API server refuses. Flux shows the API server's own message.

use testbed::arena::{kill_of, session};

use crate::folder::Folder;
use crate::stage::{condition, text};

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_request_is_refused_and_holds_back_its_folder_until_it_is_as_it_was() {
    let folder = Folder::set("edited", vec![session(1), session(2)]).await;
    let first = kill_of(&[1], 600).unwrap();
    folder.put("inc-1", &first);
    let commit = folder.follow().await;
    folder.synced(&commit).await;

    folder.stage.arena.gateway.add_sessions(vec![session(1)]).unwrap();
    folder.put("inc-1", &kill_of(&[1], 1200).unwrap());
    folder.put("inc-2", &kill_of(&[2], 600).unwrap());
    let commit = folder.commit("edit one, and add another").await;
    let words = "notAfterTime is immutable: create a new SessionKill instead";
    let said = folder.failed(&commit, words).await;
    assert!(said.contains("inc-1"), "{said}");
    let names: Vec<_> = folder.stage.arena.requests().await.unwrap().into_iter().map(|it| it.metadata.name).collect();
    assert_eq!(names, [Some("inc-1".to_owned())], "Flux applies all of a folder, or nothing");
    assert_eq!(folder.stage.kills(), [1]);

    folder.put("inc-1", &first);
    let commit = folder.commit("as it was").await;
    folder.synced(&commit).await;
    let ended = folder.stage.ended("inc-2").await;
    assert_eq!(text(condition(&ended, "Succeeded"), "reason"), "SessionsKilled");
    assert_eq!(folder.stage.kills(), [1, 1], "two sessions, one kill each");
}
