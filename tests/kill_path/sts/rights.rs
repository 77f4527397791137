//! Nobody gains what they could not do themselves: what was not granted, labelled or lent is not used, and nothing is asked of
//! anybody for it.

use serde_json::json;
use sessionkill::api::OceanBaseConnection;
use testbed::gateway::sts::standard::provider;

use super::region::connect_to_region;
use super::{ACCOUNT_NAME, account, asked, by_account, connect, grant_tokens, launch, operator, role, scene};
use crate::scene::{Request as _, Scene, Shown as _, eventually};

/// What the connection says of its credentials.
async fn told(scene: &Scene, reason: &str, words: &str) {
    let connection = scene.wait_for_connection(&format!("CredentialsValid=False({reason})")).await;
    let message = &connection.condition("CredentialsValid").unwrap().message;
    assert!(message.contains(words), "{message}");
}

#[tokio::test]
async fn a_service_account_that_is_not_labelled_gives_no_token_until_it_is() {
    let scene = scene("sts-unlabelled").await;
    account(&scene, false).await;
    grant_tokens(&scene, ACCOUNT_NAME).await;
    connect(&scene, &by_account()).await;
    operator(&scene).await;
    scene.request("inc-1").create().await;
    let waits = scene.wait_for_reason("inc-1", "ServiceAccountUnavailable").await;
    assert!(waits.message().contains("kubectl label serviceaccount ob-kill"), "{}", waits.message());
    told(&scene, "ServiceAccountUnavailable", "is not labelled for this use").await;
    assert!(asked(&scene).is_empty(), "no token was made of it");
    account(&scene, true).await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// The label alone is not enough: its namespace's editors can set it on any ServiceAccount.
#[tokio::test]
async fn a_service_account_that_was_not_granted_by_its_name_gives_no_token() {
    let scene = scene("sts-ungranted").await;
    account(&scene, true).await;
    grant_tokens(&scene, "another").await;
    connect(&scene, &by_account()).await;
    operator(&scene).await;
    told(&scene, "ServiceAccountUnavailable", "by rbac.serviceAccountTokens of the chart").await;
    assert!(asked(&scene).is_empty());
    scene.end().await;
}

#[tokio::test]
async fn a_role_that_trusts_another_service_account_is_not_had() {
    let scene = scene("sts-foreign").await;
    account(&scene, true).await;
    grant_tokens(&scene, ACCOUNT_NAME).await;
    let mut credentials = by_account();
    credentials["serviceAccountRef"]["roleARN"] = role("kill").to_string().into();
    connect(&scene, &credentials).await;
    operator(&scene).await;
    told(&scene, "RoleNotAssumable", "the subject system:serviceaccount:sts-foreign:ob-kill").await;
    scene.request("inc-1").create().await;
    scene.wait_for_reason("inc-1", "RoleNotAssumable").await;
    scene.assert_nothing_sent();
    assert!(scene.gateway().metadata_requests().is_empty(), "the node's role is no substitute");
    scene.end().await;
}

#[tokio::test]
async fn what_the_operator_does_not_lend_to_a_namespace_is_not_even_asked_for() {
    let scene = scene("sts-not-lent").await;
    let own = role("kill").to_string();
    let mut launch = launch(&scene);
    launch.variables.extend([
        format!("SESSIONKILL_ALLOW_IDENTITIES=another={own},another=instance"),
        format!("ALIBABA_CLOUD_OIDC_PROVIDER_ARN={}", provider()),
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE=/dev/null".to_owned(),
    ]);
    scene.launch(launch).await;
    let cases = [
        ("own", json!({"operatorIdentity": {"roleARN": own}}), own.as_str()),
        ("node", json!({"instanceRole": {}}), "instance"),
    ];
    for (name, credentials, lent) in cases {
        connect_to_region(&scene, name, &credentials).await;
        let words = format!("--allow-identity sts-not-lent={lent}");
        eventually("the connection to say why", async || {
            let connection = scene.api::<OceanBaseConnection>().get(name).await.unwrap();
            match connection.condition("CredentialsValid") {
                Some(it) if it.reason == "IdentityNotAllowed" && it.message.contains(&words) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        scene.request(name).through(name).create().await;
        scene.wait_for_reason(name, "IdentityNotAllowed").await;
    }
    assert!(scene.gateway().calls().is_empty() && scene.gateway().metadata_requests().is_empty());
    scene.end().await;
}
