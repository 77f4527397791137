//! A connection of no namespace: it is used for the namespaces that it allows and for no other, whatever happens meanwhile. What it
//! names is in the operator's own namespace. Those that share it neither wait for each other nor end a session twice.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sessionkill::api::{ClusterOceanBaseConnection, ConnectionKind, SessionKill, SessionKillReceipt};
use testbed::fault_proxy::Asked;
use testbed::gateway::Backend;
use testbed::operator::Operator;
use tokio::sync::{Mutex, MutexGuard};

use crate::scene::{
    At, Cluster, KEY_ID, Launch, Neighbour, Relay, Request as _, RequestBuilder, STS_KEY_ID, STS_KEY_SECRET, Scene,
    Shown as _, eventually, in_seconds, session, session_id, until,
};

/// The number of session 1, as calls name it.
const FIRST: &str = "3221600001";

/// A label that lends, as a selector and as a patch of a namespace.
fn lending() -> (Value, Value) {
    (json!({"selector": {"matchLabels": {"lent": "prod"}}}), json!({"lent": "prod"}))
}

/// The name of the namespace with what the connection of `scene` names.
fn home(scene: &Scene) -> String {
    format!("{}-home", scene.namespace)
}

/// A scene whose namespace has no connection and no Secret: those are the operator's. The connection has the scene's name.
async fn lent(name: &str, allowed: Value) -> Scene {
    lent_on(Cluster::shared().await, name, allowed).await
}

async fn lent_on(cluster: Arc<Cluster>, name: &str, allowed: Value) -> Scene {
    let scene = Scene::on(cluster, name, Backend::Memory((1..=60).map(session).collect())).await;
    scene.neighbour(&home(&scene)).await.good_secret(Scene::SECRET).await;
    scene.put_cluster_connection(name, Scene::SECRET, json!({"allowedNamespaces": allowed})).await;
    scene
}

/// The same, and the connection goes through a relay in front of the gateway.
async fn lent_relayed(name: &str, request_timeout_seconds: u32, allowed: Value) -> (Scene, Relay) {
    let scene = lent(name, allowed.clone()).await;
    let relay = through_relay(&scene, request_timeout_seconds, allowed).await;
    (scene, relay)
}

async fn through_relay(scene: &Scene, request_timeout_seconds: u32, allowed: Value) -> Relay {
    let (relay, seconds) = (scene.gateway_relay().await, request_timeout_seconds);
    let changes = json!({"endpoint": relay.url(), "requestTimeoutSeconds": seconds, "allowedNamespaces": allowed});
    scene.put_cluster_connection(&scene.namespace, Scene::SECRET, changes).await;
    relay
}

/// A cluster without the operators of other tests, which write the status of the connections of all: as long as the guard is held.
async fn alone() -> (MutexGuard<'static, Option<Arc<Cluster>>>, Arc<Cluster>) {
    static ALONE: Mutex<Option<Arc<Cluster>>> = Mutex::const_new(None);
    let mut alone = ALONE.lock().await;
    let cluster = match &*alone {
        Some(cluster) => cluster.clone(),
        None => Cluster::start("lent").await,
    };
    *alone = Some(cluster.clone());
    (alone, cluster)
}

/// What an operator is told that uses connections of no namespace.
fn launch(scene: &Scene) -> Launch<'_> {
    let variables = vec![
        "SESSIONKILL_CLUSTER_CONNECTIONS=true".to_owned(),
        format!("SESSIONKILL_CLUSTER_RESOURCE_NAMESPACE={}", home(scene)),
    ];
    Launch { variables, ..Launch::default() }
}

/// A request through the scene's connection.
fn request<'a>(scene: &'a Scene, name: &str) -> RequestBuilder<'a> {
    scene.request(name).through_cluster(&scene.namespace)
}

async fn edit(scene: &Scene, allowed: Value) {
    let connections: Api<ClusterOceanBaseConnection> = Api::all(scene.client.clone());
    let patch = Patch::Merge(json!({"spec": {"allowedNamespaces": allowed}}));
    connections.patch(&scene.namespace, &PatchParams::default(), &patch).await.unwrap();
}

/// Checks that the gateway was asked for nothing, but for what the operator itself asks of each connection.
fn assert_nothing_asked(scene: &Scene) {
    scene.assert_nothing_sent();
    assert!(scene.list_reads().is_empty(), "{:?}", scene.list_reads());
}

