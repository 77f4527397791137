//! The admission policy. With RBAC and without a webhook, it limits the users of a namespace to some of its
//! connections.

use serde_json::{Value, json};

use crate::{
    control_plane::Cluster,
    eventually, furnished, render,
    user_roles::{bind, create_as, install_roles, request},
};

const NAMESPACE: &str = "shop";

/// May create requests, but only through the connection `orders`.
const ALICE: &str = "alice";
/// May create requests, but through no connection.
const BOB: &str = "bob";
/// The admin of the namespace.
const CAROL: &str = "carol";

/// The cluster with these users and with the policy in force in one namespace.
async fn guarded() -> &'static Cluster {
    let cluster = furnished().await;
    cluster.namespace(NAMESPACE, &[]).await;
    install_roles(cluster).await;
    for (role, user) in [("sessionkill-requester", ALICE), ("sessionkill-requester", BOB), ("sessionkill-admin", CAROL)]
    {
        bind(cluster, NAMESPACE, role, user).await;
    }
    let of_orders = "--resource=oceanbaseconnections.sessionkill.dev";
    let role = ["create", "role", "orders-killer", "--verb=kill", of_orders, "--resource-name=orders", "-n", NAMESPACE];
    let role = cluster.kubectl(&role).await;
    // The role can be created although kubectl warns about the verb, which it does not know.
    assert!(role.success, "{}", role.stderr);
    bind(cluster, NAMESPACE, "orders-killer", ALICE).await;

    let of_shared = "--resource=clusteroceanbaseconnections.sessionkill.dev";
    let role = ["create", "role", "shared-killer", "--verb=kill", of_shared, "--resource-name=shared", "-n", NAMESPACE];
    let role = cluster.kubectl(&role).await;
    assert!(role.success, "{}", role.stderr);
    bind(cluster, NAMESPACE, "shared-killer", ALICE).await;

    let values =
        json!({"crds": {"install": false}, "admissionPolicy": {"enabled": true}, "watchNamespaces": [NAMESPACE]});
    let rendered = render(&values).await;
    let policy = rendered.split("---\n").filter(|document| document.contains("templates/admission-policy.yaml"));
    let policy = policy.collect::<Vec<_>>().join("---\n");
    let said = cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &policy).await;
    assert!(said.success && said.stdout.lines().count() == 2, "{said:?}");
    eventually("the policy to be in force", async || {
        let object = request("probe", "orders", json!({})).to_string();
        let create = ["create", "--dry-run=server", "-n", NAMESPACE, "--as", BOB, "-f", "-"];
        let said = cluster.kubectl_with(&create, &object).await;
        if !said.success && said.stderr.contains("ask for the verb kill on it") {
            Ok(())
        } else {
            Err(format!("{said:?}"))
        }
    })
    .await;
    for more in [json!({}), of_cluster("shared")] {
        eventually("the rights to orders and to what is shared", async || {
            let object = request("probe", "orders", more.clone()).to_string();
            let create = ["create", "--dry-run=server", "-n", NAMESPACE, "--as", ALICE, "-f", "-"];
            let said = cluster.kubectl_with(&create, &object).await;
            if said.success { Ok(()) } else { Err(said.stderr) }
        })
        .await;
    }
    cluster
}

/// The fields of a request through this connection of no namespace.
fn of_cluster(connection: &str) -> Value {
    json!({"connectionRef": {"kind": "ClusterOceanBaseConnection", "name": connection}})
}

