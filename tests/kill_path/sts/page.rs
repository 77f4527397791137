//! docs/credentials.md shows what kubectl prints of a connection in each situation, and docs/rbac.md what the check prints: `UPDATE_DOCS=1 cargo test --test kill_path
//! the_page_shows` writes it.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sessionkill::api::OceanBaseConnection;
use testbed::gateway::sts::roles::OidcProvider;
use testbed::gateway::{Fault, FaultKind};

use super::{ACCOUNT_NAME, by_account, by_role, grant_tokens, launch, put_account, role, scene_with};
use crate::page::{but_for_numbers, shows};
use crate::scene::{Launch, Scene, Shown as _, check, eventually, until};

/// The namespace of the page.
const NAMESPACE: &str = "shop";
/// What the page calls the address of STS, which here is on this machine.
const STS: &str = "sts.cn-hangzhou.aliyuncs.com";
/// How long keys live here.
const LIFETIME: Duration = Duration::from_secs(6);
/// The ServiceAccount that was not granted.
const UNGRANTED: &str = "ob-other";
/// The one of which the operator may make no token, but which it may read.
const READABLE: &str = "ob-readable";

#[tokio::test]
async fn the_page_shows_what_kubectl_prints_of_a_connection_without_a_key() {
    let scene = furnished().await;
    let with = |field: &str, value: String| {
        let mut credentials = by_account();
        credentials["serviceAccountRef"][field] = value.into();
        credentials
    };
    let mut printed = String::new();
    for (reason, name, words, credentials) in [
        ("ServiceAccountUnavailable", "no-account", "does not exist", with("name", "ob-absent".to_owned())),
        ("ServiceAccountUnavailable", "no-label", "is not labelled", with("name", "ob-unlabelled".to_owned())),
        ("ServiceAccountUnavailable", "no-right", "may not be read", with("name", UNGRANTED.to_owned())),
        ("ServiceAccountUnavailable", "no-token", "no token of it may be made", with("name", READABLE.to_owned())),
        ("RoleNotAssumable", "other-role", "NoPermission", with("roleARN", role("kill").to_string())),
        ("OIDCTokenRejected", "other-provider", "AudienceNotMatch", with("oidcProviderARN", other_provider())),
        (
            "IdentityNotAllowed",
            "not-lent",
            "does not lend",
            json!({"operatorIdentity": {"roleARN": role("kill").to_string()}}),
        ),
        ("MetadataUnavailable", "no-node-role", "HTTP 404", json!({"instanceRole": {}})),
    ] {
        connect(&scene, name, &credentials).await;
        printed += &described(&scene, name, reason, words).await;
    }

    // One that had a key, and one that never had one.
    connect(&scene, "expired", &by_role(&role("kill"))).await;
    wait(&scene, "expired", "CredentialsAccepted", "").await;
    let over = Timestamp::now() + SignedDuration::try_from(LIFETIME).unwrap();
    scene.gateway().inject(Fault::new(FaultKind::Status5xx).on("AssumeRole"));
    connect(&scene, "no-answer", &by_role(&role("kill"))).await;
    printed += &described(&scene, "no-answer", "STSUnavailable", "ServiceUnavailable").await;
    // It is told when somebody needs the key.
    until(over).await;
    scene.request("inc-1").through("expired").create().await;
    scene.wait_for_reason("inc-1", "CredentialsExpired").await;
    printed += &described(&scene, "expired", "CredentialsExpired", "ServiceUnavailable").await;
    println!("{printed}");
    shows("credentials.md", "refusals", &format!("```console\n{printed}```\n"), but_for_numbers);
    scene.assert_nothing_sent();

    let (_, said) = check(&scene.cluster.operator_kubeconfig, &["--watch-namespaces", NAMESPACE]).await;
    let of_connections: String = said.lines().filter(|line| line.starts_with("OceanBaseConnection")).fold(
        "$ sessionkill-operator check --watch-namespaces shop | grep OceanBaseConnection\n".to_owned(),
        |all, line| all + line + "\n",
    );
    println!("{of_connections}");
    shows("rbac.md", "check", &format!("```console\n{of_connections}```\n"), but_for_numbers);
    scene.end().await;
}

