//! No key, token or string to sign is in an error, a `Debug` output or a URL.

use serde_json::json;

use crate::scene::{KEY_ID, KEY_SECRET, SECOND, Scene, assumed, issued, of_account, of_node};
use crate::server::{Answer, Server};

/// Answers with everything that was sent.
async fn echo() -> Server {
    Server::answering(|number, request| {
        let all = format!("{} {:?} {}", request.target, request.headers, request.body);
        match (request.target.as_str(), number % 3) {
            ("/latest/api/token" | "/latest/meta-data/ram/security-credentials/", _) => issued(request, 0, 3600),
            (_, 0) => {
                let body = json!({"Code": "NoPermission", "Message": all, "RequestId": all}).to_string();
                Answer(403, &[], body)
            }
            (_, 1) => {
                let message = format!("Specified signature is not matched. server string to sign is:{all}");
                Answer(400, &[], json!({"Code": "SignatureDoesNotMatch", "Message": message}).to_string())
            }
            _ => Answer(200, &[], all),
        }
    })
    .await
}

#[tokio::test]
async fn whatever_is_answered_no_error_repeats_what_is_secret() {
    let scene = Scene::of(echo().await);
    let mut said = vec![];
    for round in 0..3 {
        for v1 in [false, true] {
            let more =
                if v1 { json!({"signatureMethod": "HMAC-SHA1", "endpoint": "gateway.internal"}) } else { json!({}) };
            for spec in [assumed(), of_account()] {
                let mut identity = scene.identity(spec, &more);
                identity.session_name = format!("round-{round}-{v1}");
                let why = scene.why(&identity).await;
                said.extend([format!("{why}"), format!("{why:?}"), format!("{identity:?} {identity}")]);
            }
        }
        let mut node = scene.identity(of_node(), &json!({}));
        node.session_name = format!("round-{round}");
        let why = scene.why(&node).await;
        said.extend([format!("{why}"), format!("{why:?}")]);
    }
    assert!(said.len() > 30 && said.iter().any(|text| text.contains("NoPermission")));
    for text in said {
        for secret in [KEY_ID, KEY_SECRET, "canary", "string to sign", "Signature=", "Credential=", "eyJ"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[tokio::test]
async fn no_url_has_a_token_or_a_secret() {
    let scene = Scene::of(Server::answering(|number, request| issued(request, number, 3600)).await);
    let chain = {
        let mut spec = of_account();
        spec["assumeRole"] = json!({"roleARN": SECOND});
        spec
    };
    for more in [json!({}), json!({"signatureMethod": "HMAC-SHA1", "endpoint": "gateway.internal"})] {
        for spec in [assumed(), of_account(), chain.clone(), of_node()] {
            if spec["instanceRole"].is_null() || more == json!({}) {
                scene.key(&scene.identity(spec, &more)).await.unwrap();
            }
        }
    }
    let asked = scene.server.asked();
    assert!(asked.len() > 8);
    for request in asked {
        for secret in ["canary-", "eyJ", "OIDCToken", "SecurityToken"] {
            assert!(!request.target.contains(secret), "{}", request.target);
        }
    }
}
