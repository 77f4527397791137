//! A connection by SQL of no namespace: its Service, its login and its CA are in the operator's namespace.

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use sessionkill::api::ClusterOceanBaseConnection;

use super::scripted::{ID, IP, VERIFIED, healthy, host, kills};
use super::{CLUSTER, PASSWORD, SECRET, TENANT, USER};
use crate::scene::{Launch, Request as _, Scene};

#[tokio::test]
async fn the_service_and_the_login_are_those_of_the_operators_namespace() {
    let server = healthy(2).await;
    let scene = Scene::bare("sql-lent").await;
    let home = scene.neighbour("sql-lent-home").await;
    home.put_secret(SECRET, &[("username", USER), ("password", PASSWORD)]).await;
    // Of the same names, in the namespace of the requests.
    scene.put_secret(SECRET, true, &[("username", "other"), ("password", "wr0ng")]).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ob"}, "spec": {"ports": [{"port": 2881}]},
    });
    let services: Api<Service> = scene.api();
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    connect(&scene, "sql-lent", &json!({"host": host(&server)})).await;
    connect(&scene, "sql-lent-service", &json!({"service": {"name": "ob"}})).await;
    let variables = vec![
        "SESSIONKILL_CLUSTER_CONNECTIONS=true".to_owned(),
        "SESSIONKILL_CLUSTER_RESOURCE_NAMESPACE=sql-lent-home".to_owned(),
        format!("SESSIONKILL_ALLOW_SQL_HOSTS={}", host(&server)),
    ];
    scene.launch(Launch { variables, ..Launch::default() }).await;

    let request = |name: &str| scene.request(name).instance(CLUSTER).tenant(TENANT).session_on(IP, ID.into());
    request("inc-1").through_cluster("sql-lent").create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [VERIFIED], "{}", ended.message());
    assert_eq!(kills(&server).len(), 1);
    request("inc-2").through_cluster("sql-lent-service").create().await;
    let waiting = scene.wait_for_reason("inc-2", "EndpointNotAllowed").await;
    let told = "service ob does not exist in namespace sql-lent-home";
    assert!(waiting.message().contains(told), "{}", waiting.message());
    scene.end().await;
}

/// Makes the connection `name` to this server, for the namespace of `scene`.
async fn connect(scene: &Scene, name: &str, server: &Value) {
    let mut sql = json!({
        "cluster": CLUSTER, "tenant": TENANT, "tls": {"mode": "Disabled"},
        "credentials": {"secretRef": {"name": SECRET}},
    });
    sql.as_object_mut().unwrap().extend(server.as_object().unwrap().clone());
    let connection = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "ClusterOceanBaseConnection", "metadata": {"name": name},
        "spec": {"sql": sql, "requestTimeoutSeconds": 5, "allowedNamespaces": {"names": [scene.namespace]}},
    });
    let connections: Api<ClusterOceanBaseConnection> = Api::all(scene.client.clone());
    connections.create(&PostParams::default(), &serde_json::from_value(connection).unwrap()).await.unwrap();
}
