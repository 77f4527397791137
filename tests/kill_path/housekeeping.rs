//! Background work that no kill waits for. If part of it hangs or fails, everything else goes on.

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use sessionkill::api::{
    ConnectionKind, OceanBaseConnection, Operation, Outcome, Scope, SessionKillReceipt, SessionKillReceiptSpec,
    SessionKillRef, SessionOutcome, SessionReason, SessionStatus, VerificationPolicy,
};
use testbed::control_plane::Request as Asked;

use crate::scene::{
    At, KEY_ID, KEY_SECRET, Launch, Request as _, SERVER_IP, Scene, Shown as _, eventually, in_seconds, session_id,
};

/// More probes and orphaned claims than the operator handles for one namespace before the first of them times out.
const MANY: usize = 40;

/// The claim of an operator that is gone, for a request of this name and tenant through this connection. Its settle
/// deadline passed `age` seconds ago.
fn orphan(number: usize, request: &str, tenant: &str, connection: &str, age: i64) -> SessionKillReceipt {
    let time = |seconds: i64| Time(in_seconds(-age - seconds));
    let session = SessionStatus {
        server_ip: SERVER_IP.into(),
        server_port: None,
        session_id: session_id(60),
        outcome: SessionOutcome::Pending,
        reason: SessionReason::Waiting,
        status: String::new(),
        error_message: String::new(),
        message: String::new(),
        observed: None,
    };
    let spec = SessionKillReceiptSpec {
        scope: Scope::Session,
        session_kill_ref: SessionKillRef { name: request.into(), uid: format!("uid-{number}") },
        attempt_id: format!("attempt-{number}"),
        holder_identity: "gone".into(),
        claim_time: time(40),
        dispatch_deadline_time: time(30),
        settle_deadline_time: time(0),
        not_after_time: time(30),
        connection_kind: ConnectionKind::OceanBaseConnection,
        connection_name: connection.into(),
        instance_id: Scene::INSTANCE.into(),
        tenant_id: tenant.into(),
        operation: Operation::KillProcessList,
        sessions: vec![session],
        matched: None,
    };
    SessionKillReceipt::new(&format!("sk-{number:040x}"), spec)
}

async fn create(receipts: &Api<SessionKillReceipt>, all: impl IntoIterator<Item = SessionKillReceipt>) {
    let params = PostParams::default();
    for created in join_all(all.into_iter().map(async |receipt| receipts.create(&params, &receipt).await)).await {
        created.unwrap();
    }
}

/// Another namespace with a connection to the same gateway. Returns its receipts and connections.
async fn beside(scene: &Scene, name: &str) -> (Api<SessionKillReceipt>, Api<OceanBaseConnection>) {
    let in_it = |kind: &str, version: &str, name_of: &str, rest: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name_of, "namespace": name}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let mut secret = in_it(
        "Secret",
        "v1",
        Scene::SECRET,
        json!({"stringData": {"accessKeyID": KEY_ID, "accessKeySecret": KEY_SECRET}}),
    );
    secret["metadata"]["labels"] = json!({"sessionkill.dev/credentials": "true"});
    let spec = json!({"spec": {
        "alibabaCloud": {
            "regionID": "cn-hangzhou", "endpoint": scene.gateway_url(),
            "credentials": {"secretRef": {"name": Scene::SECRET}},
        },
        "requestTimeoutSeconds": 5,
    }});
    let connection = in_it("OceanBaseConnection", "sessionkill.dev/v1alpha1", Scene::CONNECTION, spec);
    for object in [&namespace, &secret, &connection] {
        scene.cluster.control_plane.apply(&object.to_string()).await.unwrap();
    }
    (Api::namespaced(scene.client.clone(), name), Api::namespaced(scene.client.clone(), name))
}

