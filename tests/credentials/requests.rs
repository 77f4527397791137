//! What we send has the parameters of the official clients' requests, and a right signature. What they sent is right by our
//! own signing, unless they are known to sign it wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use sessionkill::api::IdentitySpec;
use sessionkill::backends::access_key::AccessKey;
use sessionkill::backends::credentials::oidc_token::OidcToken;
use sessionkill::backends::credentials::secret_ref::SecretKey;
use sessionkill::backends::credentials::source::Role;
use sessionkill::backends::credentials::sts::{Federated, Sts};
use sessionkill::backends::credentials::{Base, Identity};
use sessionkill::oceanbase::Transports;
use sessionkill::oceanbase::signature::v1;
use testbed::gateway::request::decode_pairs;
use testbed::gateway::verify::{self, Authorization, SignedRequest};

use crate::recordings::{Recorded, Recordings};
use crate::scene::{PROVIDER, ROLE, Scene, assumed, issued, of_account, of_node};
use crate::server::{Answer, Request, Server};

/// The parameters that say what is asked for.
const BUSINESS: [&str; 7] =
    ["DurationSeconds", "ExternalId", "OIDCProviderArn", "OIDCToken", "Policy", "RoleArn", "RoleSessionName"];

/// The parameters that differ each time.
const FRESH: [&str; 3] = ["Timestamp", "SignatureNonce", "Signature"];

/// The parameters of a request with these names.
fn only(params: &BTreeMap<String, String>, names: &[&str]) -> BTreeMap<String, String> {
    params.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn names(pairs: &[(String, String)]) -> BTreeSet<&str> {
    pairs.iter().map(|(name, _)| name.as_str()).collect()
}

async fn scene() -> Scene {
    Scene::of(Server::answering(|number, request| issued(request, number, 3600)).await)
}

fn sts() -> Sts {
    Sts::new(Arc::new(Transports::new(None)), Arc::new(()))
}

/// The identity that would send `recorded`, and the key that it is signed with.
fn identity(scene: &Scene, recorded: &Recorded, v1: bool) -> (Identity, Role, AccessKey) {
    let signed = recorded.signature.as_ref().unwrap();
    let credential = || recorded.header("authorization")?.split("Credential=").nth(1)?.split(',').next();
    let id = recorded.param("AccessKeyId").or_else(|| credential().map(str::to_owned)).unwrap();
    let key = AccessKey {
        id,
        secret: signed.access_key_secret.as_str().into(),
        security_token: recorded.param("SecurityToken").map(Into::into),
    };
    let mut identity = scene.identity(assumed(), &json!({}));
    identity.base = Base::Secret(SecretKey::new("ak", key.clone()));
    identity.policy = recorded.param("Policy");
    identity.session_name = recorded.param("RoleSessionName").unwrap();
    identity.sts.signature_v1 = v1;
    let seconds = recorded.param("DurationSeconds").unwrap().parse().unwrap();
    let role = Role {
        arn: recorded.param("RoleArn").unwrap(),
        external_id: recorded.param("ExternalId"),
        duration: Duration::from_secs(seconds),
    };
    (identity, role, key)
}

/// The one request that came of `send`.
fn sent(scene: &Scene, before: usize) -> Request {
    let asked = scene.server.asked();
    assert_eq!(asked.len(), before + 1, "one request");
    asked[before].clone()
}

/// Whether the signature of a V1 request is right.
fn is_signed_v1(method: &str, params: &[(String, String)], secret: &SecretString) -> bool {
    verify::v1(method, params, secret).is_ok()
}

/// Whether the signature of a V3 request is right.
fn is_signed_v3(method: &str, target: &str, headers: &[(String, String)], body: &str, secret: &SecretString) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let authorization = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization")).unwrap();
    let request = SignedRequest { method, path, query: &decode_pairs(query), headers, body: body.as_bytes() };
    verify::v3(&request, &Authorization::parse(&authorization.1).unwrap(), secret).is_ok()
}

