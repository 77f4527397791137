//! Kills go on, whatever happens to the Pods that make them.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testbed::{
    site::{Fate, Leader},
    stack::{NAMESPACE, SERVICE_ACCOUNT},
};

use crate::{
    calls::{InFlight, SLOW, STRUCK},
    ground::{Ground, TEAM, eventually, figure},
    release::Release,
};

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
    let call = InFlight::begin(ground, SLOW, "restarted").await;
    call.leader_goes_first(ground).await;
    let begun = Instant::now();
    let deployment = format!("deployment/{SERVICE_ACCOUNT}");
    ground.kubectl(&["rollout", "restart", &deployment, "-n", NAMESPACE]).await;
    call.leader_is_told_to_end(ground).await;
    ground.kubectl(&["rollout", "status", &deployment, "-n", NAMESPACE, "--timeout=180s"]).await;
    // All Pods are new, except the one that still waits for its answer.
    call.is_unfinished(ground).await;
    call.answer(ground);
    ground.rolled_out().await;
    figure("a rollout restart with a call in flight", begun);
    call.ended(ground, "SessionsKilled").await;
    let uid = ground.site.ended(SLOW.namespace, &call.name).await.unwrap().metadata.uid.unwrap();
    let receipts = ground.kubectl(&["get", "sessionkillreceipts", "-n", SLOW.namespace, "-o", "json"]).await;
    let receipts: Value = serde_json::from_str(&receipts).unwrap();
    let receipts = receipts["items"].as_array().unwrap();
    let own: Vec<_> = receipts.iter().filter(|receipt| receipt.to_string().contains(&uid)).collect();
    assert!(own.len() == 1 && own[0]["status"]["outcome"] == "SessionsKilled", "{own:?}");
}

/// The process of the leader, for as long as it lives.
struct Life {
    pid: Pid,
    /// Its `stat` file, kept open: reads of it fail after the process has ended, even if another one gets its number.
    stat: File,
}

impl Life {
    fn of(leader: &Leader) -> Self {
        let pid = leader.process().unwrap();
        Self { pid, stat: File::open(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap() }
    }

    fn is_over(&self) -> Result<(), &'static str> {
        if self.stat.read_at(&mut [0], 0).is_err() { Ok(()) } else { Err("it lives") }
    }

    /// The file with the container's memory limit.
    fn memory_limit(&self) -> PathBuf {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid.as_raw_nonzero())).unwrap();
        let group = groups.lines().find_map(|line| line.split_once(":memory:")).unwrap().1;
        PathBuf::from(format!("/sys/fs/cgroup/memory{group}/memory.limit_in_bytes"))
    }
}

/// The status of the leader's container.
async fn container(ground: &Ground, leader: &Leader) -> Value {
    let pods = ground.pods().await;
    let own = pods.iter().find(|pod| pod["metadata"]["name"] == leader.pod.as_str()).unwrap();
    own["status"]["containerStatuses"][0].clone()
}

/// Creates 30 requests besides a call that is in flight, and kills the leader meanwhile. The reason for the container's
/// end must be `why`. Then waits until each request has one of the permitted ends. That takes longer than the release
/// needs to recover, so other tests may use the release again before: what they do to it must not change these ends.
async fn strike(ground: &Ground, prefix: &str, why: &str, strike: impl AsyncFnOnce(&Life)) {
    let alone = ground.alone().await;
    let call = InFlight::begin(ground, STRUCK, &format!("{prefix}-in-flight")).await;
    let (before, life) = (container(ground, &call.leader).await, Life::of(&call.leader));
    let mut asked = vec![];
    for number in ground.numbers(30) {
        let name = format!("{prefix}-{number}");
        ground.site.ask(TEAM, &name, &[number]).await.unwrap();
        asked.push((name, number));
    }
    strike(&life).await;
    eventually("the leader's death", async || life.is_over()).await;
    call.is_unfinished(ground).await;
    let restarts = |container: &Value| container["restartCount"].as_i64().unwrap();
    let after = eventually("the container", async || {
        let now = container(ground, &call.leader).await;
        if restarts(&now) > restarts(&before) { Ok(now) } else { Err("it was not started again") }
    })
    .await;
    let death = &after["lastState"]["terminated"];
    assert!(death["reason"] == why && death["exitCode"] == 137, "{after}");
    ground.rolled_out().await;
    drop(alone);
    let mut unsent = 0;
    for (name, number) in asked {
        unsent += usize::from(ground.site.fate(TEAM, &name, number).await.unwrap() == Fate::Unsent);
    }
    println!("    {unsent} of 30 requests were claimed and not sent, and say so");
    assert!(unsent < 30, "it ended before it did anything");
    // No operator got the answer. The list shows that the session is gone, and nothing more can be known.
    call.ended(ground, "SessionsGone").await;
}

