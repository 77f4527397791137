//! Who may assume which role, and what the key is then good for.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use testbed::gateway::{
    Fault, FaultKind, Identity, StsOptions,
    sts::{
        roles::{Role, RoleArn},
        standard::{EXTERNAL_ID, external_role, forbidden_role, oidc_role, role},
    },
};

use crate::{
    ground::{gateway, standard},
    signed::Key,
};

const POLICY: &str =
    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oceanbase:Describe*","Resource":"*"}]}"#;

fn assumed(role: &RoleArn) -> Identity {
    Identity::AssumedRole { role_arn: role.to_string(), session_name: "kills".into() }
}

#[tokio::test]
async fn a_role_is_assumed_only_by_whom_it_trusts() {
    let gateway = gateway(standard()).await;
    let own = Key::own();
    let unknown = RoleArn::new("1", "kill");
    let external = [("ExternalId", EXTERNAL_ID)];
    for (status, code, role, more) in [
        (200, "OK", role(), &[][..]),
        (200, "OK", role(), &external[..]),
        (200, "OK", external_role(), &external[..]),
        (403, "NoPermission", external_role(), &[("ExternalId", "cluster-2/default")][..]),
        (403, "NoPermission", external_role(), &[][..]),
        (403, "NoPermission", forbidden_role(), &external[..]),
        (403, "NoPermission", oidc_role(), &[][..]),
        (404, "EntityNotExist.Role", unknown, &[][..]),
    ] {
        let answer = own.assume(&gateway, &role, more).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{role} {more:?}");
    }
}

#[tokio::test]
async fn what_a_session_may_not_be_is_refused() {
    let long = Role { max_session_seconds: 7200, ..Role::new(role()).trusting("testbed") };
    let gateway = gateway(StsOptions { roles: vec![long], ..StsOptions::default() }).await;
    let policy = format!("{POLICY} ").repeat(40);
    for (code, more) in [
        ("OK", ("DurationSeconds", "7200")),
        ("OK", ("Policy", POLICY)),
        ("InvalidParameter.DurationSeconds", ("DurationSeconds", "7201")),
        ("InvalidParameter.DurationSeconds", ("DurationSeconds", "899")),
        ("InvalidParameter.DurationSeconds", ("DurationSeconds", "soon")),
        ("InvalidParameter.PolicyGrammar", ("Policy", "{}")),
        ("InvalidParameter.PolicyGrammar", ("Policy", policy.as_str())),
        ("InvalidParameter.RoleSessionName", ("RoleSessionName", "a/b")),
        ("InvalidParameter.RoleArn", ("RoleArn", "acs:ram::1:user/kill")),
        ("MissingRoleArn", ("RoleArn", "")),
        ("MissingRoleSessionName", ("RoleSessionName", "")),
    ] {
        // The last one of a repeated parameter counts.
        let answer = Key::own().assume(&gateway, &role(), &[more]).await;
        assert_eq!(answer.code(), code, "{more:?}");
    }
}

#[tokio::test]
async fn a_temporary_key_is_good_for_calls_and_the_ledger_tells_whose_it_is() {
    let gateway = gateway(standard()).await;
    let key = Key::own().assume(&gateway, &role(), &[]).await.key();
    assert_eq!(key.list(&gateway).await, "OK");
    assert_eq!(key.kill(&gateway).await, "OK");
    assert_eq!(gateway.kills_per_session().len(), 1);
    let who = key.who(&gateway).await.body;
    assert_eq!(who["Arn"], "acs:ram::123456789012:assumed-role/kill/kills");
    assert_eq!(Key::own().who(&gateway).await.body["Arn"], "acs:ram::123456789012:user/testbed");

    let own = Identity::AccessKey { id: "testbed".into() };
    let callers: Vec<_> = gateway.calls().into_iter().map(|call| (call.action.unwrap(), call.identity)).collect();
    let expected = [
        ("AssumeRole", own.clone()),
        ("DescribeProcessStatsComposition", assumed(&role())),
        ("KillProcessList", assumed(&role())),
        ("GetCallerIdentity", assumed(&role())),
        ("GetCallerIdentity", own),
    ];
    assert_eq!(callers, expected.map(|(action, identity)| (action.to_owned(), Some(identity))));
    let shown = serde_json::to_value(assumed(&role())).unwrap();
    let role_arn = role().to_string();
    assert_eq!(shown, json!({"kind": "assumedRole", "roleArn": role_arn, "sessionName": "kills"}));
}

