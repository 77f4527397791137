//! Identities of the operator's own, lent to a namespace: the role of its ServiceAccount, and the role of its node. The API
//! server lets no connection choose where they are used, so these operators call Alibaba Cloud's own host names.

use serde_json::{Value, json};
use testbed::base::{NAMESPACE, SERVICE_ACCOUNT};
use testbed::gateway::sts::instance::{Access, InstanceRole};
use testbed::gateway::sts::roles::{Role, RoleArn};
use testbed::gateway::sts::standard::{instance_role, provider};
use testbed::gateway::{CallRecord, Fault, FaultKind, Identity, StsOptions};
use testbed::rrsa::subject;

use super::region::{HOST, Region, STS_HOST, connect_to_region, connect_to_region_within};
use super::renewal::{LIFETIME, after};
use super::token_file::TokenFile;
use super::{ACCOUNT_NAME, account, are_by, asked, issued, role, scene_with};
use crate::scene::{Launch, Request as _, Scene, until};

/// The operator's name of its cluster.
const CLUSTER: &str = "c0ffee";
/// The ServiceAccount of the operator.
const OPERATOR: (&str, &str) = (NAMESPACE, SERVICE_ACCOUNT);

/// Adds roles for the scene of this name. `own` trusts the ServiceAccount of the operator, and the one of the scene.
/// `second` trusts what the operator lends, with the external ID of this namespace, and `elsewhere` with that of another.
/// The metadata service serves both of its versions.
fn lending(mut sts: StsOptions, name: &str) -> StsOptions {
    let own = Role::new(role("own")).trusting_subject(&provider(), &subject(OPERATOR.0, OPERATOR.1));
    let second = |role_name: &str, namespace: &str| {
        let external_id = format!("{CLUSTER}/{namespace}");
        let trusting_own = Role::new(role(role_name)).trusting_with(&role("own").to_string(), &external_id);
        trusting_own.trusting_with(&instance_role().to_string(), &external_id)
    };
    sts.roles.push(own.trusting_subject(&provider(), &subject(name, ACCOUNT_NAME)));
    sts.roles.extend([second("second", name), second("elsewhere", "another")]);
    sts.instance = Some(InstanceRole { access: Access::TokenOptional, ..InstanceRole::new(instance_role()) });
    sts
}

fn by_operator() -> Value {
    json!({"operatorIdentity": {"roleARN": role("own").to_string()}})
}

fn by_node() -> Value {
    json!({"instanceRole": {}})
}

/// The same, and this role is assumed with it.
fn and_role(mut credentials: Value, arn: &RoleArn) -> Value {
    credentials["assumeRole"] = json!({"roleARN": arn.to_string()});
    credentials
}

/// Starts an operator that lends the namespace of the scene both identities, and has this token.
async fn lend(scene: &Scene, region: &Region, token: &TokenFile) {
    let namespace = &scene.namespace;
    let own = role("own");
    let mut variables = Vec::from(region.variables());
    variables.extend([
        format!("SESSIONKILL_METADATA_ENDPOINT={}", scene.metadata_url()),
        format!("SESSIONKILL_CLUSTER_NAME={CLUSTER}"),
        format!("SESSIONKILL_ALLOW_IDENTITIES={namespace}={own},{namespace}=instance"),
        format!("ALIBABA_CLOUD_OIDC_PROVIDER_ARN={}", provider()),
        format!("ALIBABA_CLOUD_OIDC_TOKEN_FILE={}", token.path().display()),
    ]);
    scene.launch(Launch { variables, ..Launch::default() }).await;
}

/// A scene whose operator lends both identities, with a connection by these credentials.
async fn lent(name: &str, credentials: &Value) -> (Scene, Region) {
    let scene = scene_with(name, |sts| lending(sts, name)).await;
    let region = Region::of(&scene).await;
    let token = TokenFile::mount(&scene, OPERATOR).await;
    connect_to_region(&scene, Scene::CONNECTION, credentials).await;
    lend(&scene, &region, &token).await;
    (scene, region)
}

/// The `sub` of the tokens that STS was shown.
fn subjects(calls: Vec<CallRecord>) -> Vec<String> {
    let shown = |call: CallRecord| match call.identity {
        Some(Identity::OidcSubject { subject }) => Some(subject),
        _ => None,
    };
    calls.into_iter().filter_map(shown).collect()
}