/// The fields of both.
fn with(mut fields: Value, more: &Value) -> Value {
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

async fn patch_as(cluster: &Cluster, user: &str, name: &str, spec: &Value) -> Result<(), String> {
    let patch = json!({"spec": spec}).to_string();
    let said =
        cluster.kubectl(&["patch", "sk", name, "-n", NAMESPACE, "--as", user, "--type=merge", "-p", &patch]).await;
    if said.success { Ok(()) } else { Err(said.stderr) }
}

fn assert_denied(what: &str, user: &str, connection: &str, said: Result<(), String>) {
    assert_denied_through("oceanbaseconnection", what, user, connection, said);
}

fn assert_denied_through(kind: &str, what: &str, user: &str, connection: &str, said: Result<(), String>) {
    let refusal = said.err().unwrap_or_default();
    let expected = format!("user {user} may not end sessions through {kind} {connection}: ask for the verb kill");
    assert!(refusal.contains("forbidden") && refusal.contains(&expected), "{what}: {refusal}");
}

#[tokio::test]
async fn users_end_sessions_only_through_the_connections_on_which_they_have_the_verb_kill() {
    let cluster = guarded().await;
    let create = async |user, name, connection, more| {
        create_as(cluster, NAMESPACE, user, &request(name, connection, more)).await
    };

    create(ALICE, "a-orders", "orders", json!({})).await.unwrap();
    assert_denied("another connection", ALICE, "ledger", create(ALICE, "a-ledger", "ledger", json!({})).await);
    assert_denied("no right at all", BOB, "orders", create(BOB, "b-orders", "orders", json!({})).await);
    create(CAROL, "c-ledger", "ledger", json!({})).await.unwrap();
    // A dry run shows statements of other users through the connection.
    let dry = json!({"mode": "DryRun"});
    assert_denied("a dry run", ALICE, "ledger", create(ALICE, "a-dry", "ledger", dry.clone()).await);
    create(ALICE, "a-dry", "orders", dry).await.unwrap();
    // A suspended request needs only one patch to be sent.
    let [hold, release] = [true, false].map(|suspend| json!({"suspend": suspend}));
    assert_denied("a held one", ALICE, "ledger", create(ALICE, "a-held", "ledger", hold.clone()).await);
    create(CAROL, "c-held", "ledger", hold.clone()).await.unwrap();

    assert_denied("a release", ALICE, "ledger", patch_as(cluster, ALICE, "c-held", &release).await);
    // An edit that sends nothing needs no right on the connection.
    patch_as(cluster, ALICE, "c-held", &json!({"ttlSecondsAfterFinished": 60})).await.unwrap();
    patch_as(cluster, ALICE, "c-ledger", &hold).await.unwrap();
    assert_denied("its release", ALICE, "ledger", patch_as(cluster, ALICE, "c-ledger", &release).await);
    patch_as(cluster, CAROL, "c-ledger", &release).await.unwrap();
    patch_as(cluster, ALICE, "a-orders", &hold).await.unwrap();
    patch_as(cluster, ALICE, "a-orders", &release).await.unwrap();

    // The verb is asked for on the kind that the request names, in its namespace.
    create(ALICE, "a-shared", "", of_cluster("shared")).await.unwrap();
    create(CAROL, "c-shared", "", of_cluster("another")).await.unwrap();
    assert_denied("the other kind", ALICE, "shared", create(ALICE, "a-own", "shared", json!({})).await);
    for (what, user, connection) in
        [("no right at all", BOB, "shared"), ("another", ALICE, "another"), ("the kind of its right", ALICE, "orders")]
    {
        let said = create(user, "denied", "", of_cluster(connection)).await;
        assert_denied_through("clusteroceanbaseconnection", what, user, connection, said);
    }
    create(CAROL, "c-shared-held", "", with(of_cluster("another"), &hold)).await.unwrap();
    let said = patch_as(cluster, ALICE, "c-shared-held", &release).await;
    assert_denied_through("clusteroceanbaseconnection", "a release", ALICE, "another", said);

    // The policy's binding selects the watched namespaces only.
    bind(cluster, "team-a", "sessionkill-requester", BOB).await;
    eventually("the role in another namespace", async || {
        create_as(cluster, "team-a", BOB, &request("b-other", "orders", json!({}))).await
    })
    .await;
}
