//! Nodes that are drained or cut off.

use std::time::Instant;

use jiff::Timestamp;
use testbed::stack::NAMESPACE;

use crate::{
    availability::Availability,
    calls::{BRIEF, InFlight},
    ground::{Ground, TEAM, eventually, figure},
};

async fn drain(ground: &Ground, node: &str, timeout: &str) -> anyhow::Result<String> {
    let drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", timeout];
    ground.site.stack.control_plane.run_kubectl(&drain).await
}

pub async fn a_drain_leaves_one_replica_at_any_time(ground: &'static Ground) {
    let _alone = ground.alone_on_nodes().await;
    // When this request has ended, a replica leads, and no leader has just died.
    let numbers = ground.numbers(1);
    ground.site.ask(TEAM, "before-a-drain", &numbers).await.unwrap();
    ground.killed_once("before-a-drain", &numbers).await;
    let leader = ground.site.led_by(|_| true).await.unwrap();
    let other = ground.nodes().nodes().iter().map(testbed::node::Node::name).find(|node| *node != leader.node).unwrap();
    let availability = Availability::watch(ground).await;
    let begun = Instant::now();
    drain(ground, &leader.node, "--timeout=120s").await.unwrap();
    figure("the leader's node drained", begun);
    let numbers = ground.numbers(1);
    ground.site.ask(TEAM, "after-a-drain", &numbers).await.unwrap();
    ground.killed_once("after-a-drain", &numbers).await;
    ground.rolled_out().await;
    let nodes: Vec<_> = ground.pods().await.iter().map(|pod| pod["spec"]["nodeName"].clone()).collect();
    assert_eq!(nodes, [other.as_str(); 2]);

    // The Pods have no other node to go to. One may leave, and the disruption budget keeps the other, also when the
    // drain asks again after 5 s.
    let refused = drain(ground, &other, "--timeout=8s").await.unwrap_err().to_string();
    assert!(refused.contains("disruption budget"), "{refused}");
    let budget = ground.get(&["poddisruptionbudget", "sessionkill-operator"]).await;
    assert_eq!(budget["status"]["currentHealthy"], 1, "{budget}");
    let numbers = ground.numbers(1);
    ground.site.ask(TEAM, "during-a-drain", &numbers).await.unwrap();
    ground.killed_once("during-a-drain", &numbers).await;
    assert_eq!(availability.least().await, 1, "replicas that were available during the drains");
    for node in [leader.node, other] {
        ground.kubectl(&["uncordon", &node]).await;
    }
    // Spreads the replicas over both nodes again, for the tests that follow.
    ground.kubectl(&["rollout", "restart", "deployment/sessionkill-operator", "-n", NAMESPACE]).await;
    ground.rolled_out().await;
}

pub async fn a_leader_whose_node_is_cut_off_is_followed_and_repeats_nothing(ground: &'static Ground) {
    let _alone = ground.alone_on_nodes().await;
    let call = InFlight::begin(ground, BRIEF, "cut-off-in-flight").await;
    let leader = &call.leader;
    let node = ground.nodes().node(&leader.node).unwrap();
    let before = ground.numbers(5);
    for number in &before {
        BRIEF.ask(ground, &format!("cut-off-{number}"), &[*number]).await;
    }
    let cut = Timestamp::now();
    let begun = Instant::now();
    node.cut_off().unwrap();
    call.is_unfinished(ground).await;
    let numbers = ground.numbers(1);
    ground.site.ask(TEAM, "asked-when-cut-off", &numbers).await.unwrap();
    let next = ground.site.led_by(|next| next.pod != leader.pod).await.unwrap();
    println!("    another leads after {:.1} s", next.since.duration_since(cut).as_secs_f64());
    assert_ne!(next.node, leader.node);
    ground.killed_once("asked-when-cut-off", &numbers).await;
    figure("a request made when the leader's node was cut off", begun);
    // Messages on their way to the node or from it are lost. The operator finds out all the same what the calls did,
    // and says so.
    let fates = async || {
        let mut fates = vec![];
        for number in &before {
            fates.push(ground.site.fate(BRIEF.namespace, &format!("cut-off-{number}"), *number).await.unwrap());
        }
        call.ended(ground, "SessionsGone").await;
        fates
    };
    let followed = fates().await;
    let lost = async || {
        let get = ["get", "node", &leader.node, "-o", r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#];
        let ready = ground.kubectl(&get).await;
        if ready == "True" { Err("it is ready") } else { Ok(()) }
    };
    eventually("the node's loss", lost).await;
    figure("the node is known to be lost", begun);
    node.reconnect().unwrap();
    ground.nodes().ready(&ground.site.stack.control_plane).await.unwrap();
    ground.rolled_out().await;
    assert_eq!(fates().await, followed, "what was said when the leader was cut off, and when it was back");
}
