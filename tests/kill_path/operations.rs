//! What the operator costs the API server.

use testbed::control_plane::Request as Asked;

use crate::scene::{Launch, Request as _, Scene, eventually};

const REQUESTS: i64 = 20;

#[tokio::test]
async fn each_request_costs_the_api_server_four_writes() {
    let scene = Scene::set("cost").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.launch(Launch { kubeconfig: Some(kubeconfig), ..Launch::default() }).await;
    for number in 1..=REQUESTS {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
    for number in 1..=REQUESTS {
        let name = format!("inc-{number}");
        assert_eq!(scene.wait_finished(&name).await.reason(), "SessionsKilled");
        scene.wait_recorded(&name).await;
        scene.wait_for_event(&name, "SessionsKilled").await;
    }
    let user = format!("system:serviceaccount:{}:{}", scene.namespace, Scene::OWN_ACCOUNT);
    let expected = u64::try_from(REQUESTS).unwrap();
    let written = [
        Asked::new("create", "sessionkillreceipts", ""),
        Asked::new("patch", "sessionkills", "status"),
        Asked::new("patch", "sessionkillreceipts", "status"),
        Asked::new("create", "events", ""),
    ];
    // An entry of the audit log may be written after its answer has arrived.
    let counts = eventually("the audit log", async || {
        let counts = scene.cluster.control_plane.requests_by_verb(&user).unwrap();
        let complete = written.iter().all(|asked| counts.get(asked).is_some_and(|count| *count >= expected));
        if complete { Ok(counts) } else { Err(format!("{counts:?}")) }
    })
    .await;
    println!("for {REQUESTS} requests, by one operator:");
    for (asked, count) in &counts {
        println!("{count:6} {asked}");
    }
    for asked in &written {
        assert_eq!(counts[asked], expected, "{asked}");
    }
    let secrets = counts[&Asked::new("get", "secrets", "")];
    assert!(secrets < expected, "one for each burst, not for each request: {secrets}");
    for (asked, count) in &counts {
        let background = ["list", "watch"].contains(&asked.verb.as_str());
        let connection = asked.resource == "oceanbaseconnections" && *count <= 1;
        let known = written.contains(asked) || asked.resource == "secrets" || background || connection;
        assert!(known, "{count} {asked}: nothing else is asked for");
    }
    scene.assert_killed_once(1..=REQUESTS);
    scene.end().await;
}
