//! Flux's messages are those that the documentation shows.

use std::fmt::Write as _;

use testbed::arena::{kill_of, session};
use testbed::flux::Flux;
use testbed::gateway::Session;

use crate::folder::Folder;
use crate::page::{but_for_numbers, shows};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_flux_says_of_a_kill_that_failed_one_that_waits_and_one_that_was_missed() {
    let folder = Folder::set("dba", vec![Session { protected: true, ..session(1) }, session(2)]).await;
    let failed = kill_of(&[1], 600).unwrap();
    let waits = crate::waiting::not_before(kill_of(&[2], 7200).unwrap(), 3600);
    let missed = kill_of(&[2], -120).unwrap();
    let [source, kustomize] = Flux::versions().unwrap();
    let mut printed = format!(
        "source-controller {source}, kustomize-controller {kustomize}\n\n\
         | request | `Ready` of the Kustomization is False, and says |\n|---|---|\n"
    );
    let mut before = None;
    for (what, name, spec, status) in [
        ("a kill that failed", "inc-90", &failed, "Failed"),
        ("one that waits for its notBeforeTime", "inc-91", &waits, "InProgress"),
        ("one that was missed", "inc-92", &missed, "Failed"),
    ] {
        folder.put(name, spec);
        let commit = match before.replace(name) {
            None => folder.follow().await,
            Some(before) => {
                folder.remove(before);
                folder.commit(what).await
            }
        };
        let said = folder.failed(&commit, &format!("SessionKill/dba/{name} status: '{status}'")).await;
        writeln!(printed, "| {what} | `{said}` |").unwrap();
    }
    print!("{printed}");
    shows("gitops.md", "flux", &printed, but_for_numbers);
}
