//! A name server that fails and recovers.

use serde_json::json;
use testbed::{node, site::reason};

use crate::ground::Ground;

const NAMESPACE: &str = "by-name";

/// The host name of the gateway in the cluster.
pub fn gateway() -> String {
    format!("gateway.{NAMESPACE}.svc.cluster.local")
}

pub async fn names_that_are_not_found_are_found_later_and_nothing_is_lost(ground: &'static Ground) {
    let _alone = ground.alone().await;
    let port = ground.site.stack.gateway.address().port();
    let endpoint = format!("http://{}:{port}", gateway());
    ground.site.open_namespace(NAMESPACE, &endpoint).await.unwrap();
    let ports = json!([{"name": "http", "port": port, "protocol": "TCP"}]);
    let metadata = json!({"name": "gateway", "namespace": NAMESPACE});
    let mut slice = metadata.clone();
    slice["labels"] = json!({"kubernetes.io/service-name": "gateway"});
    let service = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice, "addressType": "IPv4",
            "endpoints": [{"addresses": [node::HOST.to_string()]}], "ports": ports,
        },
    ]});
    ground.site.stack.control_plane.apply(&service.to_string()).await.unwrap();
    let first = ground.numbers(1);
    ground.site.ask(NAMESPACE, "found", &first).await.unwrap();
    assert_eq!(reason(&ground.site.ended(NAMESPACE, "found").await.unwrap()), "SessionsKilled");

    ground.nodes().stop_dns();
    // A new Pod has no open connection, so it needs the name server.
    let leader = ground.site.led_by(|_| true).await.unwrap();
    ground.kubectl(&["delete", "pod", "-n", testbed::stack::NAMESPACE, &leader.pod]).await;
    let numbers = ground.numbers(1);
    ground.site.ask(NAMESPACE, "not-found", &numbers).await.unwrap();
    ground.waits(NAMESPACE, "not-found", &numbers, &["EndpointUnreachable", "ObservationFailed"]).await;
    ground.nodes().start_dns().unwrap();
    assert_eq!(reason(&ground.site.ended(NAMESPACE, "not-found").await.unwrap()), "SessionsKilled");
    assert_eq!(ground.site.kills(&numbers), [1]);
}
