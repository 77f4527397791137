//! Keys that STS issues: for the token of a ServiceAccount, or for another key. Real tokens of the real API server are verified with
//! its keys, and the gateway's ledger says who made each call.

mod check;
mod lent;
mod page;
mod region;
mod renewal;
mod rights;
mod sources;
mod token_file;

use serde_json::{Value, json};
use testbed::control_plane::ISSUER;
use testbed::gateway::sts::roles::{Role, RoleArn};
use testbed::gateway::sts::standard::provider;
use testbed::gateway::{CallRecord, Identity, StsOptions};
use testbed::operator::Operator;
use testbed::rrsa::{self, subject};

use std::sync::Arc;

use crate::scene::{KEY_ID, Launch, Scene};

/// The account of the roles.
const ACCOUNT: &str = "123456789012";
/// The ServiceAccount of a scene that gives tokens.
const ACCOUNT_NAME: &str = "ob-kill";
/// The actions by which STS issues keys.
const ISSUING: [&str; 2] = ["AssumeRole", "AssumeRoleWithOIDC"];

/// A role of the account.
fn role(name: &str) -> RoleArn {
    RoleArn::new(ACCOUNT, name)
}

/// A scene whose gateway is STS too: the role `oidc` trusts the ServiceAccount, `kill` the access key and `oidc`, `external` the
/// access key with the external ID `e-1`, and `nobody` nobody.
async fn scene(name: &str) -> Scene {
    scene_with(name, |sts| sts).await
}

async fn scene_with(name: &str, change: impl FnOnce(StsOptions) -> StsOptions) -> Scene {
    let scene = Scene::bare(name).await;
    let oidc = role("oidc").to_string();
    let roles = vec![
        Role::new(role("oidc")).trusting_subject(&provider(), &subject(name, ACCOUNT_NAME)),
        Role::new(role("kill")).trusting(KEY_ID).trusting(&oidc),
        Role::new(role("external")).trusting_with(KEY_ID, "e-1"),
        Role::new(role("nobody")),
    ];
    let standard = StsOptions::standard(&[]).with_tokens_of(ISSUER, scene.cluster.control_plane.kubeconfig());
    scene.with_sts(change(StsOptions { roles, ..standard })).await
}

/// Credentials by the ServiceAccount.
fn by_account() -> Value {
    rrsa::credentials(ACCOUNT_NAME, &role("oidc"), &provider())
}

/// Credentials by a role that is assumed with the key of the Secret.
fn by_role(arn: &RoleArn) -> Value {
    json!({"secretRef": {"name": Scene::SECRET}, "assumeRole": {"roleARN": arn.to_string()}})
}

/// Writes the connection with these credentials.
async fn connect(scene: &Scene, credentials: &Value) {
    connect_within(scene, credentials, 5).await;
}

/// The same, and a call may take this many seconds.
async fn connect_within(scene: &Scene, credentials: &Value, request_timeout_seconds: u32) {
    scene.connection(json!({"credentials": credentials, "requestTimeoutSeconds": request_timeout_seconds})).await;
}

/// Starts an operator that asks the scene's STS and metadata service.
async fn operator(scene: &Scene) -> Arc<Operator> {
    scene.launch(launch(scene)).await
}

fn launch(scene: &Scene) -> Launch<'static> {
    let variables = vec![
        format!("SESSIONKILL_STS_ENDPOINT={}", scene.gateway_url()),
        format!("SESSIONKILL_METADATA_ENDPOINT={}", scene.metadata_url()),
    ];
    Launch { variables, ..Launch::default() }
}

/// Creates the ServiceAccount, with or without the label.
async fn account(scene: &Scene, is_labelled: bool) {
    put_account(scene, ACCOUNT_NAME, is_labelled).await;
}

/// The same for another name.
async fn put_account(scene: &Scene, name: &str, is_labelled: bool) {
    apply(scene, &[rrsa::account(&scene.namespace, name, is_labelled)]).await;
}

/// Lets the operators make tokens of this ServiceAccount, as the chart does.
async fn grant_tokens(scene: &Scene, of: &str) {
    apply(scene, &rrsa::token_right(&scene.namespace, of)).await;
}

async fn apply(scene: &Scene, objects: &[Value]) {
    for object in objects {
        scene.cluster.control_plane.apply(&object.to_string()).await.unwrap();
    }
}

/// The calls by which STS was asked for keys.
fn asked(scene: &Scene) -> Vec<CallRecord> {
    let is_issuing = |call: &CallRecord| call.action.as_deref().is_some_and(|action| ISSUING.contains(&action));
    scene.gateway().calls().into_iter().filter(is_issuing).collect()
}

/// Those that were answered with a key.
fn issued(scene: &Scene) -> usize {
    asked(scene).iter().filter(|call| call.http_status == Some(200)).count()
}

/// Whether the calls were made in a session of this role.
fn are_by(calls: &[CallRecord], arn: &RoleArn) -> bool {
    let wanted = arn.to_string();
    let is_by = |call: &CallRecord| matches!(&call.identity, Some(Identity::AssumedRole { role_arn, .. }) if *role_arn == wanted);
    !calls.is_empty() && calls.iter().all(is_by)
}