#[tokio::test]
async fn the_operators_own_role_ends_a_session_once_at_the_regions_own_host() {
    let (scene, region) = lent("lent-own", &by_operator()).await;
    scene.request("inc-1").create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
    scene.assert_killed_once([1]);
    assert!(are_by(&scene.kill_calls(), &role("own")) && are_by(&scene.list_reads(), &role("own")));
    assert_eq!(subjects(asked(&scene)), [subject(OPERATOR.0, OPERATOR.1)], "one key for all");
    assert_eq!(region.hosts(), [STS_HOST, HOST]);
    assert!(scene.gateway().metadata_requests().is_empty());
    scene.end().await;
}

#[tokio::test]
async fn the_nodes_role_ends_a_session_once_and_its_key_is_never_asked_for_without_a_token() {
    let name = "lent-node";
    let scene = scene_with(name, |sts| lending(sts, name)).await;
    let region = Region::of(&scene).await;
    let token = TokenFile::mount(&scene, OPERATOR).await;
    scene.gateway().inject(Fault::new(FaultKind::Status5xx).on("PutMetadataToken"));
    connect_to_region(&scene, Scene::CONNECTION, &by_node()).await;
    lend(&scene, &region, &token).await;
    scene.request("inc-1").create().await;
    scene.wait_for_reason("inc-1", "MetadataUnavailable").await;
    scene.gateway().clear_faults();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
    scene.assert_killed_once([1]);
    let node = Identity::InstanceRole { role_arn: instance_role().to_string() };
    assert!(scene.gateway().calls().iter().all(|call| call.identity.as_ref() == Some(&node)));

    // Version 1, which this service has too, would take requests without one.
    let requests = scene.gateway().metadata_requests();
    let (for_tokens, for_keys): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.method == "PUT");
    assert!(for_keys.iter().all(|request| request.has_token), "{requests:?}");
    assert_eq!(for_keys.len(), 2, "the name of the role, and its key: {requests:?}");
    assert!(for_tokens.iter().any(|request| request.http_status != Some(200)), "{requests:?}");
    assert_eq!(region.hosts(), [HOST], "STS has no part in it, and no proxy leads to the metadata service");
    scene.end().await;
}

#[tokio::test]
async fn a_role_that_is_assumed_with_a_lent_identity_is_told_the_cluster_and_the_namespace() {
    for (name, credentials) in [("lent-own-second", by_operator()), ("lent-node-second", by_node())] {
        let (scene, region) = lent(name, &and_role(credentials.clone(), &role("second"))).await;
        scene.request("inc-1").create().await;
        let ended = scene.wait_finished("inc-1").await;
        assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
        assert!(are_by(&scene.kill_calls(), &role("second")) && are_by(&scene.list_reads(), &role("second")));

        connect_to_region(&scene, "elsewhere", &and_role(credentials, &role("elsewhere"))).await;
        scene.request("inc-2").through("elsewhere").sessions([2]).create().await;
        scene.wait_for_reason("inc-2", "RoleNotAssumable").await;
        scene.assert_killed_once([1]);
        let mut hosts = region.hosts();
        hosts.sort();
        assert_eq!(hosts, [HOST, STS_HOST]);
        scene.end().await;
    }
}

/// The role trusts two accounts of the cluster, so that the ledger tells from which token each key is.
#[tokio::test]
async fn a_token_file_that_is_replaced_is_read_anew_at_the_next_renewal() {
    let name = "lent-rotated";
    let scene = scene_with(name, |sts| lending(sts, name).living(LIFETIME)).await;
    account(&scene, true).await;
    let region = Region::of(&scene).await;
    let token = TokenFile::mount(&scene, OPERATOR).await;
    connect_to_region_within(&scene, Scene::CONNECTION, &by_operator(), 1).await;
    lend(&scene, &region, &token).await;
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");

    token.rotate(&scene, (name, ACCOUNT_NAME)).await;
    until(after(1)).await;
    scene.request("inc-2").sessions([2]).create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1, 2]);
    let calls = asked(&scene);
    assert_eq!(issued(&scene), calls.len(), "no token was refused: {calls:?}");
    let mut shown = subjects(calls);
    shown.dedup();
    assert_eq!(shown, [subject(OPERATOR.0, OPERATOR.1), subject(name, ACCOUNT_NAME)]);
    scene.end().await;
}
