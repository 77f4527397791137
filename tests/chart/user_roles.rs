//! The roles for people, checked by what the API server allows a user with such a role.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::{control_plane::Cluster, eventually, furnished, listed, render};

const NAMESPACE: &str = "bank";
const ROLES: [&str; 3] = ["sessionkill-viewer", "sessionkill-requester", "sessionkill-admin"];
/// The role that is in no built-in one. It is bound for the whole cluster.
const CLUSTER_ADMIN: &str = "sessionkill-cluster-admin";
const VERBS: [&str; 9] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "kill"];
const READ: [&str; 3] = ["get", "list", "watch"];
const WRITE: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];
const READ_AND_KILL: [&str; 4] = ["get", "list", "watch", "kill"];
const WRITE_AND_KILL: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "kill"];

/// What each role may do with each resource, in the order of [`ROLES`]. A resource that is missing here is not allowed. Connections of
/// no namespace are asked about in the namespace of a request, as the admission policy does.
const MAY: [(&str, &str, [&[&str]; 3]); 4] = [
    ("sessionkills", "", [&READ, &WRITE, &WRITE]),
    ("oceanbaseconnections", "", [&READ, &READ, &WRITE_AND_KILL]),
    ("clusteroceanbaseconnections", "", [&READ, &READ, &READ_AND_KILL]),
    ("sessionkillreceipts", "", [&READ, &READ, &READ]),
];
const MAY_NOT: [(&str, &str); 5] = [
    ("sessionkills", "status"),
    ("oceanbaseconnections", "status"),
    ("clusteroceanbaseconnections", "status"),
    ("sessionkillreceipts", "status"),
    ("secrets", ""),
];

/// Installs the roles from the chart.
pub async fn install_roles(cluster: &Cluster) {
    let rendered = render(&json!({"crds": {"install": false}})).await;
    let roles = rendered.split("---\n").filter(|document| document.contains("templates/user-roles.yaml"));
    let roles = roles.collect::<Vec<_>>().join("---\n");
    let said = cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &roles).await;
    assert!(said.success && said.stdout.lines().count() == ROLES.len() + 1, "{said:?}");
}

/// Gives `user` the role in `namespace`.
pub async fn bind(cluster: &Cluster, namespace: &str, role: &str, user: &str) {
    let kind = if ROLES.contains(&role) { "clusterrole" } else { "role" };
    let [name, role, user] = [format!("{role}-{user}"), format!("--{kind}={role}"), format!("--user={user}")];
    let said = cluster.kubectl(&["create", "rolebinding", &name, &role, &user, "-n", namespace]).await;
    assert!(said.success, "{}", said.stderr);
}