/// What the official client sent is right by our signing, or wrong where it is known to be.
fn verify_recorded(recorded: &Recorded) {
    let Some(signature) = &recorded.signature else { return };
    let secret = SecretString::from(signature.access_key_secret.as_str());
    let mut params = decode_pairs(recorded.target.split_once('?').map_or("", |(_, query)| query));
    params.extend(decode_pairs(&recorded.body));
    let is_right = match signature.version.as_str() {
        "V1" => {
            let borrowed = || params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let string_to_sign = v1::string_to_sign(&recorded.method, &v1::canonical(borrowed()));
            assert_eq!(Some(string_to_sign), signature.string_to_sign, "{}", recorded.id);
            if let Some(correct) = &signature.correct {
                assert_eq!(v1::signature(&recorded.method, borrowed(), &secret), *correct, "{}", recorded.id);
            }
            is_signed_v1(&recorded.method, &params, &secret)
        }
        "V3" => is_signed_v3(&recorded.method, &recorded.target, &recorded.headers, &recorded.body, &secret),
        _ => {
            assert!(!params.iter().any(|(name, _)| name == "Signature" || name == "AccessKeyId"), "{}", recorded.id);
            assert_eq!(signature.expect, "accepted without a signature", "{}", recorded.id);
            return;
        }
    };
    assert_eq!(is_right, signature.expect == "match", "{}", recorded.id);
}

/// By V1, as a connection with HMAC-SHA1.
async fn assume_role_v1(scene: &Scene, recorded: &Recorded) {
    let (identity, role, key) = identity(scene, recorded, true);
    let before = scene.server.count();
    sts().assume_role(&identity, &role, &key).await.unwrap();
    let request = sent(scene, before);
    let (ours, mut theirs) = (request.params(), recorded.params.clone());
    if recorded.signature.as_ref().unwrap().version == "V1" {
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{}", recorded.id);
        theirs.retain(|name, _| !FRESH.contains(&name.as_str()));
        let same: BTreeMap<_, _> =
            ours.clone().into_iter().filter(|(name, _)| !FRESH.contains(&name.as_str())).collect();
        assert_eq!(same, theirs, "{}", recorded.id);
    }
    // What is secret is in the body, but for the signature.
    let query = request.query();
    assert!(
        !names(&query).iter().any(|name| BUSINESS.contains(name) || *name == "SecurityToken"),
        "{}",
        request.target
    );
    assert!(is_signed_v1("POST", &[request.query(), request.form()].concat(), &key.secret));
    assert_eq!((request.method.as_str(), request.target.split('?').next().unwrap()), ("POST", "/"));
}

/// By V3, as the generated client.
async fn assume_role_v3(scene: &Scene, recorded: &Recorded) {
    let (identity, role, key) = identity(scene, recorded, false);
    let before = scene.server.count();
    sts().assume_role(&identity, &role, &key).await.unwrap();
    let request = sent(scene, before);
    assert_eq!(only(&request.params(), &BUSINESS), only(&recorded.params, &BUSINESS), "{}", recorded.id);
    let query = request.query();
    assert!(names(&query).iter().all(|name| BUSINESS.contains(name)), "{}", request.target);
    let header = |name| request.header(name);
    assert_eq!((header("x-acs-action"), header("x-acs-version")), (Some("AssumeRole"), Some("2015-04-01")));
    let token = recorded.param("SecurityToken");
    assert_eq!(header("x-acs-security-token"), token.as_deref(), "{}", recorded.id);
    assert_eq!((request.method.as_str(), request.body.as_str(), header("content-type")), ("POST", "", None));
    assert!(is_signed_v3("POST", &request.target, &request.headers, "", &key.secret), "{}", recorded.id);
}

async fn assume_role_with_oidc(scene: &Scene, recorded: &Recorded) {
    let mut identity = scene.identity(
        json!({"serviceAccountRef": {"name": "k", "roleARN": ROLE, "oidcProviderARN": PROVIDER}, "sessionPolicy": "None"}),
        &json!({}),
    );
    identity.session_name = recorded.param("RoleSessionName").unwrap();
    let token = OidcToken::new(&recorded.param("OIDCToken").unwrap().into()).unwrap();
    let (role_arn, provider_arn) = (recorded.param("RoleArn").unwrap(), recorded.param("OIDCProviderArn").unwrap());
    let federated = Federated { role_arn: &role_arn, provider_arn: &provider_arn };
    let before = scene.server.count();
    sts().assume_role_with_oidc(&identity, federated, &token).await.unwrap();
    let request = sent(scene, before);
    let mut theirs = only(&recorded.params, &BUSINESS);
    let trimmed = theirs["OIDCToken"].trim_end().to_owned();
    theirs.insert("OIDCToken".to_owned(), trimmed);
    assert_eq!(request.form().into_iter().collect::<BTreeMap<_, _>>(), theirs, "{}", recorded.id);
    let query = request.query();
    assert_eq!(names(&query), BTreeSet::from(["Action", "Format", "Timestamp", "Version"]));
    let common = ["Action", "Version"];
    assert_eq!(only(&request.params(), &common), only(&recorded.params, &common), "{}", recorded.id);
    assert!(request.header("authorization").is_none() && request.header("x-acs-security-token").is_none());
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
}

