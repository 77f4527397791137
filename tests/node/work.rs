//! Kills, through whatever happens to the Pods that do them.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use testbed::{
    gateway::{Fault, FaultKind},
    site::Leader,
    stack::{NAMESPACE, SERVICE_ACCOUNT},
};

use crate::ground::{Ground, TEAM, eventually, figure, reason};

/// How long the answer of a call in flight takes.
const IN_FLIGHT: Duration = Duration::from_secs(4);

/// Asks for a kill whose call is done, but not answered yet; the number of its session.
pub async fn in_flight(ground: &Ground, name: &str) -> Vec<i64> {
    let numbers = ground.numbers(1);
    let fault = Fault::new(FaultKind::Delay).on_kills().after().delayed(IN_FLIGHT).times(1);
    ground.site.stack.gateway.inject(fault);
    ground.site.ask(TEAM, name, &numbers).await.unwrap();
    eventually("the call", async || if ground.site.kills(&numbers) == [1] { Ok(()) } else { Err("it was not made") })
        .await;
    numbers
}

pub async fn a_session_is_killed_through_the_pods_and_is_gone_from_the_list(ground: &'static Ground) {
    let _alone = ground.alone().await;
    let numbers = ground.numbers(3);
    let begun = Instant::now();
    ground.site.ask(TEAM, "through-pods", &numbers).await.unwrap();
    ground.killed_once("through-pods", &numbers).await;
    figure("a request through the Pods", begun);
    let listed = ground.site.stack.gateway.sessions().await.unwrap();
    let ids: Vec<_> = numbers.iter().map(|number| testbed::arena::session_id(*number)).collect();
    assert!(listed.iter().all(|session| !ids.contains(&session.session_id)));
    let ended = ground.site.ended(TEAM, "through-pods").await.unwrap();
    let sessions = serde_json::to_value(&ended.status.unwrap().sessions).unwrap();
    let of = |field: &str| -> Vec<_> { sessions.as_array().unwrap().iter().map(|it| it[field].clone()).collect() };
    assert_eq!(of("reason"), ["Verified"; 3], "{sessions}");
}

pub async fn a_rollout_restart_finishes_the_call_in_flight_once_and_records_it(ground: &'static Ground) {
    let _alone = ground.alone().await;
    let numbers = in_flight(ground, "restarted").await;
    let begun = Instant::now();
    ground.kubectl(&["rollout", "restart", &format!("deployment/{SERVICE_ACCOUNT}"), "-n", NAMESPACE]).await;
    ground.rolled_out().await;
    figure("a rollout restart with a call in flight", begun);
    ground.killed_once("restarted", &numbers).await;
    let uid = ground.site.ended(TEAM, "restarted").await.unwrap().metadata.uid.unwrap();
    let receipts: Value =
        serde_json::from_str(&ground.kubectl(&["get", "sessionkillreceipts", "-n", TEAM, "-o", "json"]).await).unwrap();
    let receipts = receipts["items"].as_array().unwrap();
    let own: Vec<_> = receipts.iter().filter(|receipt| receipt.to_string().contains(&uid)).collect();
    assert!(own.len() == 1 && own[0]["status"]["outcome"] == "SessionsKilled", "{own:?}");
}

/// Asks for many kills, strikes the leader meanwhile, and waits until each request has ended as one may after such a death.
async fn strike(ground: &Ground, prefix: &str, strike: impl AsyncFnOnce(&Leader)) {
    let leader = ground.site.led_by(|_| true).await.unwrap();
    let mut asked = vec![];
    for number in ground.numbers(30) {
        let name = format!("{prefix}-{number}");
        ground.site.ask(TEAM, &name, &[number]).await.unwrap();
        asked.push((name, number));
    }
    strike(&leader).await;
    let mut unsent = 0;
    for (name, number) in asked {
        let ended = ground.site.ended(TEAM, &name).await.unwrap();
        match (ground.site.kills(&[number])[0], reason(&ended).as_str()) {
            (1, "SessionsKilled" | "SessionsGone") => {}
            // Claimed when its operator died: it is not sent again, and says that its session is still there.
            (0, "StillPresent") => unsent += 1,
            (kills, reason) => panic!("{name}: {kills} kills, {reason}: {:?}", ended.status),
        }
    }
    println!("    {unsent} of 30 requests were claimed and not sent, and say so");
    assert!(unsent < 30, "it ended before it did anything");
    let restarted = async || {
        let pods = ground.pods().await;
        let of = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap();
        let struck = pods.iter().find(|pod| pod["metadata"]["name"] == leader.pod.as_str()).unwrap();
        if of(struck) > 0 { Ok(struck.clone()) } else { Err("it was not started again") }
    };
    let struck = eventually("the container", restarted).await;
    println!("    {}", struck["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"]);
    ground.rolled_out().await;
}

