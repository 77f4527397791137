//! Attacks by tenants of the cluster and by users of the database.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Error};
use serde_json::json;
use sessionkill::api::{OceanBaseConnection, SessionKill, SessionKillReceipt};
use testbed::control_plane::client_for;
use testbed::gateway::Session;

use crate::scene::{Launch, Request as _, SQL_MARK, Scene, session, session_id, texts};

/// A client with the rights on `SessionKill` objects that a user needs, and no others.
async fn requester(scene: &Scene) -> Client {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "requester"},
        "rules": [{
            "apiGroups": ["sessionkill.dev"], "resources": ["sessionkills"],
            "verbs": ["create", "get", "list", "watch", "update", "patch", "delete"],
        }],
    });
    let roles: Api<Role> = scene.api();
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "requester"});
    client_for(&scene.own_account(&role).await).await.unwrap()
}

fn assert_forbidden<T>(what: &str, answer: Result<T, Error>) {
    let refused = answer.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("is forbidden"), "{what}: {refused}");
}

#[tokio::test]
async fn who_may_only_create_requests_can_forge_neither_outcomes_nor_claims_nor_rights() {
    let scene = Scene::set("forger").await;
    let client = requester(&scene).await;
    let namespace = scene.namespace.as_str();
    let requests: Api<SessionKill> = Api::namespaced(client.clone(), namespace);
    let done = json!({"completionTime": "2026-10-05T09:30:00Z", "conditions": [{
        "type": "Succeeded", "status": "True", "reason": "SessionsKilled", "message": "forged",
        "lastTransitionTime": "2026-10-05T09:30:00Z",
    }]});

    // The API server drops a status that a user sends, at creation and in an edit.
    let template = scene.request("template").suspended().create().await;
    let mut forged = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill",
        "metadata": {"name": "inc-1"}, "spec": template.spec, "status": done,
    });
    forged["spec"]["suspend"] = false.into();
    let forged: SessionKill = serde_json::from_value(forged).unwrap();
    // Try again: a role binding takes effect some time after it was created.
    crate::scene::eventually("the right to create requests", async || {
        requests.create(&PostParams::default(), &forged).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    requests.patch("inc-1", &PatchParams::default(), &Patch::Merge(json!({"status": done}))).await.unwrap();
    let fresh = requests.get("inc-1").await.unwrap();
    assert_eq!(json!(fresh.status), json!({"observedGeneration": -1}));
    let status = Patch::Merge(json!({"status": done}));
    assert_forbidden("a status", requests.patch_status("inc-1", &PatchParams::default(), &status).await);

    // A user must not create a receipt: it would block another user's request, or answer it.
    let receipts: Api<SessionKillReceipt> = Api::namespaced(client.clone(), namespace);
    let claim =
        json!({"apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKillReceipt", "metadata": {"name": "x"}});
    let claim = Patch::Apply(claim);
    let params = PatchParams::apply("forger");
    assert_forbidden("a receipt", receipts.patch("x", &params, &claim).await);
    assert_forbidden("a record", receipts.patch_status("x", &PatchParams::default(), &status).await);
    assert_forbidden("no receipt", receipts.delete("x", &DeleteParams::default()).await);
    assert_forbidden("the receipts", receipts.list(&ListParams::default()).await);

    // A user must not change the connection's endpoint: the operator would send signed requests there.
    let connections: Api<OceanBaseConnection> = Api::namespaced(client.clone(), namespace);
    let elsewhere = Patch::Merge(json!({"spec": {"alibabaCloud": {"endpoint": "evil.aliyuncs.com"}}}));
    let patched = connections.patch(Scene::CONNECTION, &PatchParams::default(), &elsewhere).await;
    assert_forbidden("an endpoint", patched);
    assert_forbidden("a Secret", Api::<Secret>::namespaced(client, namespace).get(Scene::SECRET).await);

    // The forged status and objects changed nothing.
    scene.operator().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.wait_for_reason("template", "Suspended").await;
    scene.end().await;
}

#[tokio::test]
async fn a_secret_of_another_namespace_can_be_named_by_nobody() {
    let owner = Scene::set("vault").await;
    let scene = Scene::bare("burglar").await;
    scene.launch(Launch { allow: vec![&owner.gateway_url()], ..Launch::default() }).await;
    scene.connection(json!({"endpoint": owner.gateway_url()})).await;
    let connections: Api<OceanBaseConnection> = scene.api();
    // A reference to a Secret has no namespace field.
    let elsewhere = async |namespace: Option<&str>| {
        let credentials = json!({"secretRef": {"namespace": namespace}});
        let patch = json!({"spec": {"alibabaCloud": {"credentials": credentials}}}).to_string();
        let patch = ["patch", "obc", Scene::CONNECTION, "-n", &scene.namespace, "--type=merge", "-p", &patch];
        scene.cluster.control_plane.run_kubectl(&patch).await.unwrap();
    };
    elsewhere(Some(&owner.namespace)).await;
    scene.request("inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "ConnectionNotFound").await;
    assert!(waiting.message().contains("unknown field `namespace`, expected"), "{}", waiting.message());
    elsewhere(None).await;
    let waiting = scene.wait_for_reason("inc-1", "CredentialsUnavailable").await;
    let told = format!("secret {} does not exist: create it in namespace {}", Scene::SECRET, scene.namespace);
    assert!(waiting.message().contains(&told), "{}", waiting.message());
    // A name that looks like a path does not lead to another namespace either.
    for name in [format!("../../{}/secrets/{}", owner.namespace, Scene::SECRET), format!("{}/x", owner.namespace)] {
        let path = Patch::Merge(json!({"spec": {"alibabaCloud": {"credentials": {"secretRef": {"name": name}}}}}));
        let refused = connections.patch(Scene::CONNECTION, &PatchParams::default(), &path).await.unwrap_err();
        assert!(refused.to_string().contains("secretRef.name must be the name of a Secret"), "{refused}");
    }
    owner.assert_nothing_sent();
    scene.end().await;
    owner.end().await;
}

#[tokio::test]
async fn whatever_stands_in_the_database_a_status_is_printable_and_bounded() {
    let scene = Scene::set("hostile-sql").await;
    let escape = format!("\x1b]0;owned\x07\x1b[2J\r\n\u{9b}31m{SQL_MARK} {}", "数".repeat(2500));
    let hostile = |number: i64| Session {
        sql_text: escape.clone(),
        user: format!("\x1b[8m\u{202e}\u{200b}{}", "用".repeat(500)),
        database: "\u{7f}\"\\".repeat(300),
        protected: number % 2 == 0,
        ..session(number)
    };
    scene.gateway().set_sessions((1..=100).map(hostile).collect()).unwrap();
    scene.connection(json!({"requestTimeoutSeconds": 30, "sqlText": "Truncated"})).await;
    scene.operator().await;
    scene.request("inc-1").because("INC \x1b[2J\u{9b}31m\r\nForged").sessions(1..=100).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "PartiallyKilled", "{}", ended.message());
    let status = json!(ended.status);
    let hides = |text: &&str| text.contains(|c: char| c.is_control() || "\u{202e}\u{200b}".contains(c));
    let unprintable = texts(&status).into_iter().find(hides);
    assert_eq!(unprintable, None);
    assert!(status.to_string().len() <= 256 * 1024, "{} bytes", status.to_string().len());
    assert_eq!(ended.outcomes().len(), 100);
    let receipt = json!(scene.receipt().await);
    assert!(
        receipt.to_string().len() <= 2 * 256 * 1024 && !texts(&receipt).iter().any(|it| it.contains(char::is_control))
    );
    let note = scene.wait_for_event("inc-1", "PartiallyKilled").await;
    assert!(note.contains("INC") && !note.contains(char::is_control), "{note:?}");
    assert!(scene.audit_lines().iter().all(|line| !texts(line).iter().any(|it| it.contains(char::is_control))));
    // Control characters in a log could attack the terminal of anyone who follows the logs.
    assert!(!scene.logs().contains(|c: char| c.is_control() && c != '\n'), "{}", scene.logs());
    scene.assert_killed_once((1..=100).filter(|number| number % 2 == 1));
    assert!(scene.gateway().sessions().await.unwrap().iter().all(|left| (left.session_id - session_id(0)) % 2 == 0));
    scene.end().await;
}