const TOKEN: &str = "x-aliyun-ecs-metadata-token";

/// Each step that the clients take with a token, we take with one.
async fn metadata(scene: &Scene, recorded: &Recorded) {
    let before = scene.server.count();
    let mut node = scene.identity(of_node(), &json!({}));
    // Another identity each time, so that a key is issued each time.
    node.session_name.clone_from(&recorded.id);
    scene.key(&node).await.unwrap();
    let asked = &scene.server.asked()[before..];
    let path = recorded
        .target
        .trim_end_matches('?')
        .replace("/security-credentials/r", "/security-credentials/KubernetesWorkerRole-fake");
    let ours = asked.iter().find(|it| it.method == recorded.method && it.target == path).unwrap();
    if recorded.method == "PUT" {
        let seconds: u32 = ours.header("x-aliyun-ecs-metadata-token-ttl-seconds").unwrap().parse().unwrap();
        assert!((1..=21_600).contains(&seconds) && ours.header(TOKEN).is_none());
    } else {
        // Whether or not the client, without a token, fell back to version 1.
        assert_eq!(ours.header(TOKEN), Some("canary-metadata-token=="), "{}", recorded.id);
    }
    assert!(ours.body.is_empty());
}

#[tokio::test]
async fn what_we_send_is_what_the_official_clients_send_or_safer() {
    let scene = scene().await;
    let mut tried = BTreeMap::<&str, usize>::new();
    let recordings = Recordings::read();
    for recorded in &recordings.requests {
        verify_recorded(recorded);
        *tried.entry(recorded.operation.as_str()).or_default() += 1;
        match recorded.operation.as_str() {
            "AssumeRole" => {
                assume_role_v1(&scene, recorded).await;
                assume_role_v3(&scene, recorded).await;
            }
            "AssumeRoleWithOIDC" => assume_role_with_oidc(&scene, recorded).await,
            "metadata token" | "metadata role name" | "metadata credentials" => metadata(&scene, recorded).await,
            // We neither ask who we are, nor have keys from a URL that somebody names, nor follow redirects.
            "GetCallerIdentity" => {}
            "credentials URI" | "credentials URI, sent on after a redirect" => {
                let uri = json!({"credentialsURI": format!("http://creds.local{}", recorded.target)});
                let error = serde_json::from_value::<IdentitySpec>(uri).unwrap_err().to_string();
                assert!(error.contains("unknown field `credentialsURI`"), "{error}");
            }
            "AssumeRoleWithOIDC, sent on after a redirect" => nothing_is_sent_on(&recorded.target).await,
            other => panic!("{other} is not tried"),
        }
    }
    assert_eq!(tried.values().sum::<usize>(), 30);
    assert_eq!((tried["AssumeRole"], tried["AssumeRoleWithOIDC"]), (14, 6));
}

/// A redirect by the token service is an answer that is no key, and nobody else hears of the token.
async fn nothing_is_sent_on(path: &str) {
    let thief = Server::answering(|_, request| issued(request, 7, 3600)).await;
    let location: &'static str = Box::leak(format!("{}{path}", thief.url).into_boxed_str());
    let headers: &'static [(&str, &str)] = Box::leak(Box::new([("location", location)]));
    for status in [301, 302, 303, 307, 308] {
        let scene = Scene::of(Server::answering(move |_, _| Answer(status, headers, String::new())).await);
        for spec in [of_account(), assumed(), of_node()] {
            let why = scene.why(&scene.identity(spec, &json!({}))).await;
            assert!(why.message.contains(&format!("HTTP {status}")), "{why}");
        }
        assert_eq!(scene.server.count(), 3);
    }
    assert_eq!(thief.count(), 0);
}
