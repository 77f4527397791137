//! Each source gives keys, to whoever may have them.

use kube::api::DeleteParams;
use serde_json::json;
use sessionkill::api::OceanBaseConnection;
use testbed::gateway::Identity;

use super::{
    ACCOUNT_NAME, account, are_by, asked, by_account, by_role, connect, grant_tokens, issued, operator, role, scene,
};
use crate::scene::{Request as _, Scene, Shown as _, eventually};

#[tokio::test]
async fn a_service_account_ends_sessions_and_there_is_no_key_anywhere() {
    let scene = scene("sts-account").await;
    account(&scene, true).await;
    grant_tokens(&scene, ACCOUNT_NAME).await;
    connect(&scene, &by_account()).await;
    operator(&scene).await;
    scene.wait_for_connection("CredentialsValid=True(CredentialsAccepted)").await;
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    assert!(are_by(&scene.kill_calls(), &role("oidc")), "{:?}", scene.kill_calls());
    assert!(are_by(&scene.list_reads(), &role("oidc")));
    assert_eq!(issued(&scene), 1, "one key for all: {:?}", asked(&scene));
    let Some(Identity::AssumedRole { session_name, .. }) = scene.kill_calls().remove(0).identity else { panic!() };
    assert_eq!(session_name, "sk-sts-account-prod-ob");
    scene.end().await;
}

#[tokio::test]
async fn a_service_account_may_assume_a_second_role_and_no_third() {
    let scene = scene("sts-chain").await;
    account(&scene, true).await;
    grant_tokens(&scene, ACCOUNT_NAME).await;
    let mut credentials = by_account();
    credentials["assumeRole"] = json!({"roleARN": role("kill").to_string()});
    connect(&scene, &credentials).await;
    operator(&scene).await;
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    assert!(are_by(&scene.kill_calls(), &role("kill")));
    let actions: Vec<_> = asked(&scene).into_iter().filter_map(|call| call.action).collect();
    assert_eq!(actions, ["AssumeRoleWithOIDC", "AssumeRole"]);
    scene.end().await;
}

#[tokio::test]
async fn a_role_is_assumed_with_the_key_of_a_secret_and_the_right_external_id_only() {
    let scene = scene("sts-external").await;
    scene.good_secret().await;
    connect(&scene, &by_role(&role("external"))).await;
    operator(&scene).await;
    let refused = scene.wait_for_connection("CredentialsValid=False(RoleNotAssumable)").await;
    let message = &refused.condition("CredentialsValid").unwrap().message;
    assert!(message.contains(&format!("role {} cannot be assumed", role("external"))), "{message}");
    scene.request("inc-1").create().await;
    scene.wait_for_reason("inc-1", "RoleNotAssumable").await;
    assert!(scene.kill_calls().is_empty() && scene.list_reads().is_empty());
    let mut credentials = by_role(&role("external"));
    credentials["assumeRole"]["externalID"] = "e-1".into();
    scene.edit_connection(json!({"spec": {"alibabaCloud": {"credentials": credentials}}})).await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    assert!(are_by(&scene.kill_calls(), &role("external")));
    assert!(scene.gateway().metadata_requests().is_empty(), "a refused source is replaced by no other");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn whoever_lists_need_not_be_able_to_kill_and_a_dry_run_never_kills_with_it() {
    let scene = scene("sts-observe").await;
    account(&scene, true).await;
    grant_tokens(&scene, ACCOUNT_NAME).await;
    scene.good_secret().await;
    let mut credentials = by_role(&role("kill"));
    credentials["observe"] = by_account();
    connect(&scene, &credentials).await;
    operator(&scene).await;
    scene.request("dry").dry_run().create().await;
    scene.wait_finished("dry").await;
    assert!(are_by(&scene.list_reads(), &role("oidc")));
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    assert!(are_by(&scene.kill_calls(), &role("kill")));
    assert!(are_by(&scene.list_reads(), &role("oidc")));
    scene.end().await;
}

/// Those who look do not wait for those who end: a `DryRun` goes on, also in one batch with a kill that cannot.
#[tokio::test]
async fn a_dry_run_needs_no_key_that_ends_sessions() {
    let scene = scene("sts-observe-alone").await;
    account(&scene, true).await;
    grant_tokens(&scene, ACCOUNT_NAME).await;
    scene.good_secret().await;
    let mut credentials = by_role(&role("nobody"));
    credentials["observe"] = by_account();
    connect(&scene, &credentials).await;
    let first = operator(&scene).await;
    let refused = "CredentialsValid=False(RoleNotAssumable)";
    scene.wait_for_connection(refused).await;
    scene.request("inc-1").create().await;
    scene.wait_for_reason("inc-1", "RoleNotAssumable").await;
    scene.request("dry").dry_run().create().await;
    assert_eq!(scene.wait_finished("dry").await.reason(), "DryRunCompleted");
    assert!(are_by(&scene.list_reads(), &role("oidc")));
    // Together, after a restart.
    first.stop().await;
    scene.request("dry-2").dry_run().create().await;
    operator(&scene).await;
    assert_eq!(scene.wait_finished("dry-2").await.reason(), "DryRunCompleted");
    scene.wait_for_connection(refused).await;
    scene.wait_for_reason("inc-1", "RoleNotAssumable").await;
    credentials["assumeRole"]["roleARN"] = role("kill").to_string().into();
    scene.edit_connection(json!({"spec": {"alibabaCloud": {"credentials": credentials}}})).await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// Otherwise an object could not be deleted while its role is gone.
#[tokio::test]
async fn objects_can_be_deleted_while_no_key_can_be_had() {
    let scene = scene("sts-dead").await;
    scene.good_secret().await;
    connect(&scene, &by_role(&role("nobody"))).await;
    operator(&scene).await;
    scene.request("inc-1").create().await;
    scene.wait_for_reason("inc-1", "RoleNotAssumable").await;
    scene.delete("inc-1").await;
    let connections = scene.api::<OceanBaseConnection>();
    connections.delete(Scene::CONNECTION, &DeleteParams::default()).await.unwrap();
    eventually("the connection to be gone", async || match connections.get_opt(Scene::CONNECTION).await.unwrap() {
        None => Ok(()),
        Some(there) => Err(format!("{there:?}")),
    })
    .await;
    scene.assert_nothing_sent();
    scene.end().await;
}
