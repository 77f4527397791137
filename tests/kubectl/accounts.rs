//! Users with few rights, and clusters that lack something: each has its words.

use std::fs;
use std::path::{Path, PathBuf};

use testbed::control_plane::ControlPlane;

use crate::stage::{Stage, eventually, sessions};

/// A user of the namespace, with this cluster role there.
pub async fn user(stage: &Stage, name: &str, role: Option<&str>) -> PathBuf {
    let namespace = stage.arena.namespace.as_str();
    stage.kubectl(&["create", "serviceaccount", name]).await;
    if let Some(role) = role {
        let (role, account) = (format!("--clusterrole={role}"), format!("--serviceaccount={namespace}:{name}"));
        stage.kubectl(&["create", "rolebinding", name, &role, &account]).await;
        let who = format!("--as=system:serviceaccount:{namespace}:{name}");
        eventually("the right", async || {
            let answer = ["auth", "can-i", "create", "sessionkills", &who, "-n", namespace];
            stage.ground.control_plane.run_kubectl(&answer).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
    stage.ground.control_plane.service_account_kubeconfig(namespace, name).await.unwrap()
}

#[tokio::test]
async fn the_role_of_requesters_is_enough() {
    let stage = Stage::ready("acc-requester", sessions()).await;
    let user = user(&stage, "jane", Some("sessionkill-requester")).await;
    let run = async |line: &[&str]| stage.run_as(&user, line).await;
    let list = run(&["sessions"]).await;
    assert_eq!((list.code, list.stdout.lines().count()), (0, 5), "{list:?}");
    let kill = run(&["kill", "--user", "report", "--min", "5m", "--yes", "--name", "inc-1"]).await;
    assert_eq!(kill.code, 0, "{kill:?}");
    let explained = run(&["explain", "inc-1"]).await;
    assert!(explained.stdout.contains("Events cannot be read by you"), "{explained:?}");
    assert_eq!(run(&["history"]).await.code, 0);
    let check = run(&["check"]).await;
    assert_eq!(check.code, 0, "{check:?}");
    for words in
        ["you may do all that this plugin does", "you may not read leases", "oceanbaseconnection prod-ob: CallAnswered"]
    {
        assert!(check.stdout.contains(words), "{}", check.stdout);
    }
    let version = run(&["version"]).await;
    assert!(version.code == 0 && version.stdout.contains("not known: you may not list deployments"), "{version:?}");
    assert_eq!(run(&["delete", "inc-1"]).await.code, 0);
}

#[tokio::test]
async fn a_missing_right_is_named_and_who_can_give_it() {
    let stage = Stage::ready("acc-none", sessions()).await;
    let nobody = user(&stage, "nobody", None).await;
    let who = "system:serviceaccount:acc-none:nobody";
    for (line, right) in [
        (&["sessions"][..], "list oceanbaseconnections"),
        (&["kill", "--user", "report", "--yes"], "list oceanbaseconnections"),
        (&["history"], "list sessionkills"),
        (&["explain", "inc-1"], "get sessionkills"),
        (&["delete", "inc-1"], "get sessionkills"),
    ] {
        let said = stage.run_as(&nobody, line).await;
        let words = format!(
            "error: {who} may not {right}.sessionkill.dev in namespace acc-none\n\
             ask an admin of the cluster for a RoleBinding in namespace acc-none to the ClusterRole sessionkill-requester\n"
        );
        assert_eq!((said.code, said.stderr), (1, words), "{line:?}");
    }
    let check = stage.run_as(&nobody, &["check"]).await;
    assert!(check.code == 1 && check.stdout.contains("BAD   you may not create sessionkills"), "{check:?}");

    let viewer = user_who_reads(&stage).await;
    let said = stage.run_as(&viewer, &["sessions"]).await;
    assert!(said.code == 1 && said.stderr.contains("may not create sessionkills.sessionkill.dev"), "{said:?}");
}

/// A user who may read all, and create nothing.
async fn user_who_reads(stage: &Stage) -> PathBuf {
    let path = user(stage, "viewer", None).await;
    stage
        .kubectl(&[
            "create",
            "rolebinding",
            "viewer",
            "--clusterrole=sessionkill-viewer",
            "--serviceaccount=acc-none:viewer",
        ])
        .await;
    eventually("the right", async || {
        let answer = [
            "auth",
            "can-i",
            "list",
            "oceanbaseconnections",
            "--as=system:serviceaccount:acc-none:viewer",
            "-n",
            "acc-none",
        ];
        stage.ground.control_plane.run_kubectl(&answer).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    path
}

#[tokio::test]
async fn a_cluster_that_is_not_reached_or_lacks_the_kinds_is_said_to() {
    let stage = Stage::set("acc-cluster", sessions()).await;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubectl-cluster");
    let _ = fs::remove_dir_all(&directory);
    let bare = ControlPlane::start(&directory).await.unwrap();
    for line in [&["sessions"][..], &["history"]] {
        let said = stage.run_as(bare.kubeconfig(), line).await;
        assert!(said.code == 1 && said.stderr.contains("install the definitions (crds/) and the operator"), "{said:?}");
    }
    let check = stage.run_as(bare.kubeconfig(), &["check"]).await;
    assert!(check.code == 1 && check.stdout.contains("BAD   definitions:"), "{check:?}");

    let gone = directory.join("gone");
    fs::copy(bare.kubeconfig(), &gone).unwrap();
    bare.stop().await;
    let said = stage.run_as(&gone, &["sessions"]).await;
    assert!(said.code == 1 && said.stderr.contains("error: the API server cannot be reached"), "{said:?}");
    let said = stage.run_as(Path::new("/nowhere"), &["sessions"]).await;
    assert!(said.code == 1 && said.stderr.contains("no usable kubeconfig"), "{said:?}");
}
