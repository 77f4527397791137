//! Sessions ended by SQL: of a real engine, whose own log says which `KILL` it executed, and of scripted servers
//! (`scripted`, `hostile`).

mod compared;
mod hostile;
mod kills;
mod lent;
mod login;
mod pt_kill;
mod scripted;
mod secure;
mod selector;

use std::sync::Arc;

use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use sessionkill::api::OceanBaseConnection;
use testbed::oceanbase::Engine;
use testbed::sql_relay::Order;

use crate::scene::{Launch, RequestBuilder, Scene, Shown as _, eventually, shared_engine};

/// The connection by SQL.
const CONNECTION: &str = "sql-ob";
/// The Secret with its login.
const SECRET: &str = "sql-login";
const CLUSTER: &str = "obcluster";
const TENANT: &str = "sys";

/// The user of the operator, with the least rights.
const USER: &str = "sessionkill";
const PASSWORD: &str = "s3cret word";
const RIGHTS: &[&str] = &["PROCESS, SUPER ON *.*", "SELECT ON oceanbase.*"];

/// A scene with an operator that may call `hosts`, and a connection to the first of them.
async fn scene(name: &str, engine: &Engine, hosts: &[String]) -> Scene {
    engine.create_user(USER, PASSWORD, RIGHTS).await.unwrap();
    scene_as(name, engine, hosts, (USER, PASSWORD)).await
}

/// The same, with this user and this password in the Secret.
async fn scene_as(name: &str, engine: &Engine, hosts: &[String], (user, password): (&str, &str)) -> Scene {
    let scene = Scene::set_on(engine, name).await;
    scene.put_secret(SECRET, true, &[("username", user), ("password", password)]).await;
    connect(&scene, &hosts[0], json!({})).await;
    let variables = vec![format!("SESSIONKILL_ALLOW_SQL_HOSTS={}", hosts.join(","))];
    scene.launch(Launch { variables, ..Launch::default() }).await;
    scene
}

/// The host of `engine`.
fn host(engine: &Engine) -> String {
    format!("127.0.0.1:{}", engine.port())
}

/// Makes the connection to `host`; `changes` replace fields of `spec.sql`.
async fn connect(scene: &Scene, host: &str, changes: Value) {
    connect_as(scene, CONNECTION, host, changes).await;
}

/// The same under this name.
async fn connect_as(scene: &Scene, name: &str, host: &str, changes: Value) {
    let mut sql = json!({
        "host": host, "cluster": CLUSTER, "tenant": TENANT, "tls": {"mode": "Disabled"},
        "credentials": {"secretRef": {"name": SECRET}},
    });
    sql.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let connection = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": name},
        "spec": {"sql": sql, "requestTimeoutSeconds": 5, "sqlText": "Truncated"},
    });
    let connections: Api<OceanBaseConnection> = scene.api();
    connections.create(&PostParams::default(), &serde_json::from_value(connection).unwrap()).await.unwrap();
}

/// A request for the session `id` of `engine`, through the connection by SQL.
fn request<'a>(scene: &'a Scene, name: &str, engine: &Engine, id: i64) -> RequestBuilder<'a> {
    let request = scene.request(name).through(CONNECTION).instance(CLUSTER).tenant(TENANT);
    request.session_on(engine.server_ip(), id)
}

/// Waits until a statement has met `order`.
async fn reached(order: &Order) {
    let is_met = async || if order.count() > 0 { Ok(()) } else { Err("none came".to_owned()) };
    eventually("a statement to be held or lost", is_met).await;
}

/// Waits until the connection by SQL says this of itself.
async fn wait_connection(scene: &Scene, condition: &str) -> OceanBaseConnection {
    wait_connection_as(scene, CONNECTION, condition).await
}

/// The same for the connection of this name.
async fn wait_connection_as(scene: &Scene, name: &str, condition: &str) -> OceanBaseConnection {
    let connections: Api<OceanBaseConnection> = scene.api();
    eventually(&format!("connection {name} to say {condition}"), async || {
        let connection = connections.get(name).await.map_err(|error| error.to_string())?;
        let summary = connection.summary();
        if summary.iter().any(|said| said == condition) { Ok(connection) } else { Err(format!("{summary:?}")) }
    })
    .await
}

/// Checks that of these sessions the engine executed kills of exactly those in `killed`, each once.
fn assert_executed(engine: &Engine, named: &[i64], killed: &[i64]) {
    let executed = engine.executed_kills().unwrap();
    let executed: Vec<i64> = executed.into_iter().filter(|id| named.contains(id)).collect();
    assert_eq!(executed, killed, "the engine's log");
}

async fn engine() -> Arc<Engine> {
    shared_engine().await
}
