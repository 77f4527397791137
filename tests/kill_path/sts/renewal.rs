//! Keys that renew themselves: kills go on over their ends, and over an outage of STS.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use testbed::gateway::{Fault, FaultKind};

use super::{
    ACCOUNT_NAME, account, asked, by_account, by_role, connect, connect_within, grant_tokens, issued, operator, role,
    scene, scene_with,
};
use crate::scene::{ACCOUNT_TOKEN, ISSUED_TOKEN, Launch, Request as _, Scene, eventually, until};

/// How long keys live here.
pub(super) const LIFETIME: Duration = Duration::from_secs(6);

async fn short_lived(name: &str) -> Scene {
    let scene = scene_with(name, |sts| sts.living(LIFETIME)).await;
    scene.good_secret().await;
    connect_within(&scene, &by_role(&role("kill")), 1).await;
    scene
}

/// The time in this many lifetimes.
pub(super) fn after(lifetimes: u32) -> Timestamp {
    Timestamp::now() + SignedDuration::try_from(LIFETIME * lifetimes).unwrap()
}

/// Kills a session a second until `end`, the first of them `first`. Returns the next one.
async fn kill_until(scene: &Scene, first: i64, end: Timestamp) -> i64 {
    let mut number = first;
    while Timestamp::now() < end {
        let name = format!("inc-{number}");
        scene.request(&name).sessions([number]).create().await;
        let ended = scene.wait_finished(&name).await;
        assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
        number += 1;
        until(Timestamp::now() + SignedDuration::from_secs(1)).await;
    }
    number
}

#[tokio::test]
async fn kills_go_on_over_the_ends_of_three_keys_and_there_is_one_renewal_for_each() {
    let scene = short_lived("sts-expiries").await;
    operator(&scene).await;
    let began = Timestamp::now();
    let killed = kill_until(&scene, 1, after(3)).await;
    scene.assert_killed_once(1..killed);
    let lifetimes = Timestamp::now().duration_since(began).as_secs_f64() / LIFETIME.as_secs_f64();
    let (renewals, calls) = (issued(&scene), scene.gateway().calls().len());
    // A key is renewed when a quarter of its life is left at the latest, and when it would not outlive a call.
    #[allow(clippy::cast_precision_loss, reason = "a few")]
    let per_lifetime = renewals as f64 / lifetimes;
    assert!((0.9..=3.0).contains(&per_lifetime), "{renewals} renewals in {lifetimes} lifetimes, {calls} calls");
    assert!(scene.kill_calls().iter().all(|call| call.http_status == Some(200)), "{:?}", scene.kill_calls());
    scene.end().await;
}

#[tokio::test]
async fn an_outage_of_two_lifetimes_is_over_when_sts_is_back() {
    let scene = short_lived("sts-outage").await;
    operator(&scene).await;
    let next = kill_until(&scene, 1, Timestamp::now()).await;
    let first = scene.request("before");
    first.sessions([50]).create().await;
    assert_eq!(scene.wait_finished("before").await.reason(), "SessionsKilled");
    scene.gateway().inject(Fault::new(FaultKind::Status5xx).on("AssumeRole"));
    until(after(2)).await;
    scene.request("during").sessions([next]).create().await;
    let waits = scene.wait_for_reason("during", "CredentialsExpired").await;
    assert!(waits.message().contains("gives no access key"), "{}", waits.message());
    scene.wait_for_connection("CredentialsValid=False(CredentialsExpired)").await;
    scene.gateway().clear_faults();
    assert_eq!(scene.wait_finished("during").await.reason(), "SessionsKilled");
    scene.assert_killed_once([50, next]);
    scene.end().await;
}

#[tokio::test]
async fn an_outage_is_not_noticed_while_a_key_is_valid() {
    let scene = scene("sts-short-outage").await;
    scene.good_secret().await;
    connect(&scene, &by_role(&role("kill"))).await;
    operator(&scene).await;
    scene.request("inc-1").create().await;
    scene.wait_finished("inc-1").await;
    scene.gateway().inject(Fault::new(FaultKind::Status5xx).on("AssumeRole"));
    scene.request("inc-2").sessions([2]).create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "SessionsKilled");
    assert_eq!(asked(&scene).len(), 1);
    scene.end().await;
}

