//! `explain`, `history`, `check`, `suspend`, `resume`, `delete`, `version` and `completion`.

use testbed::arena::kill_of;
use testbed::gateway::{Fault, FaultKind};

use crate::stage::{Stage, eventually, sessions};

#[tokio::test]
async fn a_request_is_followed_from_its_creation_to_its_end_and_beyond() {
    let stage = Stage::ready("story", sessions()).await;
    let mut spec = kill_of(&[1], 600).unwrap();
    spec.sessions[0].expect = None;
    spec.suspend = true;
    stage.arena.request("inc-1", spec).await.unwrap();
    eventually("the request to wait", async || {
        let told = stage.run(&["explain", "inc-1"]).await.stdout;
        if told.contains("now: Suspended:") { Ok(()) } else { Err(told) }
    })
    .await;
    stage.arena.gateway.inject(Fault::new(FaultKind::Throttle));
    let resumed = stage.run(&["resume", "inc-1"]).await;
    assert!(resumed.stdout.starts_with("sessionkill inc-1: goes on; nothing is sent after 20"), "{resumed:?}");
    eventually("the request to be throttled, without a list", async || {
        let told = stage.run(&["explain", "inc-1"]).await.stdout;
        let is_advised =
            told.contains("now: ObservationFailed:") && told.contains("what to do: do what the message says");
        if is_advised { Ok(()) } else { Err(told) }
    })
    .await;
    stage.arena.gateway.clear_faults();
    eventually("the request to end", async || {
        let told = stage.run(&["explain", "inc-1"]).await.stdout;
        if told.contains("ended: SessionsKilled") && told.contains("recorded in the receipt") {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await;
    let told = stage.run(&["explain", "inc-1"]).await.stdout;
    for words in [
        "created; nothing is sent after",
        "ObservationFailed:",
        "claimed by receipt sk-",
        "called KillProcessList, request ID",
        "Killed",
        "Verified",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let held = stage.run(&["suspend", "inc-1"]).await;
    assert!(held.code == 4 && held.stdout.contains("it has ended (SessionsKilled)"), "{held:?}");

    let deleted = stage.run(&["delete", "inc-1"]).await;
    assert_eq!(
        (deleted.code, deleted.stdout.as_str()),
        (0, "sessionkill inc-1 deleted: it has ended, and its receipt is kept\n")
    );
    let told = stage.run(&["explain", "inc-1"]).await;
    assert!(told.stdout.starts_with("sessionkill inc-1 is deleted; its receipt tells"), "{told:?}");
    let history = stage.run(&["history", "--since", "1d"]).await.stdout;
    assert!(history.contains("inc-1 (deleted)") && history.contains("1/1"), "{history}");
    let absent = stage.run(&["explain", "inc-9"]).await;
    assert!(absent.code == 1 && absent.stderr.contains("\"inc-9\" is not found in namespace story"), "{absent:?}");
}

#[tokio::test]
async fn a_request_at_work_is_not_deleted_by_a_script_unawares() {
    let stage = Stage::set("story-delete", sessions()).await;
    stage.arena.request("inc-1", kill_of(&[1], 600).unwrap()).await.unwrap();
    let refused = stage.run(&["delete", "inc-1"]).await;
    assert!(refused.code == 1 && refused.stderr.contains("give --yes"), "{refused:?}");
    let unseen = stage.run(&["explain", "inc-1"]).await;
    assert!(unseen.stdout.contains("no operator has seen it"), "{unseen:?}");
    assert_eq!(stage.run(&["delete", "inc-1", "--yes"]).await.code, 0);
    assert!(stage.requests().await.is_empty());
    let unanswered = stage.run(&["check"]).await;
    assert!(unanswered.stdout.contains("BAD   oceanbaseconnection prod-ob: no operator has seen it"), "{unanswered:?}");
}

#[tokio::test]
async fn names_are_completed() {
    let stage = Stage::set("story-names", sessions()).await;
    stage.arena.request("inc-1", kill_of(&[1], 600).unwrap()).await.unwrap();
    let kubeconfig = stage.ground.control_plane.kubeconfig().to_str().unwrap();
    let complete = async |line: &[&str]| {
        let mut command = tokio::process::Command::new(crate::stage::plugin().await);
        command.args(["__complete", "--kubeconfig", kubeconfig, "-n", "story-names"]).args(line);
        crate::stage::said(command).await.stdout
    };
    assert_eq!(complete(&["explain", ""]).await, "inc-1\n:4\n");
    assert_eq!(complete(&["sessions", "pro"]).await, "prod-ob\n:4\n");
    assert!(complete(&["his"]).await.starts_with("history\t"));
    let script = stage.run(&["completion", "bash"]).await;
    assert!(script.code == 0 && script.stdout.contains("kubectl-sessionkill"), "{script:?}");
}
