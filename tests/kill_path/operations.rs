//! The number of requests that the operator makes to the API server and the gateway.

use testbed::control_plane::Request as Asked;
use testbed::gateway::CallRecord;

use crate::scene::{Launch, Request as _, Scene, eventually};

const REQUESTS: i64 = 20;

#[tokio::test]
async fn each_request_costs_the_api_server_four_writes_and_the_gateway_three_calls_at_most() {
    let scene = Scene::set("cost").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.launch(Launch { kubeconfig: Some(kubeconfig), ..Launch::default() }).await;
    scene.wait_probed().await;
    for number in 1..=REQUESTS {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
    for number in 1..=REQUESTS {
        let name = format!("inc-{number}");
        assert_eq!(scene.wait_finished(&name).await.reason(), "SessionsKilled");
        scene.wait_recorded(&name).await;
        scene.wait_for_event(&name, "SessionsKilled").await;
    }
    let expected = u64::try_from(REQUESTS).unwrap();
    let written = [
        Asked::new("create", "sessionkillreceipts", ""),
        Asked::new("patch", "sessionkills", "status"),
        Asked::new("patch", "sessionkillreceipts", "status"),
        Asked::new("create", "events", ""),
    ];
    // Try again: an entry may be written to the audit log after the client got its answer.
    let counts = eventually("the audit log", async || {
        let counts = scene.own_requests();
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
        // One read of the API server's version at the start.
        let version = *asked == Asked::new("get", "", "") && *count == 1;
        let known = written.contains(asked) || asked.resource == "secrets" || background || connection || version;
        assert!(known, "{count} {asked}: nothing else is asked for");
    }
    scene.assert_killed_once(1..=REQUESTS);
    let calls = |calls: Vec<CallRecord>| u64::try_from(calls.len()).unwrap();
    let kills = calls(scene.kill_calls());
    println!("{kills:6} calls that ended sessions");
    assert!(kills <= expected, "one for each request, or fewer where they went together: {kills}");
    assert_eq!(calls(scene.probes()), 1, "of the connection, not of a request");
    let reads = calls(scene.list_reads());
    println!("{reads:6} reads of the process list");
    assert!(reads <= 2 * expected, "one before the kill and one after it, or fewer where they are shared: {reads}");
    scene.end().await;
}

#[tokio::test]
async fn an_operator_without_work_only_sweeps() {
    let scene = Scene::set("idle").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.launch(Launch { kubeconfig: Some(kubeconfig), ..Launch::default() }).await;
    scene.wait_probed().await;
    scene.request("inc-1").create().await;
    scene.wait_finished("inc-1").await;
    scene.wait_recorded("inc-1").await;
    scene.wait_for_event("inc-1", "SessionsKilled").await;
    // By the end of a later sweep, the audit log is complete.
    scene.wait_swept(2).await;
    let (before, calls) = (scene.own_requests(), scene.gateway().calls().len());
    scene.wait_swept(5).await;
    assert_eq!(scene.gateway().calls().len(), calls, "{:?}", scene.gateway().calls());
    for (asked, count) in scene.own_requests() {
        let swept = ["sessionkills", "sessionkillreceipts"].map(|kind| Asked::new("list", kind, ""));
        // The API server ends each watch after a minute, and the operator begins a new one.
        if !swept.contains(&asked) && asked.verb != "watch" {
            assert_eq!(before.get(&asked), Some(&count), "{asked}");
        }
    }
    scene.end().await;
}