#[tokio::test]
async fn a_key_that_is_revoked_is_renewed_once_and_the_kill_is_sent_once_more_whatever_the_code() {
    for (name, code) in [
        ("sts-revoked", "InvalidSecurityToken.Expired"),
        ("sts-not-found", "InvalidAccessKeyId.NotFound"),
        ("sts-missing", "MissingSecurityToken"),
    ] {
        let scene = scene(name).await;
        scene.good_secret().await;
        connect(&scene, &by_role(&role("kill"))).await;
        operator(&scene).await;
        scene.request("inc-1").create().await;
        scene.wait_finished("inc-1").await;
        // A key that was refused sooner than this after it was issued is not taken for an old one.
        until(Timestamp::now() + SignedDuration::from_secs(6)).await;
        scene.inject(Fault::new(FaultKind::Error).answering(400, code).times(1));
        scene.request("inc-2").sessions([2]).create().await;
        let ended = scene.wait_finished("inc-2").await;
        assert_eq!(ended.reason(), "SessionsKilled", "{code}: {}", ended.message());
        assert_eq!(issued(&scene), 2, "{code}: {:?}", asked(&scene));
        assert_eq!(scene.calls_for(2).len(), 2, "refused once, executed once");
        scene.assert_killed_once([1, 2]);
        scene.end().await;
    }
}

#[tokio::test]
async fn keys_that_are_all_refused_are_not_asked_for_again_and_again() {
    let scene = scene("sts-all-refused").await;
    scene.good_secret().await;
    connect(&scene, &by_role(&role("kill"))).await;
    operator(&scene).await;
    scene.gateway().inject(Fault::new(FaultKind::ExpireTokens));
    scene.request("inc-1").create().await;
    scene.wait_for_reason("inc-1", "CredentialsRejected").await;
    until(Timestamp::now() + SignedDuration::from_secs(10)).await;
    assert!(issued(&scene) <= 4, "{:?}", asked(&scene));
    scene.gateway().clear_faults();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

/// The token of a ServiceAccount, the key of its role and that of a second role: every scene looks for them in logs, Events and
/// objects at its end.
#[tokio::test]
async fn no_key_and_no_token_is_told_even_when_everything_is_logged() {
    let scene = scene("sts-canaries").await;
    account(&scene, true).await;
    grant_tokens(&scene, ACCOUNT_NAME).await;
    let mut credentials = by_account();
    credentials["assumeRole"] = json!({"roleARN": role("kill").to_string()});
    connect(&scene, &credentials).await;
    let operator = scene.launch(Launch { log: Some("trace"), ..super::launch(&scene) }).await;
    for (number, fault) in [
        None,
        Some(Fault::new(FaultKind::Error).answering(400, "InvalidSecurityToken.Expired").times(1)),
        Some(Fault::new(FaultKind::Error).answering(400, "SignatureDoesNotMatch").times(1)),
        Some(Fault::new(FaultKind::Html).times(1)),
    ]
    .into_iter()
    .enumerate()
    {
        if let Some(fault) = fault {
            scene.inject(fault);
        }
        let number = i64::try_from(number).unwrap() + 1;
        let name = format!("inc-{number}");
        scene.request(&name).sessions([number]).create().await;
        scene.wait_finished(&name).await;
    }
    assert!(!scene.issued_keys().is_empty());
    eventually("the logs to tell of renewals", async || {
        let logs = scene.logs();
        if logs.contains("access key renewed") && logs.contains("TRACE") { Ok(()) } else { Err(logs) }
    })
    .await;
    let metrics = Scene::metrics(&operator).await;
    assert!(metrics.contains("sessionkill_credential_renewals_total"), "{metrics}");
    for told in scene.issued_keys().iter().map(String::as_str).chain([ISSUED_TOKEN, ACCOUNT_TOKEN]) {
        assert!(!metrics.contains(told), "{told} is in the metrics");
    }
    scene.end().await;
}
