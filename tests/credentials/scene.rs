//! Keys whose token service, metadata service and Kubernetes are the test's.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use sessionkill::api::WaitReason;
use sessionkill::backends::access_key::AccessKey;
use sessionkill::backends::credentials::{
    Calls, Identity, Issue, Issued, Issuer, Keys, OperatorToken, Place, ServiceAccountTokens, SourceName, StsAction,
    TokenError, Unavailable, Watch,
};
use sessionkill::oceanbase::{Endpoint, Transports};

use crate::server::{Answer, LIMIT, Request, Server};

pub const KEY_ID: &str = "LTAI5tCanaryKeyID0000001";
pub const KEY_SECRET: &str = "canary-secret-of-the-base";
pub const ROLE: &str = "acs:ram::123456789012:role/sessionkill";
pub const SECOND: &str = "acs:ram::123456789012:role/second";
pub const PROVIDER: &str = "acs:ram::123456789012:oidc-provider/ack-rrsa-c0ffee";

/// Keys, and the server that is everything else.
pub struct Scene {
    pub server: Server,
    pub keys: Keys,
    pub told: Arc<Told>,
    pub tokens: Arc<Tokens>,
    issuer: Arc<Counted>,
}

/// Counts the renewals that have begun.
struct Counted {
    issuer: Issuer,
    begun: AtomicUsize,
}

impl Issue for Counted {
    fn issue<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Issued, Unavailable>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.issuer.issue(identity)
    }
}

/// What was told of renewals: the source, and the reason why there is no key.
#[derive(Default)]
pub struct Told {
    pub renewals: Mutex<Vec<(SourceName, Option<WaitReason>)>>,
    pub calls: Mutex<Vec<StsAction>>,
}

impl Watch for Told {
    fn renewed(&self, identity: &Identity, result: &Result<(), Unavailable>) {
        let reason = result.as_ref().err().map(|why| why.reason);
        self.renewals.lock().unwrap().push((identity.source(), reason));
    }

    fn called(&self, action: StsAction, _: Duration) {
        self.calls.lock().unwrap().push(action);
    }
}

/// Gives tokens with numbers, unless a `ServiceAccount` has none.
#[derive(Default)]
pub struct Tokens {
    pub given: Mutex<Vec<(String, String)>>,
    pub refusal: Mutex<Option<TokenError>>,
}

impl ServiceAccountTokens for Tokens {
    fn token<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<SecretString, TokenError>> {
        async move {
            if let Some(refusal) = self.refusal.lock().unwrap().clone() {
                return Err(refusal);
            }
            let mut given = self.given.lock().unwrap();
            given.push((namespace.to_owned(), name.to_owned()));
            Ok(token(given.len()).into())
        }
        .boxed()
    }
}

/// The token with this number, as the API server would write it in a file.
pub fn token(number: usize) -> String {
    format!("eyJhbGciOiJSUzI1NiJ9.canary-token-{number}.c2ln\n")
}

impl Scene {
    /// With `server` as the token service and as the metadata service.
    pub fn of(server: Server) -> Self {
        Self::with_operator(server, None)
    }

    /// The same, and the operator's Pod has a token in this file.
    pub fn with_operator(server: Server, token_file: Option<PathBuf>) -> Self {
        // Ignore the error: another test has installed a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (told, tokens) = (Arc::<Told>::default(), Arc::<Tokens>::default());
        let operator = token_file.map(|token_file| OperatorToken { provider_arn: PROVIDER.to_owned(), token_file });
        let named = Endpoint::parse(&server.url).unwrap();
        let transports = Arc::new(Transports::new(None));
        let issuer = Issuer::new(transports, tokens.clone(), operator, Some(&named), told.clone());
        let issuer = Arc::new(Counted { issuer, begun: AtomicUsize::new(0) });
        let keys = Keys::new(issuer.clone(), told.clone());
        Self { server, keys, told, tokens, issuer }
    }

