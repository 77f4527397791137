//! The chart's `NetworkPolicy` with an agent that enforces it.

use std::time::Duration;

use serde_json::json;
use testbed::{chart, stack::SERVICE_ACCOUNT};
use tokio::{net::TcpStream, time::timeout};

use crate::ground::{Ground, TEAM, eventually};

const UNREACHABLE: [&str; 2] = ["EndpointUnreachable", "ObservationFailed"];

/// Whether a client that is neither a Pod nor a node can connect to the health port of a replica.
async fn a_stranger_gets_in(ground: &Ground) -> bool {
    let pod = ground.pods().await.remove(0);
    let address = (pod["status"]["podIP"].as_str().unwrap().to_owned(), 8080);
    matches!(timeout(Duration::from_secs(3), TcpStream::connect(address)).await, Ok(Ok(_)))
}

pub async fn a_network_policy_lets_the_operator_work_and_nobody_else_in(ground: &'static Ground) {
    let _alone = ground.alone().await;
    let stack = &ground.site.stack;
    ground.nodes().enforce_policies(&stack.control_plane).unwrap();
    let without = ground.numbers(1);
    ground.site.ask(TEAM, "without-a-policy", &without).await.unwrap();
    ground.killed_once("without-a-policy", &without).await;
    assert!(a_stranger_gets_in(ground).await);

    // The policy does not list the gateway's port, so no packet to the gateway gets out.
    let server = stack.control_plane.url().rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
    let mut policy = json!({
        "enabled": true, "apiServerPorts": [server],
        "from": [{"podSelector": {"matchLabels": {"may": "scrape"}}}],
    });
    let set = async |policy: &serde_json::Value| {
        let set = format!("networkPolicy={policy}");
        ground.upgrade(&chart::directory(), &["--set-json", &set]).await;
    };
    set(&policy).await;
    eventually(
        "the policy",
        async || if a_stranger_gets_in(ground).await { Err("a stranger gets in") } else { Ok(()) },
    )
    .await;
    // Existing connections stay open. A new Pod has none.
    let leader = ground.site.led_by(|_| true).await.unwrap();
    ground.kubectl(&["delete", "pod", "-n", testbed::stack::NAMESPACE, &leader.pod]).await;
    ground.rolled_out().await;
    let kept_in = ground.numbers(1);
    ground.site.ask(TEAM, "kept-in", &kept_in).await.unwrap();
    ground.waits(TEAM, "kept-in", &kept_in, &UNREACHABLE).await;

    policy["extraEgress"] = json!([{"ports": [{"port": stack.gateway.address().port(), "protocol": "TCP"}]}]);
    set(&policy).await;
    ground.killed_once("kept-in", &kept_in).await;
    assert!(!a_stranger_gets_in(ground).await);
    let said = ground.helm(&["test", SERVICE_ACCOUNT]).await;
    assert!(said.contains("Succeeded"), "{said}");

    set(&json!({"enabled": false})).await;
    eventually(
        "the end of the policy",
        async || {
            if a_stranger_gets_in(ground).await { Ok(()) } else { Err("it is in force") }
        },
    )
    .await;
}