/// Waits until the operator has heard of so many requests that have not ended.
async fn wait_heard(operator: &Operator, requests: usize) {
    let line = format!("sessionkill_unfinished_requests {requests}");
    eventually(&line, async || {
        let metrics = Scene::metrics(operator).await;
        if metrics.lines().any(|it| it == line) { Ok(()) } else { Err(metrics) }
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_is_named_uses_it_and_no_other_namespace_needs_the_key() {
    let scene = lent("lent-by-name", json!({"names": ["lent-by-name"]})).await;
    // Of the same name, in the namespace of the request: the operator of this test may not even read it.
    scene.secret(&[("accessKeyID", STS_KEY_ID), ("accessKeySecret", STS_KEY_SECRET)]).await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.grant_all_but("get", "secrets").await;
    bind(&scene, "lent-by-name-home").await;
    bind_cluster(&scene).await;
    scene.launch(Launch { kubeconfig: Some(kubeconfig), ..launch(&scene) }).await;
    request(&scene, "inc-1").create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
    let receipt = scene.receipt().await;
    assert_eq!(receipt.spec.connection_kind, ConnectionKind::ClusterOceanBaseConnection);
    assert_eq!(receipt.spec.connection_name, "lent-by-name");
    assert_eq!(scene.audit_lines()[0]["connectionKind"], "ClusterOceanBaseConnection");
    scene.assert_killed_once([1]);
    let keys: Vec<_> = scene.gateway().calls().into_iter().map(|call| call.access_key_id).collect();
    assert!(keys.iter().all(|key| key.as_deref() == Some(KEY_ID)), "{keys:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_namespace_that_a_label_selects_uses_it_and_before_that_nothing_is_asked_for_it() {
    let (allowed, label) = lending();
    let scene = lent("lent-by-label", allowed).await;
    scene.launch(launch(&scene)).await;
    for (name, request) in [("kill", request(&scene, "kill")), ("look", request(&scene, "look").dry_run())] {
        request.create().await;
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.reason(), "NotAllowed", "{}", ended.message());
        let told = "ClusterOceanBaseConnection lent-by-label does not allow namespace lent-by-label";
        assert!(ended.message().contains(told), "{}", ended.message());
    }
    assert_nothing_asked(&scene);
    assert!(scene.receipts().await.is_empty());
    scene.label("lent-by-label", label).await;
    request(&scene, "again").create().await;
    assert_eq!(scene.wait_finished("again").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_label_that_is_taken_away_is_missed_before_anything_is_sent() {
    let (allowed, label) = lending();
    let (scene, relay) = lent_relayed("lent-no-more", 60, allowed).await;
    scene.label("lent-no-more", label.clone()).await;
    scene.launch(Launch { allow: vec![relay.url()], ..launch(&scene) }).await;
    // While it is held back.
    request(&scene, "held").suspended().create().await;
    scene.wait_for_reason("held", "Suspended").await;
    scene.label("lent-no-more", json!({"lent": null})).await;
    scene.edit("held", json!({"spec": {"suspend": false}})).await;
    assert_eq!(scene.wait_finished("held").await.reason(), "NotAllowed");
    assert_nothing_asked(&scene);

    // While the process list is read for it, after it was allowed.
    scene.label("lent-no-more", label).await;
    let read = Scene::hold_read(&relay, At::Answer);
    request(&scene, "looked").create().await;
    read.reached().await;
    scene.label("lent-no-more", json!({"lent": null})).await;
    // What was found out counts for a second.
    until(in_seconds(2)).await;
    read.release();
    let ended = scene.wait_finished("looked").await;
    assert_eq!(ended.reason(), "NotAllowed", "{}", ended.message());
    assert!(scene.receipts().await.is_empty(), "it was not claimed");
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn labels_that_cannot_be_read_for_a_moment_cost_time_only() {
    let (allowed, label) = lending();
    let (scene, relay) = lent_relayed("lent-faults", 60, allowed).await;
    scene.label("lent-faults", label).await;
    let api = scene.api_relay().await;
    let of_labels = |asked: &Asked| asked.path() == "/api/v1/namespaces/lent-faults";
    let (at_first, read) = (api.refuse(503, 1, of_labels), Scene::hold_read(&relay, At::Answer));
    scene.launch(Launch { allow: vec![relay.url()], api: Some(&api), ..launch(&scene) }).await;
    request(&scene, "inc-1").create().await;
    read.reached().await;
    let before_the_claim = api.refuse(500, 1, of_labels);
    until(in_seconds(2)).await;
    read.release();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
    assert_eq!((at_first.count(), before_the_claim.count()), (1, 1));
    scene.assert_killed_once([1]);
    assert_each_named_once(&scene, [1]);
    scene.end().await;
}

/// The operator watches connections, so that an edit takes effect as soon as it has heard of it.
#[tokio::test]
async fn a_name_that_is_taken_away_is_missed_too() {
    let (_guard, cluster) = alone().await;
    let allowed = json!({"names": ["lent-no-name"]});
    let scene = lent_on(cluster, "lent-no-name", allowed.clone()).await;
    let relay = through_relay(&scene, 60, allowed).await;
    scene.launch(Launch { allow: vec![relay.url()], ..launch(&scene) }).await;
    let read = Scene::hold_read(&relay, At::Answer);
    request(&scene, "inc-1").create().await;
    read.reached().await;
    edit(&scene, json!({"names": []})).await;
    wait_status(&scene, "NamespacesAllowed=False(NoNamespace)").await;
    read.release();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "NotAllowed");
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn a_connection_of_the_namespace_with_the_same_name_is_another_one() {
    let (_guard, cluster) = alone().await;
    let scene = lent_on(cluster, "lent-same-name", json!({"names": ["another"]})).await;
    scene.good_secret().await;
    scene.put_connection("lent-same-name", Scene::SECRET, json!({})).await;
    scene.launch(launch(&scene)).await;
    request(&scene, "shared").create().await;
    assert_eq!(scene.wait_finished("shared").await.reason(), "NotAllowed", "it does not fall back to the other");
    scene.assert_nothing_sent();
    let own = scene.request("own").through("lent-same-name");
    own.create().await;
    assert_eq!(scene.wait_finished("own").await.reason(), "SessionsKilled");
    // The same content through the other kind is another request, which finds the session gone.
    edit(&scene, json!({"names": ["lent-same-name"]})).await;
    wait_status(&scene, "NamespacesAllowed=True(SomeNamespaces)").await;
    own.named("shared-2").through_cluster("lent-same-name").create().await;
    assert_eq!(scene.wait_finished("shared-2").await.reason(), "SessionsGone");
    own.named("own-2").create().await;
    assert_eq!(scene.wait_finished("own-2").await.reason(), "AlreadyExecuted");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_call_for_one_namespace_does_not_hold_up_another() {
    let (scene, relay) = lent_relayed("lent-two", 60, json!({"names": ["lent-two", "lent-two-b"]})).await;
    let other = scene.neighbour("lent-two-b").await;
    scene.launch(Launch { allow: vec![relay.url()], namespaces: vec!["lent-two-b"], ..launch(&scene) }).await;
    let call = relay.hold_body(At::Request, http::Method::POST, FIRST);
    request(&scene, "inc-1").create().await;
    call.reached().await;
    for number in 2..=6 {
        let name = format!("inc-{number}");
        other.create(&request(&scene, &name).sessions([number])).await;
        assert_eq!(other.wait_finished(&name).await.reason(), "SessionsKilled");
    }
    call.release();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once(1..=6);
    scene.end().await;
}

#[tokio::test]
async fn a_namespace_with_many_requests_lets_another_have_its_turn() {
    const MANY: usize = 12;
    let (scene, relay) = lent_relayed("lent-fair", 60, json!({"names": ["lent-fair", "lent-fair-b"]})).await;
    let other = scene.neighbour("lent-fair-b").await;
    let operator = scene
        .launch(Launch {
            allow: vec![relay.url()],
            namespaces: vec!["lent-fair-b"],
            max_concurrent_calls: Some(1),
            ..launch(&scene)
        })
        .await;
    let read = Scene::hold_read(&relay, At::Request);
    for number in 0..MANY {
        request(&scene, &format!("many-{number}")).tenant(&format!("t{number}")).dry_run().create().await;
    }
    read.reached().await;
    other.create(&request(&scene, "one")).await;
    wait_heard(&operator, MANY + 1).await;
    read.release();
    assert_eq!(other.wait_finished("one").await.reason(), "SessionsKilled");
    let reads = scene.list_reads();
    for number in 0..MANY {
        let is_told = |it: &SessionKill| (!it.reason().is_empty()).then_some(());
        scene.wait_for(&format!("many-{number}"), "to say why it waits", is_told).await;
    }
    let turn = reads.iter().position(|read| read.tenant.as_deref() == Some(Scene::TENANT)).unwrap();
    assert!(turn <= 3, "{turn} others came first");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// Each namespace has its own claims, so that no claim keeps another namespace from the same sessions.
#[tokio::test]
async fn sessions_that_two_namespaces_ask_for_are_ended_once() {
    let allowed = json!({"names": ["lent-both", "lent-both-b"]});
    let (scene, relay) = lent_relayed("lent-both", 60, allowed).await;
    let other = scene.neighbour("lent-both-b").await;
    scene.launch(Launch { allow: vec![relay.url()], namespaces: vec!["lent-both-b"], ..launch(&scene) }).await;
    // The sessions have ended, and the operator does not know it yet.
    let call = Scene::hold_call(&relay, At::Answer);
    request(&scene, "inc-1").sessions([1, 2]).create().await;
    call.reached().await;
    other.create(&request(&scene, "inc-1").sessions([1, 2])).await;
    other.create(&request(&scene, "inc-2").sessions([2, 3])).await;
    // The first finds them gone from the list. The second has one that is there: it waits, or comes after the call.
    assert_eq!(other.wait_finished("inc-1").await.reason(), "SessionsGone");
    call.release();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    let ended = other.wait_finished("inc-2").await;
    assert_eq!(ended.status.as_ref().unwrap().counts.as_ref().unwrap().killed, 1, "{}", ended.message());
    scene.assert_killed_once([1, 2, 3]);
    assert_each_named_once(&scene, [1, 2, 3]);
    scene.end().await;
}

/// The call is on its way: the list still has the session.
#[tokio::test]
async fn a_session_of_another_namespaces_call_is_waited_for() {
    let allowed = json!({"names": ["lent-wait", "lent-wait-b"]});
    let (scene, relay) = lent_relayed("lent-wait", 60, allowed).await;
    let other = scene.neighbour("lent-wait-b").await;
    scene.launch(Launch { allow: vec![relay.url()], namespaces: vec!["lent-wait-b"], ..launch(&scene) }).await;
    let call = Scene::hold_call(&relay, At::Request);
    request(&scene, "inc-1").create().await;
    call.reached().await;
    other.create(&request(&scene, "inc-1")).await;
    let waiting = other.wait_for_reason("inc-1", "Dispatching").await;
    assert!(waiting.message().contains("for another namespace names a session"), "{}", waiting.message());
    assert!(!waiting.message().contains("lent-wait-b") && receipts(&other).await.is_empty());
    call.release();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    assert_eq!(other.wait_finished("inc-1").await.reason(), "SessionsGone");
    scene.assert_killed_once([1]);
    assert_each_named_once(&scene, [1]);
    scene.end().await;
}

#[tokio::test]
async fn many_sessions_that_both_ask_for_at_once_are_named_once() {
    const SESSIONS: i64 = 24;
    let allowed = json!({"names": ["lent-race", "lent-race-b"]});
    let scene = lent("lent-race", allowed).await;
    let other = scene.neighbour("lent-race-b").await;
    scene.launch(Launch { namespaces: vec!["lent-race-b"], ..launch(&scene) }).await;
    for number in 1..=SESSIONS {
        let wanted = request(&scene, &format!("inc-{number}")).sessions([number]);
        wanted.create().await;
        other.create(&wanted).await;
    }
    for number in 1..=SESSIONS {
        let name = format!("inc-{number}");
        let ended = [scene.wait_finished(&name).await, other.wait_finished(&name).await];
        let mut reasons = ended.each_ref().map(crate::scene::Request::reason);
        reasons.sort_unstable();
        assert_eq!(reasons, ["SessionsGone", "SessionsKilled"], "{name}");
    }
    scene.assert_killed_once(1..=SESSIONS);
    assert_each_named_once(&scene, 1..=SESSIONS);
    scene.end().await;
}

#[tokio::test]
async fn after_a_crash_another_operator_finds_the_outcome_through_the_connection_that_the_receipt_names() {
    let (allowed, label) = lending();
    let (scene, relay) = lent_relayed("lent-crash", 3, allowed).await;
    // One of the same name that leads nowhere.
    scene.put_connection("lent-crash", Scene::SECRET, json!({"endpoint": "127.0.0.1:1"})).await;
    scene.label("lent-crash", label.clone()).await;
    let call = Scene::hold_call(&relay, At::Answer);
    let operator = scene.launch(Launch { allow: vec![relay.url()], ..launch(&scene) }).await;
    request(&scene, "inc-1").create().await;
    call.reached().await;
    operator.kill();
    // Without the label the list is not read either, and nobody says that nothing was sent.
    scene.label("lent-crash", json!({"lent": null})).await;
    let reads = scene.list_reads().len();
    scene.launch(Launch { allow: vec![relay.url()], ..launch(&scene) }).await;
    let settled = scene.receipt().await.spec.settle_deadline_time.0;
    until(settled.max(Timestamp::now()) + SignedDuration::from_secs(2)).await;
    let waiting = scene.wait_for_reason("inc-1", "Verifying").await;
    assert!(!waiting.is_finished(), "{}", waiting.message());
    assert_eq!(scene.list_reads().len(), reads);
    scene.label("lent-crash", label).await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsGone", "{}", ended.message());
    assert_eq!((call.count(), scene.kill_calls().len()), (1, 1));
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn an_operator_that_uses_none_says_so_and_one_that_does_goes_on() {
    let scene = lent("lent-off", json!({"names": ["lent-off"]})).await;
    let operator = scene.operator().await;
    request(&scene, "inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "ConnectionNotFound").await;
    let told = "this operator uses no ClusterOceanBaseConnection: name an OceanBaseConnection of this namespace";
    assert!(waiting.message().contains(told), "{}", waiting.message());
    assert!(scene.gateway().calls().is_empty());
    operator.kill();
    scene.launch(launch(&scene)).await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.end().await;
}

#[tokio::test]
async fn without_the_rights_its_requests_are_told_and_others_go_on() {
    let scene = lent("lent-no-rights", json!({"selector": {"matchLabels": {"lent": "prod"}}})).await;
    scene.label("lent-no-rights", json!({"lent": "prod"})).await;
    scene.good_secret().await;
    scene.connection(json!({})).await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.grant_all_but("get", "namespaces").await;
    scene.launch(Launch { kubeconfig: Some(kubeconfig), ..launch(&scene) }).await;
    request(&scene, "shared").create().await;
    let waiting = scene.wait_for_reason("shared", "ConnectionNotFound").await;
    for told in ["ClusterOceanBaseConnections cannot be read", "forbidden", "list and watch them"] {
        assert!(waiting.message().contains(told), "{told}: {}", waiting.message());
    }
    scene.request("own").sessions([2]).create().await;
    assert_eq!(scene.wait_finished("own").await.reason(), "SessionsKilled");

    bind_cluster(&scene).await;
    let waiting = scene.wait_for_reason("shared", "Pending").await;
    for told in
        ["labels of namespace lent-no-rights cannot be read", "let the operator's service account get namespaces"]
    {
        assert!(waiting.message().contains(told), "{told}: {}", waiting.message());
    }
    scene.grant(&Scene::full_rights()).await;
    let waiting = scene.wait_for_reason("shared", "CredentialsUnavailable").await;
    assert!(waiting.message().contains("in namespace lent-no-rights-home"), "{}", waiting.message());
    bind(&scene, "lent-no-rights-home").await;
    assert_eq!(scene.wait_finished("shared").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn without_the_definition_its_requests_are_told_and_go_on_once_it_is_there() {
    let cluster = Cluster::start("lent-undefined").await;
    let delete = ["delete", "crd", "clusteroceanbaseconnections.sessionkill.dev"];
    cluster.control_plane.run_kubectl(&delete).await.unwrap();
    let scene = Scene::on(cluster.clone(), "lent-undefined", Backend::Memory(vec![session(1)])).await;
    scene.neighbour("lent-undefined-home").await.good_secret(Scene::SECRET).await;
    scene.launch(launch(&scene)).await;
    request(&scene, "inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "ConnectionNotFound").await;
    for told in ["ClusterOceanBaseConnections cannot be read", "install the definitions of this version"] {
        assert!(waiting.message().contains(told), "{told}: {}", waiting.message());
    }
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    cluster.control_plane.run_kubectl(&["apply", "--server-side", "-f", crds]).await.unwrap();
    scene
        .wait_for("inc-1", "to miss the connection only", |it| {
            it.message().contains("ClusterOceanBaseConnection lent-undefined does not exist").then_some(())
        })
        .await;
    let allowed = json!({"allowedNamespaces": {"names": ["lent-undefined"]}});
    scene.put_cluster_connection("lent-undefined", Scene::SECRET, allowed).await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn its_status_says_whether_it_works_and_for_whom() {
    let (_guard, cluster) = alone().await;
    let scene = lent_on(cluster, "lent-status", json!({})).await;
    scene.launch(launch(&scene)).await;
    let connection = wait_status(&scene, "Ready=True(CallAnswered)").await;
    let message = |it: &ClusterOceanBaseConnection| it.condition("NamespacesAllowed").unwrap().message.clone();
    assert!(message(&connection).contains("no request can use it"), "{:?}", connection.summary());
    request(&scene, "inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "NotAllowed");
    edit(&scene, json!({"names": ["a", "lent-status"], "selector": {"matchLabels": {"lent": "prod"}}})).await;
    let connection = wait_status(&scene, "NamespacesAllowed=True(SomeNamespaces)").await;
    let told = "2 namespaces by their names, and those with labels lent=prod";
    assert!(message(&connection).contains(told), "{}", message(&connection));
    request(&scene, "inc-2").create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "SessionsKilled");
    scene.end().await;
}

/// Waits until the scene's connection has `condition` in its current generation.
async fn wait_status(scene: &Scene, condition: &str) -> ClusterOceanBaseConnection {
    let connections: Api<ClusterOceanBaseConnection> = Api::all(scene.client.clone());
    eventually(&format!("the connection to say {condition}"), async || {
        let connection = connections.get(&scene.namespace).await.map_err(|error| error.to_string())?;
        let observed = connection.status.as_ref().map(|status| status.observed_generation);
        let says = connection.summary().iter().any(|said| said == condition);
        if says && observed == connection.metadata.generation {
            return Ok(connection);
        }
        Err(json!(connection).to_string())
    })
    .await
}

async fn receipts(neighbour: &Neighbour<'_>) -> Vec<SessionKillReceipt> {
    let receipts: Api<SessionKillReceipt> = Api::namespaced(neighbour.requests().into_client(), &neighbour.namespace);
    receipts.list(&kube::api::ListParams::default()).await.unwrap().items
}

/// Checks that each of these sessions was named by one call.
fn assert_each_named_once(scene: &Scene, numbers: impl IntoIterator<Item = i64>) {
    for number in numbers {
        assert_eq!(scene.calls_for(number).len(), 1, "session {}", session_id(number));
    }
}

/// Gives the scene's own account the operator's rights in `namespace`.
async fn bind(scene: &Scene, namespace: &str) {
    let bindings: Api<RoleBinding> = Api::namespaced(scene.client.clone(), namespace);
    let binding = binding("RoleBinding", scene, &Scene::full_rights());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

/// Gives the scene's own account the rights on connections of no namespace.
async fn bind_cluster(scene: &Scene) {
    let granted = json!([
        {"apiGroups": ["sessionkill.dev"], "resources": ["clusteroceanbaseconnections"], "verbs": ["list", "watch"]},
        {"apiGroups": ["sessionkill.dev"], "resources": ["clusteroceanbaseconnections/status"], "verbs": ["patch"]},
    ]);
    let name = &scene.namespace;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": granted,
    });
    let roles: Api<ClusterRole> = Api::all(scene.client.clone());
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let bindings: Api<ClusterRoleBinding> = Api::all(scene.client.clone());
    let binding = binding("ClusterRoleBinding", scene, &role);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

fn binding(kind: &str, scene: &Scene, role: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": scene.namespace},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": Scene::OWN_ACCOUNT, "namespace": scene.namespace}],
    })
}
