//! Long lives: over many expiries, over an outage, and with codes that do not say that a key has expired.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use sessionkill::api::WaitReason;
use sessionkill::backends::access_key::AccessKey;
use sessionkill::backends::addresses::Addresses;
use sessionkill::backends::credentials::secret_ref::SecretKey;
use sessionkill::backends::credentials::{Base, Identity};
use sessionkill::oceanbase::error_codes::may_mean_expired;
use sessionkill::oceanbase::{Access, CallError, Client, ClientOptions, Endpoint, Tenant};
use tokio::sync::Notify;

use crate::scene::{Scene, assumed, issued, of_account, of_node, refusal};
use crate::server::{Answer, LIMIT, Request, Server};

const SECOND: Duration = Duration::from_secs(1);

/// The ID of the key that signed `request`.
fn signed_by(request: &Request) -> String {
    let authorization = request.header("authorization").unwrap_or_default();
    authorization.split("Credential=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default().to_owned()
}

/// Lists the sessions of a gateway with `key`.
async fn list(gateway: &Server, key: &AccessKey) -> Result<(), CallError> {
    let options = ClientOptions { request_timeout: LIMIT, addresses: Addresses::Any, proxy: None };
    let endpoint = Endpoint::parse(&gateway.url).unwrap();
    let access = Access { endpoint, access_key: key.clone(), signature_v1: false };
    let tenant = Tenant { instance_id: "ob1".to_owned(), tenant_id: "t1".to_owned() };
    let client = Client::new(&options).unwrap();
    client.list_sessions(&tenant, (|_| true, &[]), SignedDuration::ZERO, &access).await.map(drop)
}

const EMPTY: &str = r#"{"RequestId":"R","Data":{"AllProcessList":[]}}"#;

/// A gateway that knows only the key with this number, and refuses others with `code`.
async fn gateway(valid: Arc<AtomicUsize>, code: &'static str, message: &'static str) -> Server {
    Server::answering(move |_, request| {
        if signed_by(request) == format!("STS.Issued{}", valid.load(Ordering::SeqCst)) {
            Answer(200, &[], EMPTY.to_owned())
        } else {
            Answer(404, &[], json!({"Code": code, "Message": message, "RequestId": "R"}).to_string())
        }
    })
    .await
}

#[tokio::test]
async fn calls_go_on_over_expiries_whatever_an_expired_key_is_called() {
    for (code, message) in [
        ("InvalidAccessKeyId.NotFound", "Specified access key is not found."),
        ("InvalidSecurityToken.Expired", "expired"),
        ("InvalidParameter", "code: SecurityToken.Expired"),
        ("MissingSecurityToken", "none"),
    ] {
        let scene = Scene::of(Server::answering(|number, request| issued(request, number, 21_600)).await);
        let identity = scene.identity(assumed(), &json!({}));
        let valid = Arc::new(AtomicUsize::new(0));
        let gateway = gateway(valid.clone(), code, message).await;
        for expiry in 0..4 {
            valid.store(expiry, Ordering::SeqCst);
            let key = scene.key(&identity).await.unwrap();
            if expiry > 0 {
                let error = list(&gateway, &key).await.unwrap_err();
                assert!(error.kind.is_not_executed() && may_mean_expired(&error, &key), "{error}");
                assert!(scene.keys.rejected(&identity, &key), "a new attempt is worth while");
            }
            let key = scene.key(&identity).await.unwrap();
            list(&gateway, &key).await.unwrap();
            assert_eq!(scene.server.count(), expiry + 1, "one renewal for each");
            scene.later(Duration::from_secs(1000)).await;
        }
    }
}

#[tokio::test]
async fn short_keys_are_renewed_once_each_lifetime_and_not_at_each_call() {
    for (spec, steps) in [(assumed(), 1), (of_account(), 1), (of_node(), 3)] {
        let scene = Scene::of(Server::answering(|number, request| issued(request, number, 5)).await);
        let identity = scene.identity(spec, &json!({}));
        for _ in 0..240 {
            scene.key_for(&identity, SECOND).await.unwrap();
            scene.later(SECOND / 4).await;
        }
        let renewals = scene.server.count() / steps;
        // In 60 s: each is used until a call of 1 s, and a quarter of its life, are left.
        assert!((12..=30).contains(&renewals), "{renewals}");
    }
}

#[tokio::test]
async fn an_outage_of_two_lifetimes_ends_by_itself() {
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let server = Server::answering(move |number, request| {
        if down.load(Ordering::SeqCst) { refusal(503, "ServiceUnavailable") } else { issued(request, number, 900) }
    });
    let scene = Scene::of(server.await);
    let identity = scene.identity(of_account(), &json!({}));
    scene.key(&identity).await.unwrap();
    is_down.store(true, Ordering::SeqCst);
    let mut without = 0;
    for _ in 0..180 {
        match scene.key(&identity).await {
            Ok(key) => assert_eq!((key.id.as_str(), without), ("STS.Issued0", 0), "the valid key is kept"),
            Err(why) => {
                assert_eq!(why.reason, WaitReason::CredentialsExpired, "{why}");
                without += 1;
            }
        }
        scene.later(10 * SECOND).await;
    }
    assert!(without > 90, "{without}");
    is_down.store(false, Ordering::SeqCst);
    scene.later(61 * SECOND).await;
    assert!(scene.key(&identity).await.is_ok());
}

/// Holds its answers back until it is told.
async fn slow_gateway() -> (Server, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let waits = go.clone();
    let server = Server::start(move |_, _| {
        let waits = waits.clone();
        Box::pin(async move {
            waits.notified().await;
            Answer(200, &[], EMPTY.to_owned())
        })
    });
    (server.await, go)
}

#[tokio::test]
async fn a_connection_in_use_changes_its_key_and_a_call_under_way_ends_with_its_old_one() {
    let scene = Scene::of(Server::answering(|number, request| issued(request, number, 900)).await);
    let identity = scene.identity(assumed(), &json!({}));
    let (gateway, go) = slow_gateway().await;
    let first = scene.key(&identity).await.unwrap();
    let under_way = {
        let (gateway, first) = (gateway.clone(), first.clone());
        tokio::spawn(async move { list(&gateway, &first).await })
    };
    while gateway.count() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(scene.keys.rejected(&identity, &first));
    let second = scene.key(&identity).await.unwrap();
    assert_ne!(second.id, first.id);
    go.notify_one();
    under_way.await.unwrap().unwrap();
    let asked = gateway.asked();
    assert_eq!((asked.len(), signed_by(&asked[0])), (1, first.id), "sent once");
    // And so on, without a restart.
    let mut keys = std::collections::HashSet::new();
    for _ in 0..40 {
        keys.insert(scene.key(&identity).await.unwrap().id);
        scene.later(100 * SECOND).await;
    }
    assert!((5..=8).contains(&keys.len()), "{keys:?}");
}

#[tokio::test]
async fn at_most_four_calls_of_sts_are_made_at_once_and_each_namespace_has_its_turn() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (now.clone(), most.clone());
    let server = Server::start(move |number, request| {
        let (now, most, answer) = (counted.clone(), peak.clone(), issued(request, number, 900));
        Box::pin(async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    });
    let scene = Scene::of(server.await);
    let identities = (0..30).map(|number| {
        let mut identity = scene.identity(assumed(), &json!({}));
        identity.namespace = format!("namespace-{}", number % 5);
        identity.session_name = format!("sk-{number}");
        identity
    });
    let identities: Vec<_> = identities.collect();
    let keys = futures::future::join_all(identities.iter().map(|identity| scene.key(identity))).await;
    assert!(keys.iter().all(Result::is_ok));
    assert_eq!(scene.server.count(), 30);
    assert!((2..=4).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[tokio::test]
async fn a_corrected_secret_is_tried_at_once_and_a_refused_one_is_not_tried_again() {
    let server = Server::answering(|number, request| {
        if signed_by(request).ends_with('1') {
            refusal(400, "SignatureDoesNotMatch")
        } else {
            issued(request, number, 900)
        }
    });
    let scene = Scene::of(server.await);
    let wrong = scene.identity(assumed(), &json!({}));
    for _ in 0..10 {
        assert_eq!(scene.why(&wrong).await.reason, WaitReason::CredentialsRejected);
    }
    assert_eq!(scene.server.count(), 1);
    let corrected = AccessKey { id: "LTAI5tCanaryKeyID0000002".to_owned(), secret: "s".into(), security_token: None };
    let right = Identity { base: Base::Secret(SecretKey::new("ak", corrected)), ..wrong };
    assert!(scene.key(&right).await.is_ok());
}
