//! The metadata service: tokens, role, keys.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use testbed::gateway::{
    Fault, FaultKind, Gateway, Identity, StsOptions,
    sts::{
        instance::{Access, InstanceRole},
        standard::{instance_role, role},
    },
};

use crate::{
    ground::{eventually, gateway, standard},
    signed::{Key, client},
};

const TTL: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aliyun-ecs-metadata-token";

fn url(gateway: &Gateway, path: &str) -> String {
    format!("http://{}/latest/{path}", gateway.metadata_address().unwrap())
}

fn keys_path() -> String {
    format!("meta-data/ram/security-credentials/{}", instance_role().name)
}

/// The status and the text of the answer.
async fn send(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn put(gateway: &Gateway, ttl: &str) -> (u16, String) {
    send(client().put(url(gateway, "api/token")).header(TTL, ttl)).await
}

async fn get(gateway: &Gateway, path: &str, token: Option<&str>) -> (u16, String) {
    let request = client().get(url(gateway, path));
    send(token.into_iter().fold(request, |request, token| request.header(TOKEN, token))).await
}

/// The members of the key that the instance has now.
async fn members(gateway: &Gateway) -> Value {
    let (_, token) = put(gateway, "60").await;
    let (status, text) = get(gateway, &keys_path(), Some(&token)).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Sets the gateway's clock ahead.
fn pass(gateway: &Gateway, seconds: i64) {
    gateway.clear_faults();
    gateway.inject(Fault::new(FaultKind::ClockSkew).skewed(SignedDuration::from_secs(seconds)));
}

#[tokio::test]
async fn a_token_leads_to_the_role_and_to_a_key_that_calls_are_signed_with() {
    let gateway = gateway(standard()).await;
    let (status, token) = put(&gateway, "21600").await;
    assert_eq!(status, 200);
    let roles = "meta-data/ram/security-credentials/";
    assert_eq!(get(&gateway, roles, Some(&token)).await, (200, instance_role().name));
    let key = Key::of(&members(&gateway).await);
    assert_eq!(key.kill(&gateway).await, "OK");
    let identity = Identity::InstanceRole { role_arn: instance_role().to_string() };
    assert_eq!(gateway.calls()[0].identity.as_ref(), Some(&identity));
    assert_eq!(key.assume(&gateway, &role(), &[]).await.key().list(&gateway).await, "OK", "the role trusts it");

    let asked: Vec<_> =
        gateway.metadata_requests().iter().map(|it| (it.action, it.has_token, it.http_status)).collect();
    let put = (Some("PutMetadataToken"), false, Some(200));
    let (role, key) = (Some("GetInstanceRole"), Some("GetInstanceCredentials"));
    assert_eq!(asked, [put, (role, true, Some(200)), put, (key, true, Some(200))]);
}

#[tokio::test]
async fn without_a_good_token_nothing_is_told() {
    let gateway = gateway(standard()).await;
    for ttl in ["0", "21601", "", "long"] {
        assert_eq!(put(&gateway, ttl).await.0, 400, "{ttl}");
    }
    assert_eq!(send(client().put(url(&gateway, "api/token"))).await.0, 400);
    let (_, token) = put(&gateway, "60").await;
    for path in ["meta-data/ram/security-credentials/".to_owned(), keys_path()] {
        assert_eq!(get(&gateway, &path, None).await.0, 403, "{path}");
        assert_eq!(get(&gateway, &path, Some("other")).await.0, 403, "{path}");
        assert_eq!(get(&gateway, &path, Some(&token)).await.0, 200, "{path}");
    }
    assert_eq!(get(&gateway, &(keys_path() + "2"), Some(&token)).await.0, 404);
    pass(&gateway, 61);
    assert_eq!(get(&gateway, &keys_path(), Some(&token)).await.0, 403, "the token has expired");
}

#[tokio::test]
async fn a_token_is_optional_where_version_1_is_served() {
    let instance = InstanceRole { access: Access::TokenOptional, ..InstanceRole::new(instance_role()) };
    let gateway = gateway(StsOptions { instance: Some(instance), ..standard() }).await;
    assert_eq!(get(&gateway, &keys_path(), None).await.0, 200);
    assert_eq!(get(&gateway, &keys_path(), Some("other")).await.0, 403);
}

#[tokio::test]
async fn the_key_changes_in_the_middle_of_its_life_and_is_good_to_the_end() {
    let gateway = gateway(standard().living(Duration::from_secs(400))).await;
    let first = members(&gateway).await;
    assert_eq!(first["Code"], "Success");
    let expires: Timestamp = first["Expiration"].as_str().unwrap().parse().unwrap();
    let updated: Timestamp = first["LastUpdated"].as_str().unwrap().parse().unwrap();
    assert!((400..=402).contains(&expires.duration_since(updated).as_secs()));
    pass(&gateway, 100);
    assert_eq!(members(&gateway).await, first);
    pass(&gateway, 300);
    let second = members(&gateway).await;
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(Key::of(&first).list(&gateway).await, "OK");
    pass(&gateway, 500);
    assert_eq!(Key::of(&first).list(&gateway).await, "InvalidSecurityToken.Expired");
    assert_eq!(Key::of(&second).list(&gateway).await, "OK");
}

#[tokio::test]
async fn it_misbehaves_as_ordered() {
    let gateway = gateway(standard()).await;
    let ordered = |kind| Fault::new(kind).on("GetInstanceCredentials").times(1);
    let (_, token) = put(&gateway, "60").await;
    let keys = async || get(&gateway, &keys_path(), Some(&token)).await;
    let member = async |name: &str| {
        let (status, text) = keys().await;
        assert_eq!(status, 200);
        serde_json::from_str::<Value>(&text).unwrap()[name].as_str().unwrap().to_owned()
    };
    gateway.inject(ordered(FaultKind::CodeFailed));
    assert_eq!(member("Code").await, "Failed");
    gateway.inject(ordered(FaultKind::PastExpiration));
    assert_eq!(member("Expiration").await, "2020-01-02T03:04:05Z");
    gateway.inject(ordered(FaultKind::Status5xx));
    assert_eq!(keys().await.0, 503);
    gateway.inject(ordered(FaultKind::Throttle).answering(429, "Throttling"));
    assert_eq!(keys().await, (429, "Throttling".into()));
    gateway.inject(ordered(FaultKind::Error).answering(403, "Forbidden"));
    assert_eq!(keys().await.0, 403);
    assert_eq!(gateway.metadata_requests().pop().unwrap().fault.as_deref(), Some("error"));
    assert_eq!(member("Code").await, "Success");

    gateway.inject(Fault::new(FaultKind::Delay).on("PutMetadataToken").delayed(Duration::from_hours(1)));
    let hanging = tokio::spawn(client().put(url(&gateway, "api/token")).header(TTL, "60").send());
    eventually("the request arrives", async || {
        let asked = gateway.metadata_requests().pop().unwrap();
        (asked.action, asked.http_status) == (Some("PutMetadataToken"), None)
    })
    .await;
    assert!(!hanging.is_finished());
    hanging.abort();
}
