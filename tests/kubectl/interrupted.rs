//! Ctrl-C leaves nothing behind that was not asked for.

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::stage::{Said, Stage, eventually, of, sessions};

async fn interrupt(child: Child) -> Said {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[tokio::test]
async fn a_list_that_is_interrupted_is_deleted() {
    // No operator: the list would wait.
    let stage = Stage::set("int-list", sessions()).await;
    for line in [&["sessions"][..], &["sessions", "--watch"], &["kill", "--user", "report", "--yes"]] {
        let child = stage.command(stage.ground.control_plane.kubeconfig(), line).await.spawn().unwrap();
        eventually(
            "the list",
            async || if stage.requests().await.is_empty() { Err("none".to_owned()) } else { Ok(()) },
        )
        .await;
        let said = interrupt(child).await;
        assert!(said.code == 1 && said.stderr.contains("nothing is left behind"), "{line:?}: {said:?}");
        assert!(stage.requests().await.is_empty(), "{line:?}");
    }
}

#[tokio::test]
async fn a_kill_that_is_waited_for_goes_on_and_says_how_to_follow_it() {
    let stage = Stage::ready("int-kill", vec![of("report", 1, 700)]).await;
    stage
        .arena
        .gateway
        .set_sessions(vec![testbed::gateway::Session { lingering: true, ..of("report", 1, 700) }])
        .unwrap();
    let line = ["kill", "--user", "report", "--yes", "--name", "inc-1"];
    let child = stage.command(stage.ground.control_plane.kubeconfig(), &line).await.spawn().unwrap();
    eventually("the kill", async || match stage.kills().as_slice() {
        [] => Err("none".to_owned()),
        _ => Ok(()),
    })
    .await;
    let said = interrupt(child).await;
    assert_eq!(said.code, 3, "{said:?}");
    for words in ["kubectl sessionkill explain inc-1 -n int-kill", "kubectl sessionkill delete inc-1 -n int-kill"] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    let names: Vec<_> = stage.requests().await.into_iter().filter_map(|it| it.metadata.name).collect();
    assert_eq!(names, ["inc-1"]);
}

#[tokio::test]
async fn a_reader_that_goes_is_no_error() {
    let stage = Stage::ready("int-pipe", (1..100).map(|number| of("report", number, 700)).collect()).await;
    let mut command = stage.command(stage.ground.control_plane.kubeconfig(), &["sessions"]).await;
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
    stage.assert_no_list().await;
}
