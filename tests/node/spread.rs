//! How replicas are spread over nodes.

use std::env;

use serde_json::json;
use testbed::stack::SERVICE_ACCOUNT;

use crate::{
    ground::{Ground, eventually},
    release::Release,
};

/// How many times each case is tried. `SESSIONKILL_SPREAD_TIMES` overrides it.
const TIMES: usize = 2;
/// The node label with the zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";

async fn scale(ground: &Ground, release: &Release<'_>, replicas: usize) {
    let deployment = format!("deployment/{SERVICE_ACCOUNT}");
    ground.kubectl(&["scale", &deployment, "-n", release.namespace, &format!("--replicas={replicas}")]).await;
}

/// Whether the replicas are on different nodes after all of them start at once.
async fn apart(ground: &Ground, release: &Release<'_>) -> bool {
    scale(ground, release, 0).await;
    eventually("the end of all Pods", async || {
        let left = release.pods().await.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await;
    scale(ground, release, 2).await;
    release.rolled_out().await;
    let nodes: Vec<_> = release.pods().await.iter().map(|pod| pod["spec"]["nodeName"].clone()).collect();
    nodes[0] != nodes[1]
}

pub async fn replicas_are_on_two_nodes_with_and_without_zones(ground: &'static Ground) {
    let release = Release::install(ground, "spread", &json!({"replicas": 2})).await;
    let times = env::var("SESSIONKILL_SPREAD_TIMES").map_or(TIMES, |times| times.parse().unwrap());
    let nodes: Vec<_> = ground.nodes().nodes().iter().map(testbed::node::Node::name).collect();
    for zones in [&["", ""], &["a", "b"], &["a", "a"]] {
        for (node, zone) in nodes.iter().zip(zones) {
            let label = if zone.is_empty() { format!("{ZONE}-") } else { format!("{ZONE}={zone}") };
            ground.kubectl(&["label", "node", node, "--overwrite", &label]).await;
        }
        let mut together = 0;
        for _ in 0..times {
            together += usize::from(!apart(ground, &release).await);
        }
        println!("    on the same node, with the zones {zones:?}: {together} of {times}");
        assert_eq!(together, 0, "with the zones {zones:?}");
    }
    for node in &nodes {
        ground.kubectl(&["label", "node", node, &format!("{ZONE}-")]).await;
    }
}
