//! Each source: what it needs, what it sends, and that none takes the place of another.

use serde_json::json;
use sessionkill::api::WaitReason;
use sessionkill::backends::credentials::{SourceName, StsAction, TokenError};
use testbed::gateway::request::decode_pairs;
use testbed::gateway::verify::{self, Authorization, SignedRequest};

use crate::scene::{
    KEY_ID, PROVIDER, ROLE, SECOND, Scene, assumed, base_key, issued, of_account, of_node, refusal, token,
};
use crate::server::{Answer, Request, Server};

async fn healthy() -> Scene {
    Scene::of(Server::answering(|number, request| issued(request, number, 3600)).await)
}

/// The OIDC token that a request carries, which must be in its body.
fn token_of(request: &Request) -> String {
    assert!(!request.target.contains("canary"), "{}", request.target);
    request.form().into_iter().find(|(name, _)| name == "OIDCToken").unwrap().1
}

/// Whether a V3 request is signed with this secret.
fn is_signed_with(request: &Request, secret: &str) -> bool {
    let (path, query) = request.target.split_once('?').unwrap();
    let authorization = request.header("authorization").unwrap();
    let signed = SignedRequest {
        method: &request.method,
        path,
        query: &decode_pairs(query),
        headers: &request.headers,
        body: request.body.as_bytes(),
    };
    verify::v3(&signed, &Authorization::parse(authorization).unwrap(), &secret.into()).is_ok()
}

#[tokio::test]
async fn the_key_of_a_secret_is_used_as_it_is_and_nobody_is_asked() {
    let scene = healthy().await;
    let identity = scene.identity(json!({"secretRef": {"name": "ak"}}), &json!({}));
    assert_eq!(scene.key(&identity).await.unwrap().id, KEY_ID);
    assert_eq!((scene.server.count(), scene.keys.len()), (0, 0));
    assert!(!scene.keys.rejected(&identity, &base_key()), "whoever read it reads it anew");
}

#[tokio::test]
async fn a_service_account_gets_a_token_for_each_renewal_and_it_goes_in_the_body() {
    let scene = healthy().await;
    let identity = scene.identity(of_account(), &json!({}));
    let key = scene.key(&identity).await.unwrap();
    assert!(scene.keys.rejected(&identity, &key));
    scene.key(&identity).await.unwrap();
    let asked = scene.server.asked();
    assert_eq!(asked.iter().map(token_of).collect::<Vec<_>>(), [1, 2].map(|n| token(n).trim().to_owned()));
    let given = scene.tokens.given.lock().unwrap().clone();
    assert_eq!(given, vec![("shop".to_owned(), "ob-kill".to_owned()); 2], "its own namespace, whatever is asked for");
    let params = asked[0].params();
    assert_eq!((params["RoleArn"].as_str(), params["OIDCProviderArn"].as_str()), (ROLE, PROVIDER));
    assert_eq!((params["RoleSessionName"].as_str(), params["DurationSeconds"].as_str()), ("sk-shop-prod", "3600"));
    assert!(params["Policy"].contains("oceanbase:KillProcessList") && !params.contains_key("ExternalId"));
    assert_eq!(*scene.told.calls.lock().unwrap(), [StsAction::AssumeRoleWithOidc; 2]);
    assert_eq!(*scene.told.renewals.lock().unwrap(), [(SourceName::ServiceAccountRef, None); 2]);
}

#[tokio::test]
async fn a_service_account_that_gives_no_token_has_nothing_sent_for_it() {
    for refusal in [
        TokenError::Refused("service account ob-kill is not labelled for this use".to_owned()),
        TokenError::NoAnswer("no answer within 5 s".to_owned()),
    ] {
        let scene = healthy().await;
        *scene.tokens.refusal.lock().unwrap() = Some(refusal.clone());
        let why = scene.why(&scene.identity(of_account(), &json!({}))).await;
        assert_eq!(why.reason, WaitReason::ServiceAccountUnavailable);
        let (TokenError::Refused(said) | TokenError::NoAnswer(said)) = refusal;
        assert!(why.message.contains(&said), "{why}");
        assert_eq!(scene.server.count(), 0);
    }
}

#[tokio::test]
async fn a_token_that_expired_on_the_way_is_replaced_once() {
    let server = Server::answering(|number, request| match number {
        0 => refusal(401, "AuthenticationFail.OIDCToken.Expired"),
        _ => issued(request, number, 3600),
    });
    let scene = Scene::of(server.await);
    let key = scene.key(&scene.identity(of_account(), &json!({}))).await.unwrap();
    assert_eq!(key.id, "STS.Issued1");
    assert_eq!(token_of(&scene.server.asked()[1]), token(2).trim());
}

#[tokio::test]
async fn the_operators_own_token_is_read_from_its_file_each_time() {
    let directory = testbed::scratch::directory().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, token(1)).unwrap();
    let server = Server::answering(|number, request| issued(request, number, 3600)).await;
    let scene = Scene::with_operator(server, Some(file.clone()));
    let identity = scene.identity(json!({"operatorIdentity": {"roleARN": ROLE}}), &json!({}));
    let key = scene.key(&identity).await.unwrap();
    std::fs::write(&file, token(2)).unwrap();
    assert!(scene.keys.rejected(&identity, &key));
    scene.key(&identity).await.unwrap();
    let asked = scene.server.asked();
    assert_eq!(asked.iter().map(token_of).collect::<Vec<_>>(), [1, 2].map(|n| token(n).trim().to_owned()));
    assert!(scene.tokens.given.lock().unwrap().is_empty());

    for (content, words) in [(None, "No such file"), (Some(""), "0 characters that are no token")] {
        match content {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let mut another = identity.clone();
        words.clone_into(&mut another.session_name);
        let why = scene.why(&another).await;
        assert_eq!(why.reason, WaitReason::ServiceAccountUnavailable);
        assert!(why.message.contains(words), "{why}");
    }
    let without = healthy().await;
    let why = without.why(&identity).await;
    assert!(why.message.contains("ALIBABA_CLOUD_OIDC_TOKEN_FILE are not set"), "{why}");
    assert_eq!(without.server.count(), 0);
}