async fn is_allowed(client: &Client, user: &str, verb: &str, resource: &str, subresource: &str) -> bool {
    let attributes = ResourceAttributes {
        group: Some(if resource == "secrets" { "" } else { "sessionkill.dev" }.into()),
        namespace: Some(NAMESPACE.into()),
        resource: Some(resource.into()),
        subresource: Some(subresource.into()).filter(|name: &String| !name.is_empty()),
        verb: Some(verb.into()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(user.into()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

/// The namespace with one user per role. The user has the name of the role.
async fn staffed() -> &'static Cluster {
    let cluster = furnished().await;
    cluster.namespace(NAMESPACE, &[]).await;
    install_roles(cluster).await;
    for role in ROLES {
        bind(cluster, NAMESPACE, role, role).await;
    }
    let client = cluster.control_plane.client().await.unwrap();
    for role in ROLES {
        eventually("the roles to be in force", async || {
            let allowed = is_allowed(&client, role, "get", "sessionkills", "").await;
            if allowed { Ok(()) } else { Err(format!("{role} may nothing")) }
        })
        .await;
    }
    cluster
}

/// One test, as the users are shared.
#[tokio::test]
async fn each_role_may_do_what_it_says_and_nothing_else() {
    let cluster = staffed().await;
    let client = cluster.control_plane.client().await.unwrap();
    let forbidden = MAY_NOT.map(|(resource, subresource)| (resource, subresource, [&[] as &[&str]; 3]));
    for (resource, subresource, may) in MAY.into_iter().chain(forbidden) {
        for (role, may) in ROLES.iter().zip(may) {
            for verb in VERBS {
                let allowed = is_allowed(&client, role, verb, resource, subresource).await;
                assert_eq!(allowed, may.contains(&verb), "{role}: {verb} {resource}/{subresource}");
            }
        }
    }
    real_requests_are_held_to_it(cluster).await;
    only_a_role_for_the_whole_cluster_lends_connections(cluster).await;
    the_built_in_roles_take_them_in(cluster).await;
}

async fn real_requests_are_held_to_it(cluster: &Cluster) {
    let request = request("inc-1", "prod-ob", json!({}));
    let connection = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": "prod-ob"},
        "spec": {"alibabaCloud": {"regionID": "cn-hangzhou", "credentials": {"secretRef": {"name": "aliyun-ak"}}}},
    });
    for (role, object, is_taken) in [
        (ROLES[0], &request, false),
        (ROLES[1], &request, true),
        (ROLES[1], &connection, false),
        (ROLES[2], &connection, true),
    ] {
        let said = create_as(cluster, NAMESPACE, role, object).await;
        assert_eq!(said.is_ok(), is_taken, "{role}: {object}: {said:?}");
        assert!(is_taken || said.unwrap_err().contains("forbidden"));
    }
    let done = r#"{"status":{"completionTime":"2026-10-05T09:30:00Z"}}"#;
    for role in ROLES {
        let patch = ["patch", "sk", "inc-1", "--subresource=status", "--type=merge", "-p", done, "-n", NAMESPACE];
        let said = cluster.kubectl(&[&patch[..], &["--as", role]].concat()).await;
        assert!(!said.success && said.stderr.contains("forbidden"), "{role}: {said:?}");
    }
}

async fn only_a_role_for_the_whole_cluster_lends_connections(cluster: &Cluster) {
    let connection = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "ClusterOceanBaseConnection", "metadata": {"name": "shared"},
        "spec": {
            "alibabaCloud": {"regionID": "cn-hangzhou", "credentials": {"secretRef": {"name": "aliyun-ak"}}},
            "allowedNamespaces": {"names": [NAMESPACE]},
        },
    });
    // Even bound in a namespace, the role lends nothing.
    bind_cluster_admin_in_a_namespace(cluster, "eve").await;
    for user in [&ROLES[..], &["eve"]].concat() {
        let refusal = create_as(cluster, NAMESPACE, user, &connection).await.unwrap_err();
        assert!(refusal.contains("forbidden"), "{user}: {refusal}");
    }
    let role = format!("--clusterrole={CLUSTER_ADMIN}");
    let bind = ["create", "clusterrolebinding", "lenders", &role, "--user=dana"];
    let said = cluster.kubectl(&bind).await;
    assert!(said.success, "{}", said.stderr);
    eventually("the right to lend", async || create_as(cluster, NAMESPACE, "dana", &connection).await).await;
    let client = cluster.control_plane.client().await.unwrap();
    for verb in VERBS {
        let allowed = is_allowed(&client, "dana", verb, "clusteroceanbaseconnections", "").await;
        assert_eq!(allowed, WRITE.contains(&verb), "{verb}");
    }
    let built_in = cluster.kubectl(&["get", "clusterrole", CLUSTER_ADMIN, "-o", "jsonpath={.metadata.labels}"]).await;
    assert!(!built_in.stdout.contains("aggregate-to"), "{}", built_in.stdout);
}

async fn bind_cluster_admin_in_a_namespace(cluster: &Cluster, user: &str) {
    let [role, user] = [format!("--clusterrole={CLUSTER_ADMIN}"), format!("--user={user}")];
    let said = cluster.kubectl(&["create", "rolebinding", "lenders", &role, &user, "-n", NAMESPACE]).await;
    assert!(said.success, "{}", said.stderr);
}

/// The controller manager would add these roles to the built-in ones, but none runs here. So this checks the labels
/// that it uses.
async fn the_built_in_roles_take_them_in(cluster: &Cluster) {
    for (role, built_in) in ROLES.iter().zip(["view", "edit", "admin"]) {
        let selector = format!("rbac.authorization.k8s.io/aggregate-to-{built_in}=true");
        let named = cluster.kubectl(&["get", "clusterroles", "-l", &selector, "-o", "json"]).await;
        let found = crate::names(&listed(&named.stdout));
        assert!(found.contains(&format!("ClusterRole/{role}")), "{built_in}: {found:?}");
        let selectors = cluster.kubectl(&["get", "clusterrole", built_in, "-o", "json"]).await;
        let selectors = serde_json::from_str::<Value>(&selectors.stdout).unwrap()["aggregationRule"].to_string();
        let label = format!("aggregate-to-{built_in}");
        assert!(selectors.contains(&label), "{built_in}: {selectors}");
    }
}

/// A request through `connection`, with further fields of its spec.
pub fn request(name: &str, connection: &str, more: Value) -> Value {
    let mut request = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill", "metadata": {"name": name},
        "spec": {
            "connectionRef": {"name": connection}, "instanceID": "ob317v4uif0001", "tenantID": "t4louaeei0001",
            "sessions": [{"serverIP": "192.168.13.119", "sessionID": 1}], "notAfterTime": "2026-10-05T09:30:00Z",
        },
    });
    if let Value::Object(more) = more {
        request["spec"].as_object_mut().unwrap().extend(more);
    }
    request
}

/// The result when `user` creates the object.
pub async fn create_as(cluster: &Cluster, namespace: &str, user: &str, object: &Value) -> Result<(), String> {
    let said = cluster.kubectl_with(&["create", "-n", namespace, "--as", user, "-f", "-"], &object.to_string()).await;
    if said.success { Ok(()) } else { Err(said.stderr) }
}
