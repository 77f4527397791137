//! Tokens of service accounts in place of a signature.

use serde_json::{Value, json};
use testbed::gateway::{
    Gateway, Identity,
    sts::{
        roles::OidcProvider,
        standard::{AUDIENCE, SUBJECT, oidc_role, provider, role},
    },
};

use crate::{
    ground::{gateway, standard_with_tokens},
    signed::{Answer, client, encoded},
    tokens::{claims, content, header, part, parts, signed, signed_with_public_key, token, with},
};

/// Where the parameters are.
#[derive(Clone, Copy)]
enum Place {
    Query,
    Form,
}

async fn exchange(gateway: &Gateway, place: Place, token: &str, more: &[(&str, &str)]) -> Answer {
    let (role, provider) = (oidc_role().to_string(), provider());
    let common = [("Action", "AssumeRoleWithOIDC"), ("Version", "2015-04-01"), ("Format", "JSON")];
    let own = [
        ("RoleArn", role.as_str()),
        ("OIDCProviderArn", &provider),
        ("OIDCToken", token),
        ("RoleSessionName", "kills"),
    ];
    let url = |params: &[(&str, &str)]| format!("{}/?{}", gateway.url(), encoded(params));
    Answer::of(match place {
        Place::Query => client().get(url(&[&common[..], &own, more].concat())),
        Place::Form => client().post(url(&common)).body(encoded(&[&own, more].concat())),
    })
    .await
}

#[tokio::test]
async fn the_right_token_gets_a_key_for_its_role_wherever_it_stands() {
    let gateway = gateway(standard_with_tokens().await).await;
    let token = token("ob-kill", AUDIENCE).await;
    let claims = content(parts(&token)[1]);
    assert_eq!(claims["aud"], json!([AUDIENCE]));
    for place in [Place::Query, Place::Form] {
        for sent in [token.clone(), format!("{token}\n")] {
            gateway.clear_calls();
            let answer = exchange(&gateway, place, &sent, &[]).await;
            assert_eq!(answer.key().kill(&gateway).await, "OK");
            let told = &answer.body["OIDCTokenInfo"];
            assert_eq!((&told["Subject"], &told["Issuer"]), (&json!(SUBJECT), &claims["iss"]));

            let identities: Vec<_> = gateway.calls().into_iter().map(|call| call.identity.unwrap()).collect();
            let subject = Identity::OidcSubject { subject: SUBJECT.into() };
            let assumed = Identity::AssumedRole { role_arn: oidc_role().to_string(), session_name: "kills".into() };
            assert_eq!(identities, [subject, assumed]);
            let shown = serde_json::to_value(&gateway.calls()[0]).unwrap();
            assert_eq!((&shown["signatureVersion"], &shown["accessKeyId"]), (&json!("None"), &Value::Null));
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_exactly_right_gets_nothing() {
    let gateway = gateway(standard_with_tokens().await).await;
    let right = token("ob-kill", AUDIENCE).await;
    let header = header().await;
    let [real_header, real_claims, real_signature] = parts(&right);
    let mut other_claims = content(real_claims);
    other_claims["sub"] = json!("system:serviceaccount:default:other");
    let with_header = |name: &str, value: &str| {
        let mut header = header.clone();
        header[name] = json!(value);
        header
    };
    let now = jiff::Timestamp::now().as_second();
    // The first ones show that a signature of ours is a good one.
    let cases = [
        ("OK", signed(&header, &claims()).await),
        ("OK", signed(&header, &with("aud", AUDIENCE)).await),
        ("NoPermission", token("other", AUDIENCE).await),
        ("OIDCToken.AudienceNotMatch", token("ob-kill", "vault").await),
        ("OIDCToken.IssuerNotMatch", signed(&header, &with("iss", "https://other.example")).await),
        ("OIDCToken.Expired", signed(&header, &with("exp", now - 1)).await),
        ("OIDCToken.Invalid", signed(&header, &with("nbf", now + 300)).await),
        ("OIDCToken.Invalid", signed(&header, &with("exp", Value::Null)).await),
        ("OIDCToken.InvalidSignature", signed(&with_header("kid", "unknown"), &claims()).await),
        ("OIDCToken.InvalidSignature", format!("{real_header}.{}.{real_signature}", part(&other_claims))),
        ("OIDCToken.InvalidSignature", format!("{real_header}.{real_claims}.")),
        ("OIDCToken.Invalid", format!("{}.{real_claims}.", part(&json!({"alg": "none"})))),
        ("OIDCToken.Invalid", format!("{}.{real_claims}.{real_signature}", part(&with_header("alg", "none")))),
        ("OIDCToken.Invalid", signed_with_public_key(&with_header("alg", "HS256"), &claims()).await),
        ("OIDCToken.InvalidSignature", signed_with_public_key(&header, &claims()).await),
        ("OIDCToken.Invalid", "no token".into()),
    ];
    for (number, (code, token)) in cases.iter().enumerate() {
        let answer = exchange(&gateway, Place::Form, token, &[]).await;
        if *code == "OK" {
            assert_eq!(answer.key().list(&gateway).await, "OK", "case {number}");
            continue;
        }
        let code = format!("AuthenticationFail.{code}");
        assert_eq!((answer.status, answer.code()), (401, code), "case {number}");
        assert!(answer.body.get("Credentials").is_none());
        assert!(token.len() < 20 || !answer.body.to_string().contains(token), "the token is not repeated");
    }
}

#[tokio::test]
async fn the_provider_and_the_role_must_be_there_and_belong_together() {
    let gateway = gateway(standard_with_tokens().await).await;
    let token = token("ob-kill", AUDIENCE).await;
    let (role, other_provider) = (role().to_string(), provider().replace("rrsa", "other"));
    for (status, code, more) in [
        (401, "AuthenticationFail.NoPermission", ("OIDCProviderArn", other_provider.as_str())),
        (401, "AuthenticationFail.NoPermission", ("RoleArn", role.as_str())),
        (404, "EntityNotExist.Role", ("RoleArn", "acs:ram::1:role/none")),
        (400, "InvalidParameter.RoleArn", ("RoleArn", "none")),
        (400, "InvalidParameter.DurationSeconds", ("DurationSeconds", "3601")),
        (400, "InvalidParameter.PolicyGrammar", ("Policy", "{}")),
        (400, "MissingOIDCToken", ("OIDCToken", "")),
        (400, "MissingOIDCProviderArn", ("OIDCProviderArn", "")),
    ] {
        // The last one of a repeated parameter counts.
        let answer = exchange(&gateway, Place::Form, &token, &[more]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{more:?}");
    }
}

#[tokio::test]
async fn an_issuer_whose_keys_cannot_be_read_is_named_as_such() {
    let mut options = standard_with_tokens().await;
    let without_kubeconfig = OidcProvider { kubeconfig: "missing".into(), ..options.providers[0].clone() };
    options.providers = vec![without_kubeconfig];
    let gateway = gateway(options).await;
    let answer = exchange(&gateway, Place::Form, &token("ob-kill", AUDIENCE).await, &[]).await;
    assert_eq!(answer.code(), "AuthenticationFail.OIDCToken.IssuerConfigurationBroken");
}