#[tokio::test]
async fn the_second_role_of_a_chain_is_asked_for_with_the_whole_key_of_the_first() {
    for v1 in [false, true] {
        let scene = healthy().await;
        let mut spec = of_account();
        spec["assumeRole"] = json!({"roleARN": SECOND, "externalID": "ext-1", "durationSeconds": 900});
        let more = if v1 { json!({"signatureMethod": "HMAC-SHA1", "endpoint": "gateway.internal"}) } else { json!({}) };
        let key = scene.key(&scene.identity(spec, &more)).await.unwrap();
        assert_eq!(key.id, "STS.Issued1");
        let asked = scene.server.asked();
        assert_eq!(asked.iter().map(Request::action).collect::<Vec<_>>(), ["AssumeRoleWithOIDC", "AssumeRole"]);
        // A policy of the first key could not let it assume a role.
        assert!(!asked[0].params().contains_key("Policy"));
        let (second, params) = (&asked[1], asked[1].params());
        let said = |name: &str| params.get(name).map(String::as_str);
        assert_eq!((said("RoleArn"), said("ExternalId")), (Some(SECOND), Some("ext-1")));
        assert_eq!(said("DurationSeconds"), Some("900"));
        assert!(params["Policy"].contains("oceanbase:"));
        let (token, secret) = ("canary-issued-token-0/+==", "canary-issued-secret-0");
        if v1 {
            assert_eq!((said("AccessKeyId"), said("SecurityToken")), (Some("STS.Issued0"), Some(token)));
            assert!(!second.target.contains("canary"), "{}", second.target);
            let all: Vec<_> = second.query().into_iter().chain(second.form()).collect();
            assert!(verify::v1("POST", &all, &secret.into()).is_ok());
        } else {
            assert_eq!(second.header("x-acs-accesskey-id"), Some("STS.Issued0"));
            assert_eq!(second.header("x-acs-security-token"), Some(token));
            assert!(is_signed_with(second, secret));
        }
    }
}

#[tokio::test]
async fn lent_rights_assume_a_role_with_the_operators_external_id() {
    let scene = healthy().await;
    let spec = json!({"instanceRole": {}, "assumeRole": {"roleARN": SECOND}});
    scene.key(&scene.identity(spec, &json!({}))).await.unwrap();
    let last = scene.server.asked().pop().unwrap();
    assert_eq!(last.params()["ExternalId"], "c0ffee/shop");
    assert_eq!(last.header("x-acs-accesskey-id"), Some("STS.Issued2"), "the key of the node");
}

#[tokio::test]
async fn a_source_that_is_refused_is_not_replaced_by_another() {
    let directory = testbed::scratch::directory().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, token(1)).unwrap();
    let server = Server::answering(|_, _| refusal(401, "AuthenticationFail.NoPermission")).await;
    let scene = Scene::with_operator(server, Some(file));
    for (number, spec) in
        [of_account(), json!({"operatorIdentity": {"roleARN": ROLE}}), assumed()].into_iter().enumerate()
    {
        let why = scene.why(&scene.identity(spec, &json!({}))).await;
        assert_eq!(why.reason, WaitReason::RoleNotAssumable, "{why}");
        let asked = scene.server.asked();
        assert_eq!(asked.len(), number + 1);
        assert!(asked.iter().all(|request| !request.target.starts_with("/latest/")), "the node's role was asked for");
    }
}

#[tokio::test]
async fn the_metadata_service_is_never_asked_without_a_token() {
    // The step that fails, by its number, and how often the service is asked until then.
    for (fails, asked) in [(0, 1), (1, 2), (2, 3)] {
        for status in [401, 403, 404, 405, 500] {
            let server = Server::answering(move |number, request| {
                if number == fails { Answer(status, &[], "no".to_owned()) } else { issued(request, number, 3600) }
            });
            let scene = Scene::of(server.await);
            let why = scene.why(&scene.identity(of_node(), &json!({}))).await;
            assert_eq!(why.reason, WaitReason::MetadataUnavailable);
            assert!(why.message.contains(&format!("HTTP {status}")), "{why}");
            let requests = scene.server.asked();
            assert_eq!(requests.len(), asked, "nothing follows");
            let without = requests[1..].iter().find(|it| it.header("x-aliyun-ecs-metadata-token").is_none());
            assert!(without.is_none() && requests[0].method == "PUT");
        }
    }
}

#[tokio::test]
async fn a_node_that_names_no_role_or_an_odd_one_gives_no_key() {
    for role in ["", "\n", "../../other", "a/b", "<html>", "role\nrole"] {
        let server = Server::answering(move |number, request| match request.target.as_str() {
            "/latest/meta-data/ram/security-credentials/" => Answer(200, &[], role.to_owned()),
            _ => issued(request, number, 3600),
        });
        let scene = Scene::of(server.await);
        let why = scene.why(&scene.identity(of_node(), &json!({}))).await;
        assert!(why.message.contains("names no RAM role: attach one to the node"), "{why}");
        assert_eq!(scene.server.count(), 2, "{role}");
    }
}