    /// The identity with this spec, in the namespace `shop`. `more` are other fields of `spec.alibabaCloud`.
    pub fn identity(&self, spec: impl Into<Value>, more: &Value) -> Identity {
        let mut cloud = json!({"regionID": "cn-hangzhou", "credentials": spec.into()});
        cloud.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let cloud: sessionkill::api::AlibabaCloud = serde_json::from_value(cloud).unwrap();
        let named = Endpoint::parse(&self.server.url).unwrap();
        let place =
            Place { namespace: "shop", connection: "prod", cluster: Some("c0ffee"), sts_endpoint: Some(&named) };
        Identity::of(&cloud.credentials.identity, Calls::All, &cloud, &place, Some(base_key())).unwrap()
    }

    /// The key that a call of at most `call` gets.
    pub async fn key_for(&self, identity: &Identity, call: Duration) -> Result<AccessKey, Unavailable> {
        let got = self.keys.access_key(identity, call);
        tokio::time::timeout(LIMIT, got).await.expect("nobody answers")
    }

    /// The key that a call of at most 10 s gets.
    pub async fn key(&self, identity: &Identity) -> Result<AccessKey, Unavailable> {
        self.key_for(identity, Duration::from_secs(10)).await
    }

    /// Why there is no key.
    pub async fn why(&self, identity: &Identity) -> Unavailable {
        self.key(identity).await.map(|key| key.id).unwrap_err()
    }

    /// Sets all clocks of this test forward but the wall's, once no renewal is under way.
    pub async fn later(&self, by: Duration) {
        let idle = async {
            loop {
                // A renewal that was just begun has its turn first.
                tokio::task::yield_now().await;
                let ended = self.told.renewals.lock().unwrap().len();
                if self.issuer.begun.load(Ordering::SeqCst) == ended {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, idle).await.expect("a renewal does not end");
        tokio::time::pause();
        tokio::time::advance(by).await;
        tokio::time::resume();
    }
}

/// The access key in the Secret.
pub fn base_key() -> AccessKey {
    AccessKey { id: KEY_ID.to_owned(), secret: KEY_SECRET.into(), security_token: None }
}

/// A role that is assumed with the key of the Secret.
pub fn assumed() -> Value {
    json!({"secretRef": {"name": "ak"}, "assumeRole": {"roleARN": ROLE}})
}

/// The role of a `ServiceAccount`.
pub fn of_account() -> Value {
    json!({"serviceAccountRef": {"name": "ob-kill", "roleARN": ROLE, "oidcProviderARN": PROVIDER}})
}

/// The role of the node.
pub fn of_node() -> Value {
    json!({"instanceRole": {}})
}

/// The key with this number, which lives for `seconds`, as it is written.
pub fn key_of(number: usize, seconds: i64) -> Value {
    json!({
        "AccessKeyId": format!("STS.Issued{number}"),
        "AccessKeySecret": format!("canary-issued-secret-{number}"),
        "SecurityToken": format!("canary-issued-token-{number}/+=="),
        "Expiration": (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string(),
    })
}

/// Answers `request` with such a key, whoever is asked: STS, or the metadata service in three steps.
pub fn issued(request: &Request, number: usize, seconds: i64) -> Answer {
    let key = key_of(number, seconds);
    let body = match request.target.as_str() {
        "/latest/api/token" => "canary-metadata-token==".to_owned(),
        "/latest/meta-data/ram/security-credentials/" => "KubernetesWorkerRole-fake\n".to_owned(),
        target if target.starts_with("/latest/") => {
            let mut key = key;
            key["Code"] = "Success".into();
            key.to_string()
        }
        _ => json!({"RequestId": "R", "Credentials": key}).to_string(),
    };
    Answer(200, &[], body)
}

/// The error of STS with this code.
pub fn refusal(status: u16, code: &str) -> Answer {
    Answer(status, &[], json!({"Code": code, "Message": "why", "RequestId": "R-1", "HostId": "sts"}).to_string())
}
