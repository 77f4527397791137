//! A real engine behind a Service, reached by the operator's Pods as in a cluster: by kube-proxy, with TLS.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use testbed::{
    node::{HOST, NETWORKS, expose},
    oceanbase::{Engine, mysql_async::prelude::Queryable as _},
    server_certificate::DNS_NAME,
    site::reason,
};

use crate::{
    ground::{Ground, figure},
    release::Release,
};

const USER: &str = "sessionkill";
const PASSWORD: &str = "testbed-password";
const CLUSTER: &str = "obcluster";

/// A Service in front of the engine, which runs on the host of the nodes; the login; the connection.
async fn connect(ground: &Ground, namespace: &str, engine: &Engine) {
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ob", "namespace": namespace},
            "spec": {"ports": [{"name": "sql", "port": 2881}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "ob-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": "ob"}},
            "addressType": "IPv4", "ports": [{"name": "sql", "port": engine.port()}],
            "endpoints": [{"addresses": [HOST.to_string()]}],
        },
        {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "ob-user", "namespace": namespace, "labels": {"sessionkill.dev/credentials": "true"},
                "annotations": {"sessionkill.dev/servers": "ob:2881"},
            },
            "stringData": {"username": USER, "password": PASSWORD, "ca.crt": engine.ca_pem()},
        },
        {
            "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection",
            "metadata": {"name": "sql-ob", "namespace": namespace},
            "spec": {"sql": {
                "service": {"name": "ob"}, "cluster": CLUSTER, "tenant": "sys", "tls": {"serverName": DNS_NAME},
                "credentials": {"secretRef": {"name": "ob-user"}},
            }},
        },
    ]});
    ground.site.stack.control_plane.apply(&objects.to_string()).await.unwrap();
}

pub async fn a_session_is_ended_by_sql_through_a_service_and_tls(ground: &'static Ground) {
    let engine = Engine::start_secure(&ground.directory("engine")).await.unwrap();
    engine.create_user(USER, PASSWORD, &["PROCESS, SUPER ON *.*", "SELECT ON oceanbase.*"]).await.unwrap();
    engine.admit(&NETWORKS).await.unwrap();
    expose(engine.port()).unwrap();
    let release = Release::install(ground, "by-sql", &json!({})).await;
    connect(ground, release.namespace, &engine).await;
    let (mut victim, mut bystander) = (engine.connect().await.unwrap(), engine.connect().await.unwrap());
    let id = engine.session_id(&mut victim).await.unwrap();

    let begun = Instant::now();
    let not_after = Timestamp::now() + SignedDuration::from_mins(5);
    let request = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill",
        "metadata": {"name": "by-sql", "namespace": release.namespace},
        "spec": {
            "connectionRef": {"name": "sql-ob"}, "instanceID": CLUSTER, "tenantID": "sys",
            "sessions": [{"serverIP": engine.server_ip(), "sessionID": id}],
            "notAfterTime": not_after.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        },
    });
    ground.site.stack.control_plane.apply(&request.to_string()).await.unwrap();
    let ended = ground.site.ended(release.namespace, "by-sql").await.unwrap();
    assert_eq!(reason(&ended), "SessionsKilled", "{:?}", ended.status);
    figure("a request by SQL through the Pods", begun);
    assert_eq!(engine.executed_kills().unwrap(), [id], "the engine's log");
    assert!(victim.query_first::<u8, _>("select 1").await.is_err(), "its client is told");
    assert_eq!(bystander.query_first::<u8, _>("select 1").await.unwrap(), Some(1));
}