/// Waits until the receipts with these numbers are recorded or already removed.
async fn wait_recorded(receipts: &Api<SessionKillReceipt>, numbers: impl IntoIterator<Item = usize> + Clone) {
    eventually("the records", async || {
        for number in numbers.clone() {
            let receipt = receipts.get_opt(&format!("sk-{number:040x}")).await.map_err(|error| error.to_string())?;
            if receipt.is_some_and(|receipt| receipt.status.is_none()) {
                return Err(format!("{number} is not recorded"));
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn orphans_at_a_dead_gateway_and_receipts_that_make_no_sense_cost_only_themselves() {
    let scene = Scene::set("dead-orphans").await;
    let relay = scene.gateway_relay().await;
    let dead = Scene::hold_read(&relay, At::Request);
    scene.put_connection("dead", Scene::SECRET, json!({"endpoint": relay.url()})).await;
    let (elsewhere, _) = beside(&scene, "dead-orphans-beside").await;
    let here: Api<SessionKillReceipt> = scene.api();
    let allow = vec![relay.url()];
    scene.launch(Launch { allow, namespaces: vec!["dead-orphans-beside"], ..Launch::default() }).await;

    // Names that no object can have. With the first one a read would become a list, and the second one has no valid
    // path.
    let senseless = ["", "a b", "../x", "a/status"].into_iter().enumerate();
    create(&here, senseless.map(|(number, name)| orphan(number, name, Scene::TENANT, Scene::CONNECTION, 0))).await;
    let tenants = (10..10 + MANY).map(|number| orphan(number, "x", &format!("t{number}"), "dead", 0));
    create(&here, tenants).await;
    create(&elsewhere, [orphan(0, "inc-1", Scene::TENANT, Scene::CONNECTION, 0)]).await;

    wait_recorded(&elsewhere, [0]).await;
    assert!(dead.count() < MANY, "it has waited for none of another namespace");
    wait_recorded(&here, 0..4).await;
    assert_eq!(here.get(&format!("sk-{:040x}", 1)).await.unwrap().status.unwrap().outcome, Outcome::StillPresent);
    dead.release();
    // Their claims name tenants that do not exist, and are given up in time.
    wait_recorded(&here, 10..10 + MANY).await;
    assert!(!scene.logs().contains("sweep not completed"));
    scene.assert_nothing_sent();
    scene.end().await;
}

#[tokio::test]
async fn what_a_crash_left_of_a_tenant_costs_few_lists_and_its_next_kill_waits_for_none() {
    const LEFT: i64 = 40;
    let (scene, relay) = Scene::relayed("many-orphans", 1).await;
    let call = Scene::hold_call(&relay, At::Request);
    for number in 1..=LEFT {
        let request = scene.request(&format!("inc-{number}")).sessions([number]);
        request.verified(VerificationPolicy::None, 1).create().await;
    }
    let operator = scene.operator_through(&relay).await;
    call.reached().await;
    operator.kill();
    let claims = scene.receipts().await.len();
    assert!(claims > 1, "claimed together: {claims}");
    let all = (DeleteParams::default(), ListParams::default());
    scene.requests().delete_collection(&all.0, &all.1).await.unwrap();

    // The call of the operator that is gone stays at the relay.
    let relay = scene.gateway_relay().await;
    scene.connection(json!({"endpoint": relay.url(), "requestTimeoutSeconds": 1})).await;
    let list = Scene::hold_read(&relay, At::Request);
    scene.operator_through(&relay).await;
    list.reached().await;
    scene.request("next").sessions([50]).verified(VerificationPolicy::None, 1).create().await;
    assert_eq!(scene.wait_finished("next").await.reason(), "SessionsKilled");
    let left = async || {
        let receipts = scene.receipts().await;
        let is_left = |it: &&SessionKillReceipt| it.status.is_none() && it.spec.session_kill_ref.name != "next";
        receipts.iter().filter(is_left).count()
    };
    assert_eq!(left().await, claims, "they wait for a list");
    list.release();
    eventually("the records", async || match left().await {
        0 => Ok(()),
        left => Err(format!("{left} are not recorded")),
    })
    .await;
    // The held reads never arrived, as their readers had timed out.
    let reads = scene.list_reads().len();
    assert!(reads <= 4, "{reads} lists for {claims} claims of one tenant");
    scene.assert_killed_once([50]);
    scene.end().await;
}

#[tokio::test]
async fn a_list_whose_version_is_forgotten_or_that_fails_in_the_middle_is_swept_to_its_end() {
    const EXPIRED: usize = 230;
    let scene = Scene::set("long-list").await;
    let receipts: Api<SessionKillReceipt> = scene.api();
    let age = 200;
    let with_record = |number| orphan(number, "x", Scene::TENANT, Scene::CONNECTION, age);
    create(&receipts, (0..EXPIRED).map(with_record)).await;
    let api = scene.api_relay().await;
    let next = |asked: &testbed::fault_proxy::Asked| {
        asked.kind == "list sessionkillreceipts" && asked.target.contains("continue=")
    };
    let forgotten = api.refuse(410, 1, next);
    let failed = api.refuse(500, 1, next);
    scene.launch(Launch { api: Some(&api), ..Launch::default() }).await;
    eventually("the receipts to be removed", async || {
        let left = scene.receipts().await.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await;
    assert_eq!((forgotten.count(), failed.count()), (1, 1));
    assert!(!scene.logs().contains("sweep not completed"), "{}", scene.logs());
    scene.end().await;
}

#[tokio::test]
async fn requests_past_their_ttl_go_by_two_requests_each() {
    const ENDED: i64 = 30;
    let scene = Scene::set("many-ttl").await;
    let kubeconfig = scene.own_account(&Scene::full_rights()).await;
    scene.launch(Launch { kubeconfig: Some(kubeconfig), ..Launch::default() }).await;
    let not_after = in_seconds(10);
    for number in 1..=ENDED {
        scene.request(&format!("inc-{number}")).sessions([number]).not_after(not_after).ttl(1).create().await;
    }
    eventually("all to be removed", async || {
        let left = scene.requests().list(&ListParams::default()).await.unwrap().items.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await;
    scene.assert_killed_once(1..=ENDED);
    let removed = u64::try_from(ENDED).unwrap();
    let count = |verb: &str, resource: &str| {
        scene.own_requests().get(&Asked::new(verb, resource, "")).copied().unwrap_or_default()
    };
    eventually("the audit log", async || match count("delete", "sessionkills") {
        all if all >= removed => Ok(()),
        some => Err(format!("{some} are told")),
    })
    .await;
    assert_eq!(count("delete", "sessionkills"), removed);
    assert_eq!(count("get", "sessionkills"), 0, "what the list shows is not read again");
    // A receipt that the sweep recorded itself is read once more.
    let reads = count("get", "sessionkillreceipts");
    assert!(reads <= removed + 5, "{reads} reads of receipts for {removed} requests");
    scene.end().await;
}

#[tokio::test]
async fn slow_connections_keep_no_other_namespaces_from_being_probed() {
    let scene = Scene::set("slow-probes").await;
    let relay = scene.gateway_relay().await;
    let slow = relay.hold_action(At::Request, "KillProcessList (probe)");
    let beside_it = "slow-probes-beside";
    scene.launch(Launch { allow: vec![relay.url()], namespaces: vec![beside_it], ..Launch::default() }).await;
    scene.wait_probed().await;
    for number in 0..MANY {
        scene.put_connection(&format!("slow-{number}"), Scene::SECRET, json!({"endpoint": relay.url()})).await;
    }
    slow.reached().await;
    let (_, connections) = beside(&scene, beside_it).await;
    eventually("the connection to be probed", async || {
        let connection = connections.get(Scene::CONNECTION).await.map_err(|error| error.to_string())?;
        let ready = connection.condition("Ready").is_some_and(|ready| ready.status == "True");
        if ready { Ok(()) } else { Err(json!(connection.status).to_string()) }
    })
    .await;
    assert!(slow.count() < MANY, "it has waited for none of another namespace");
    slow.release();
    scene.end().await;
}