/// A scene with an operator, and with `ServiceAccounts` of which each but one lacks something. The node has no role.
async fn furnished() -> Scene {
    let scene = scene_with(NAMESPACE, |mut sts| {
        // It is for others than STS.
        let other =
            OidcProvider { arn: other_provider(), client_ids: vec!["other".to_owned()], ..sts.providers[0].clone() };
        sts.providers.push(other);
        sts.living(LIFETIME)
    })
    .await;
    for (name, is_labelled) in [(ACCOUNT_NAME, true), ("ob-unlabelled", false), (UNGRANTED, true), (READABLE, true)] {
        put_account(&scene, name, is_labelled).await;
    }
    for name in [ACCOUNT_NAME, "ob-unlabelled", "ob-absent"] {
        grant_tokens(&scene, name).await;
    }
    grant_reading(&scene, READABLE).await;
    scene.good_secret().await;
    let variables = vec!["SESSIONKILL_ALLOW_IDENTITIES=shop=instance".to_owned()];
    let of_sts = launch(&scene);
    scene.launch(Launch { variables: [of_sts.variables.clone(), variables].concat(), ..of_sts }).await;
    scene.gateway().inject(Fault::new(FaultKind::Error).answering(404, "NotFound").on("GetInstanceRole"));
    scene
}

fn other_provider() -> String {
    "acs:ram::123456789012:oidc-provider/other".to_owned()
}

/// Lets the operators read this ServiceAccount.
async fn grant_reading(scene: &Scene, of: &str) {
    let named = format!("--resource-name={of}");
    let role = ["create", "role", "read-only", "--verb=get", "--resource=serviceaccounts", &named];
    let account = "--serviceaccount=sessionkill-system:sessionkill-operator";
    let binding = ["create", "rolebinding", "read-only", "--role=read-only", account];
    for create in [&role[..], &binding] {
        let create = [create, &["--namespace", NAMESPACE]].concat();
        scene.cluster.control_plane.run_kubectl(&create).await.unwrap();
    }
}

/// Writes the connection `name`: to the gateway, or to the region's own host if its identity may call no other.
async fn connect(scene: &Scene, name: &str, credentials: &Value) {
    let mut alibaba_cloud = json!({"regionID": "cn-hangzhou", "credentials": credentials});
    if credentials.get("serviceAccountRef").or(credentials.get("secretRef")).is_some() {
        alibaba_cloud["endpoint"] = scene.gateway_url().into();
    }
    let connection = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": name},
        "spec": {"requestTimeoutSeconds": 1, "alibabaCloud": alibaba_cloud},
    });
    let connections: Api<OceanBaseConnection> = scene.api();
    connections.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(connection)).await.unwrap();
}

/// Waits until the connection `name` says this of its credentials.
async fn wait(scene: &Scene, name: &str, reason: &str, words: &str) {
    eventually(&format!("connection {name} to say {reason}"), async || {
        let connection = scene.api::<OceanBaseConnection>().get(name).await.unwrap();
        match connection.condition("CredentialsValid") {
            Some(it) if it.reason == reason && it.message.contains(words) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// What kubectl prints of the credentials of the connection `name`, once they are refused with `reason` and these words.
async fn described(scene: &Scene, name: &str, reason: &str, words: &str) -> String {
    wait(scene, name, reason, words).await;
    let describe = ["describe", "obc", name, "--namespace", NAMESPACE];
    let all = scene.cluster.control_plane.run_kubectl(&describe).await.unwrap();
    let is_type = |line: &str| line.split_whitespace().eq(["Type:", "CredentialsValid"]);
    let mut conditions = all.split("    Last Transition Time:").skip(1);
    let condition = conditions.find(|condition| condition.lines().any(is_type)).unwrap_or_else(|| panic!("{all}"));
    let mut printed = format!("$ kubectl describe obc {name} --namespace {NAMESPACE}\n...\n");
    for line in condition.lines() {
        if ["Message:", "Reason:", "Status:", "Type:"].iter().any(|field| line.trim_start().starts_with(field)) {
            writeln!(printed, "{}", line.replace(&scene.gateway_url(), STS)).unwrap();
        }
    }
    printed
}
