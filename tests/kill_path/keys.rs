//! An access key is sent only where it belongs. The Secret says which of its keys is the ID, only the ID is sent as an
//! ID, and calls go only to the product's own hosts or to hosts that an operator flag allows.

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sessionkill::api::OceanBaseConnection;

use crate::scene::{KEY_ID, KEY_SECRET, Request as _, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN, Scene, Shown as _};

/// The product's own host for the region. The tests that use it expect a refusal before any call.
const OWN_HOST: &str = "oceanbasepro.cn-hangzhou.aliyuncs.com";

/// Creates a request through the connection `name` and waits until it waits for `reason`. Its message must have all
/// `words`, and no access key.
async fn waits(scene: &Scene, name: &str, reason: &str, words: &[&str]) {
    scene.request(name).through(name).create().await;
    let waiting = scene.wait_for_reason(name, reason).await;
    for word in words {
        assert!(waiting.message().contains(word), "{word} is missing in: {}", waiting.message());
    }
    for secret in [KEY_ID, KEY_SECRET] {
        assert!(!waiting.message().contains(secret), "{}", waiting.message());
    }
}

#[tokio::test]
async fn the_secret_says_which_of_its_keys_is_which() {
    let scene = Scene::set("named-keys").await;
    let names = json!({
        "sessionkill.dev/access-key-id-key": "ak.id", "sessionkill.dev/access-key-secret-key": "ak.secret",
        "sessionkill.dev/security-token-key": "ak.token",
    });
    let keys =
        [("ak.id", STS_KEY_ID), ("ak.secret", STS_KEY_SECRET), ("ak.token", STS_TOKEN), ("accessKeyID", "other")];
    scene.put_annotated_secret(Scene::SECRET, &names, &keys).await;
    scene.put_annotated_secret("incomplete", &names, &keys[..1]).await;
    scene.put_connection("incomplete", "incomplete", json!({})).await;
    scene.operator().await;
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    let remedy = "secret incomplete has no key ak.secret: add it, or name the key that holds it by its annotation \
                  sessionkill.dev/access-key-secret-key";
    waits(&scene, "incomplete", "CredentialsUnavailable", &[remedy]).await;
    scene.end().await;
}

/// A user who may write connections but not read Secrets must not make the operator send the secret as the ID.
#[tokio::test]
async fn a_connection_cannot_say_which_key_is_the_id() {
    let scene = Scene::set("swapped-keys").await;
    let connections: Api<OceanBaseConnection> = scene.api();
    let swapped = json!({
        "accessKeyIDKey": "accessKeySecret", "accessKeySecretKey": "accessKeyID", "securityTokenKey": "accessKeySecret",
    });
    let swapped = Patch::Merge(json!({"spec": {"alibabaCloud": {"credentials": {"secretRef": swapped}}}}));
    // A client that does not ask for strict field validation, and no admission policy. The result is ignored, as the
    // client's own type cannot read the answer.
    let _ = connections.patch(Scene::CONNECTION, &PatchParams::default(), &swapped).await;
    scene.operator().await;
    scene.request("inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "ConnectionNotFound").await;
    assert!(waiting.message().contains("unknown field `access"), "{}", waiting.message());
    assert!(scene.gateway().calls().is_empty(), "not even a probe goes out");
    let none = json!({"accessKeyIDKey": null, "accessKeySecretKey": null, "securityTokenKey": null});
    let none = Patch::Merge(json!({"spec": {"alibabaCloud": {"credentials": {"secretRef": none}}}}));
    connections.patch(Scene::CONNECTION, &PatchParams::default(), &none).await.unwrap();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    let calls = scene.gateway().calls();
    assert!(!calls.is_empty() && calls.iter().all(|call| call.access_key_id.as_deref() == Some(KEY_ID)));
    scene.end().await;
}

#[tokio::test]
async fn what_does_not_look_like_an_id_is_not_sent_to_the_products_hosts() {
    let scene = Scene::set("no-id").await;
    for (name, keys) in [
        (Scene::CONNECTION, [("accessKeyID", KEY_SECRET), ("accessKeySecret", KEY_ID)]),
        ("twice", [("accessKeyID", KEY_SECRET), ("accessKeySecret", KEY_SECRET)]),
    ] {
        scene.put_secret(name, true, &keys).await;
        scene.put_connection(name, name, json!({"endpoint": OWN_HOST})).await;
    }
    scene.operator().await;
    let no_id =
        "key accessKeyID of secret prod-ob does not hold an AccessKey ID of Alibaba Cloud, which is LTAI or STS.";
    waits(&scene, Scene::CONNECTION, "CredentialsUnavailable", &[no_id]).await;
    let told = scene.wait_for_connection("Ready=False(CredentialsUnavailable)").await;
    let told = &told.condition("Ready").unwrap().message;
    assert!(told.contains(no_id) && !told.contains(KEY_SECRET), "{told}");
    let twice = "keys accessKeyID and accessKeySecret of secret twice hold the same";
    waits(&scene, "twice", "CredentialsUnavailable", &[twice]).await;
    scene.end().await;
}

/// Customers of Alibaba Cloud can have host names there, and read the logs of those hosts.
#[tokio::test]
async fn hosts_and_ports_that_are_not_the_products_own_are_not_called() {
    let scene = Scene::set("other-hosts").await;
    scene.operator().await;
    let endpoints = [
        "anything.oss-cn-hangzhou.aliyuncs.com",
        "oceanbasepro.oss-cn-hangzhou.aliyuncs.com",
        "alb-x.cn-hangzhou.alb.aliyuncs.com:8443",
        "oceanbasepro.cn-hangzhou.aliyuncs.com:8443",
        "http://oceanbasepro.cn-hangzhou.aliyuncs.com",
    ];
    for (number, endpoint) in endpoints.into_iter().enumerate() {
        let name = format!("other-{number}");
        scene.put_connection(&name, Scene::SECRET, json!({"endpoint": endpoint})).await;
        let connection = format!("OceanBaseConnection {name}: ");
        waits(&scene, &name, "EndpointNotAllowed", &[&connection, endpoint, "--allow-endpoint"]).await;
    }
    scene.assert_nothing_sent();
    scene.end().await;
}

/// The signature does not cover the host.
#[tokio::test]
async fn the_older_signature_goes_only_to_endpoints_that_a_flag_names() {
    let scene = Scene::set("older-signature").await;
    scene.connection(json!({"endpoint": OWN_HOST, "signatureMethod": "HMAC-SHA1"})).await;
    scene.operator().await;
    let words = ["signatureMethod HMAC-SHA1 does not cover the host", OWN_HOST, "ACS3-HMAC-SHA256", "--allow-endpoint"];
    waits(&scene, Scene::CONNECTION, "EndpointNotAllowed", &words).await;
    scene.assert_nothing_sent();
    scene.connection(json!({"signatureMethod": "HMAC-SHA1"})).await;
    assert_eq!(scene.wait_finished(Scene::CONNECTION).await.reason(), "SessionsKilled");
    scene.end().await;
}

#[tokio::test]
async fn no_core_of_the_operator_can_be_dumped() {
    let scene = Scene::set("no-core").await;
    let operator = scene.operator().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", operator.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let [soft, hard] = [4, 5].map(|place| core.split_whitespace().nth(place).unwrap());
    assert_eq!((soft, hard), ("0", "0"), "{core}");
    scene.end().await;
}