#[tokio::test]
async fn a_temporary_key_needs_its_own_secret_and_token() {
    let gateway = gateway(standard()).await;
    let key = Key::own().assume(&gateway, &role(), &[]).await.key();
    let other = Key::own().assume(&gateway, &role(), &[]).await.key();
    assert_ne!(key, other);
    for (code, wrong) in [
        ("SignatureDoesNotMatch", Key { secret: other.secret, ..key.clone() }),
        ("InvalidSecurityToken.MismatchWithAccessKey", Key { token: other.token, ..key.clone() }),
        ("MissingSecurityToken", Key { token: None, ..key.clone() }),
        ("InvalidAccessKeyId.NotFound", Key { id: "STS.nobody".into(), ..key.clone() }),
    ] {
        assert_eq!(wrong.kill(&gateway).await, code);
        assert_eq!(gateway.calls().pop().unwrap().identity, None, "{code}");
    }
    assert!(gateway.kills_per_session().is_empty());
}

#[tokio::test]
async fn a_key_lives_as_long_as_the_gateway_says_and_is_then_refused_with_the_chosen_code() {
    let gateway = gateway(standard().living(Duration::from_mins(5))).await;
    let key = Key::own().assume(&gateway, &role(), &[("DurationSeconds", "3600")]).await.key();
    assert_eq!(key.list(&gateway).await, "OK");
    gateway.inject(Fault::new(FaultKind::ClockSkew).skewed(SignedDuration::from_secs(301)));
    for (chosen, code) in [
        (None, "InvalidSecurityToken.Expired"),
        (Some("InvalidAccessKeyId.NotFound"), "InvalidAccessKeyId.NotFound"),
        (Some("InvalidParameter"), "InvalidParameter"),
    ] {
        if let Some(chosen) = chosen {
            gateway.inject(Fault::new(FaultKind::ExpiredCode).with_code(chosen));
        }
        assert_eq!(key.kill(&gateway).await, code);
        let answer = key.assume(&gateway, &role(), &[]).await;
        assert_eq!(answer.code(), code);
        let tells = answer.body["Message"].as_str().unwrap().contains("SecurityToken.Expired");
        assert_eq!(tells, code == "InvalidParameter");
    }
    assert!(gateway.kills_per_session().is_empty());
    // The clock is ahead for new keys, too.
    assert_eq!(Key::own().assume(&gateway, &role(), &[]).await.key().list(&gateway).await, "OK");
}

#[tokio::test]
async fn a_session_may_only_do_what_its_policy_names() {
    let gateway = gateway(standard()).await;
    let key = Key::own().assume(&gateway, &role(), &[("Policy", POLICY)]).await.key();
    assert_eq!(key.list(&gateway).await, "OK");
    assert_eq!(key.kill(&gateway).await, "Forbidden.RAM");
    assert!(gateway.kills_per_session().is_empty());
    assert_eq!(key.who(&gateway).await.status, 200);
}

#[tokio::test]
async fn a_second_role_is_assumed_with_the_key_of_the_first() {
    let (first, second) = (RoleArn::new("1", "first"), RoleArn::new("2", "second"));
    let roles =
        vec![Role::new(first.clone()).trusting("testbed"), Role::new(second.clone()).trusting(&first.to_string())];
    let gateway = gateway(StsOptions { roles, ..StsOptions::default() }).await;
    assert_eq!(Key::own().assume(&gateway, &second, &[]).await.code(), "NoPermission");
    let key = Key::own().assume(&gateway, &first, &[]).await.key();
    assert_eq!(Key { token: None, ..key.clone() }.assume(&gateway, &second, &[]).await.code(), "MissingSecurityToken");
    let key = key.assume(&gateway, &second, &[]).await.key();
    assert_eq!(key.kill(&gateway).await, "OK");
    assert_eq!(gateway.calls().pop().unwrap().identity, Some(assumed(&second)));

    let limited = Key::own().assume(&gateway, &first, &[("Policy", POLICY)]).await.key();
    assert_eq!(limited.assume(&gateway, &second, &[]).await.code(), "NoPermission", "its policy does not name it");
}

#[tokio::test]
async fn without_sts_there_is_none() {
    let gateway = testbed::gateway::Gateway::start(testbed::gateway::GatewayOptions::default()).await.unwrap();
    assert_eq!(Key::own().assume(&gateway, &role(), &[]).await.code(), "NoSuchVersion");
    assert_eq!(gateway.metadata_address(), None);
}