pub async fn a_container_that_is_killed_loses_and_doubles_no_kill(ground: &'static Ground) {
    let _alone = ground.alone().await;
    strike(ground, "killed", async |leader| {
        kill_process(leader.process().unwrap(), Signal::KILL).unwrap();
    })
    .await;
}

/// The file that says how much memory the container may have.
fn memory_limit(leader: &Leader) -> PathBuf {
    let process = leader.process().unwrap().as_raw_nonzero();
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap();
    let group = groups.lines().find_map(|line| line.split_once(":memory:")).unwrap().1;
    PathBuf::from(format!("/sys/fs/cgroup/memory{group}/memory.limit_in_bytes"))
}

/// Its limit becomes what it has.
pub async fn a_container_without_memory_loses_and_doubles_no_kill(ground: &'static Ground) {
    let _alone = ground.alone().await;
    strike(ground, "out-of-memory", async |leader| {
        let limit = memory_limit(leader);
        let before = fs::read_to_string(&limit).unwrap();
        let gone = async || {
            // It gives back what it can; then the kernel kills it.
            let resident = fs::read_to_string(limit.with_file_name("memory.usage_in_bytes")).unwrap_or_default();
            let less = resident.trim().parse::<u64>().unwrap_or_default().saturating_sub(4096);
            let _ = fs::write(&limit, less.to_string());
            if leader.process().is_err() { Ok(()) } else { Err("it lives") }
        };
        eventually("the end of its memory", gone).await;
        println!("    it had {} bytes at most", before.trim());
    })
    .await;
}

/// The kubelet asks it to end as soon as there is a process, which may not have read its options yet.
pub async fn a_pod_that_is_deleted_while_it_starts_ends_at_once(ground: &'static Ground) {
    let _alone = ground.alone().await;
    for _ in 0..3 {
        let known: Vec<_> = ground.pods().await.iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        ground.kubectl(&["delete", "pod", "-n", NAMESPACE, "--wait=false", known[0].as_str().unwrap()]).await;
        let new = eventually("a new Pod's process", async || {
            let pods = ground.pods().await;
            let new = pods.iter().map(|pod| pod["metadata"]["name"].clone()).find(|name| !known.contains(name));
            let new = new.ok_or("no new Pod")?.as_str().unwrap().to_owned();
            testbed::node::process_of(&new).map(|_| new).map_err(|_| "no process")
        })
        .await;
        let begun = Instant::now();
        ground.kubectl(&["delete", "pod", "-n", NAMESPACE, &new, "--timeout=60s"]).await;
        figure("a Pod that is deleted while it starts", begun);
        ground.rolled_out().await;
    }
}

pub async fn a_namespace_is_deleted_under_load(ground: &'static Ground) {
    let _alone = ground.alone().await;
    ground.site.open_namespace("doomed", &ground.site.stack.gateway_url()).await.unwrap();
    let numbers = ground.numbers(40);
    for number in &numbers {
        ground.site.ask("doomed", &format!("request-{number}"), &[*number]).await.unwrap();
    }
    let begun = Instant::now();
    ground.kubectl(&["delete", "namespace", "doomed", "--timeout=180s"]).await;
    figure("a namespace with 40 requests deleted", begun);
    let kills = ground.site.kills(&numbers);
    assert!(kills.iter().all(|count| *count <= 1), "{kills:?}");
    // It works on for the others, in the same Pods.
    let numbers = ground.numbers(1);
    ground.site.ask(TEAM, "after-the-deletion", &numbers).await.unwrap();
    ground.killed_once("after-the-deletion", &numbers).await;
}
