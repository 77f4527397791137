//! Calls to the testbed's gateway, which checks signatures, tokens, time stamps and nonces as Alibaba's does.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sessionkill::oceanbase::{Access, Called, Client, ErrorKind, KillCall, TimeSource};
use testbed::gateway::{self, Gateway, GatewayOptions, request::SignatureVersion};

use crate::calls::{KEY_ID, Permit, SECRET, TOKEN, access, ambiguous, answered, client, kill, not_executed};

/// A gateway with the canary key. With `token`, it is a temporary key.
pub async fn start(token: Option<&str>) -> Gateway {
    let key = gateway::AccessKey { id: KEY_ID.into(), secret: SECRET.into(), token: token.map(Into::into) };
    Gateway::start(GatewayOptions { access_keys: vec![key], ..GatewayOptions::default() }).await.unwrap()
}

/// A client with a time-out of 30 s, longer than any answer takes.
pub fn fast() -> Client {
    client(Duration::from_secs(30))
}

/// Access to `gateway`.
pub fn signed(gateway: &Gateway, v1: bool, token: Option<&str>) -> Access {
    let mut access = access(&gateway.url());
    access.signature_v1 = v1;
    access.access_key.security_token = token.map(Into::into);
    access
}

#[tokio::test]
async fn both_signatures_are_accepted_with_and_without_a_token() {
    for (v1, version) in [(false, SignatureVersion::V3), (true, SignatureVersion::V1)] {
        for token in [None, Some(TOKEN)] {
            let gateway = start(token).await;
            let called = fast().kill(Permit::valid(), &kill(), &signed(&gateway, v1, token)).await;
            let answer = answered(called);
            let rows: Vec<_> =
                answer.rows.iter().map(|row| (row.seen.session_id, row.error_message.as_str())).collect();
            assert_eq!(rows, [(3_221_614_618, ""), (3_221_555_062, "")]);
            assert_eq!(answer.rows[0].seen.sql_text, "SELECT region, SUM(amount) FROM orders GROUP BY region");

            let calls = gateway.calls();
            assert_eq!(calls.len(), 1);
            assert_eq!(calls[0].signature_version, version);
            assert_eq!(calls[0].action.as_deref(), Some("KillProcessList"));
            assert_eq!(calls[0].request_id, answer.request_id);
            assert!(gateway.kills_per_session().values().all(|kills| *kills == 1));
            assert_eq!(gateway.kills_per_session().len(), 2);
        }
    }
}

#[tokio::test]
async fn refused_credentials_give_the_permit_back() {
    let gateway = start(Some(TOKEN)).await;
    for v1 in [false, true] {
        let right = signed(&gateway, v1, Some(TOKEN));
        let mut wrong_secret = right.clone();
        wrong_secret.access_key.secret = "canary-secret-of-yesterday".into();
        let mut unknown_key = right.clone();
        unknown_key.access_key.id = "LTAI-canary-of-yesterday".into();
        let wrong_token = signed(&gateway, v1, Some("canary-token-of-yesterday"));
        let no_token = signed(&gateway, v1, None);
        for (access, code) in [
            (wrong_secret, "SignatureDoesNotMatch"),
            (unknown_key, "InvalidAccessKeyId.NotFound"),
            (wrong_token, "InvalidSecurityToken"),
            (no_token, "MissingSecurityToken"),
        ] {
            let error = not_executed(fast().kill(Permit::valid(), &kill(), &access).await);
            assert_eq!(error.kind, ErrorKind::CredentialsRejected, "{error}");
            assert!(error.code.starts_with(code), "{error}");
        }
    }
    assert_eq!(gateway.kills_per_session().len(), 0);
}

/// The process was paused after its last check of the clock, so its permit still shows time left.
#[tokio::test]
async fn the_gateway_itself_refuses_a_request_after_its_dispatch_deadline() {
    let gateway = start(None).await;
    for v1 in [false, true] {
        let late = Permit { deadline: Timestamp::now() - SignedDuration::from_secs(2), ..Permit::valid() };
        let error = not_executed(fast().kill(late, &kill(), &signed(&gateway, v1, None)).await);
        assert!(matches!(error.kind, ErrorKind::ClockRefused { server_time: Some(_) }), "{error:?}");
    }
    assert_eq!(gateway.kills_per_session().len(), 0);
}

#[tokio::test]
async fn a_gateway_whose_clock_differs_is_called_by_its_own_clock() {
    let gateway = start(None).await;
    let lead = SignedDuration::from_hours(1);
    gateway.inject(gateway::Fault::new(gateway::FaultKind::ClockSkew).skewed(lead));
    let access = signed(&gateway, false, None);
    let permit = Permit::valid();
    let seed = permit.seed.clone();
    let error = not_executed(fast().kill(permit, &kill(), &access).await);
    let ErrorKind::ClockRefused { server_time: Some(gateway_time) } = error.kind else { panic!("{error}") };
    let time_source = TimeSource::CurrentTime { gateway_lead: gateway_time.duration_since(Timestamp::now()) };
    let kill = KillCall { time_source, request: 1, ..kill() };
    answered(fast().kill(Permit { seed, ..Permit::valid() }, &kill, &access).await);
    assert_eq!(gateway.kills_per_session().len(), 2);
}

#[tokio::test]
async fn a_copy_of_a_request_is_not_executed_and_not_taken_for_a_refusal() {
    let gateway = start(None).await;
    let permit = Permit::valid();
    let access = signed(&gateway, false, None);
    answered(fast().kill(permit.clone(), &kill(), &access).await);
    // The first copy was executed, so this answer must not count as proof that nothing was.
    ambiguous(fast().kill(permit, &kill(), &access).await, "SignatureNonceUsed");
    assert!(gateway.kills_per_session().values().all(|kills| *kills == 1));
}

#[tokio::test]
async fn session_ids_and_texts_of_all_kinds_reach_the_gateway_unchanged() {
    let gateway = start(None).await;
    for v1 in [false, true] {
        gateway.clear_calls();
        let mut kill = kill();
        kill.target.tenant.tenant_id = "租户 +&=%/~*'\"".to_owned();
        let named = vec![("fd00::1".to_owned(), 1), ("10.0.0.1".to_owned(), 9_007_199_254_740_991)];
        kill.target.sessions = named.iter().cloned().map(Into::into).collect();
        let called = fast().kill(Permit::valid(), &kill, &signed(&gateway, v1, None)).await;
        // The signature is valid, so only the tenant is wrong.
        assert!(matches!(&called, Called::NotExecuted(_, error) if error.kind == ErrorKind::Rejected), "{called:?}");
        let call = gateway.calls().remove(0);
        assert_eq!(call.tenant, Some(kill.target.tenant.tenant_id));
        let sessions: Vec<_> = call.sessions.into_iter().map(|it| (it.server_ip, it.session_id)).collect();
        assert_eq!(sessions, named);
    }
}