pub async fn a_container_that_is_killed_loses_and_doubles_no_kill(ground: &'static Ground) {
    strike(ground, "killed", "Error", async |life| kill_process(life.pid, Signal::KILL).unwrap()).await;
}

/// Lowers the memory limit to what the container uses.
pub async fn a_container_without_memory_loses_and_doubles_no_kill(ground: &'static Ground) {
    strike(ground, "out-of-memory", "OOMKilled", async |life| {
        let limit = life.memory_limit();
        let before = fs::read_to_string(&limit).unwrap();
        let gone = async || {
            // The process frees what it can, and then the kernel kills it.
            let resident = fs::read_to_string(limit.with_file_name("memory.usage_in_bytes")).unwrap_or_default();
            let less = resident.trim().parse::<u64>().unwrap_or_default().saturating_sub(4096);
            let _ = fs::write(&limit, less.to_string());
            life.is_over()
        };
        eventually("the end of its memory", gone).await;
        println!("    it had {} bytes at most", before.trim());
    })
    .await;
}

/// The kubelet may tell a process to stop right after its start, before it has read its options.
pub async fn a_pod_that_is_deleted_while_it_starts_ends_at_once(ground: &'static Ground) {
    let release = Release::install(ground, "deleted-early", &json!({"replicas": 2})).await;
    for _ in 0..3 {
        let known: Vec<_> = release.pods().await.iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        ground.kubectl(&["delete", "pod", "-n", release.namespace, "--wait=false", known[0].as_str().unwrap()]).await;
        let new = eventually("a new Pod's process", async || {
            let pods = release.pods().await;
            let new = pods.iter().map(|pod| pod["metadata"]["name"].clone()).find(|name| !known.contains(name));
            let new = new.ok_or("no new Pod")?.as_str().unwrap().to_owned();
            testbed::node::process_of(&new).map(|_| new).map_err(|_| "no process")
        })
        .await;
        let begun = Instant::now();
        ground.kubectl(&["delete", "pod", "-n", release.namespace, &new, "--timeout=60s"]).await;
        figure("a Pod that is deleted while it starts", begun);
        release.rolled_out().await;
    }
}

pub async fn a_namespace_is_deleted_under_load(ground: &'static Ground) {
    let _alone = ground.alone().await;
    ground.site.open_namespace("doomed", &ground.site.stack.gateway_url()).await.unwrap();
    let numbers = ground.numbers(40);
    for number in &numbers {
        ground.site.ask("doomed", &format!("request-{number}"), &[*number]).await.unwrap();
    }
    let lives = ground.lives().await;
    let begun = Instant::now();
    ground.kubectl(&["delete", "namespace", "doomed", "--timeout=180s"]).await;
    figure("a namespace with 40 requests deleted", begun);
    let kills = ground.site.kills(&numbers);
    assert!(kills.iter().all(|count| *count <= 1), "{kills:?}");
    // The same Pods go on working for other namespaces.
    let numbers = ground.numbers(1);
    ground.site.ask(TEAM, "after-the-deletion", &numbers).await.unwrap();
    ground.killed_once("after-the-deletion", &numbers).await;
    assert_eq!(ground.lives().await, lives, "Pods and how often they were started again");
}
