//! Requests of official clients, byte for byte as they were recorded.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use testbed::gateway::{
    AccessKey, Fault, FaultKind, Gateway, GatewayOptions, StsOptions,
    sts::{
        instance::{Access, InstanceRole},
        roles::{Role, RoleArn},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{ground::standard_with_tokens, signed::Answer};

/// When they were made, within a few minutes.
const MADE: &str = "2026-11-29T15:49:00Z";
const SECRET: &str = "FakeBaseSecret00000000000001";
const BASE: &str = "LTAI5tFakeBaseKey0000001";
const FIRST: &str = "STS.FakeFirst";
const INSTANCE_ROLE: &str = "KubernetesWorkerRole-fake";
/// The metadata token in the recorded requests.
const METADATA_TOKEN: &str = "FAKEIMDSTOKEN==";

#[derive(Deserialize)]
struct Recorded {
    requests: Vec<Request>,
}

#[derive(Clone, Deserialize)]
struct Request {
    id: String,
    operation: String,
    expect: Option<Expected>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Match,
    Mismatch,
    Unsigned,
}

fn recorded() -> Vec<Request> {
    serde_json::from_str::<Recorded>(include_str!("recorded.json")).unwrap().requests
}

impl Request {
    /// Sends it, and returns the status and the body of the answer.
    async fn replay(&self, gateway: &Gateway) -> (u16, String) {
        let is_for_metadata = self.target.starts_with("/latest/") || self.target.starts_with("/creds");
        let address = if is_for_metadata { gateway.metadata_address().unwrap() } else { gateway.address() };
        let kept = self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection"));
        let headers: String = kept.flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
        let Self { method, target, body, .. } = self;
        let text = format!("{method} {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n{body}");
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn answer(&self, gateway: &Gateway) -> Answer {
        let (status, body) = self.replay(gateway).await;
        Answer { status, body: serde_json::from_str(&body).unwrap_or_else(|error| panic!("{}: {error}", self.id)) }
    }

    fn with_metadata_token(mut self, token: &str) -> Self {
        self.headers
            .iter_mut()
            .filter(|(_, value)| value == METADATA_TOKEN)
            .for_each(|(_, value)| token.clone_into(value));
        self
    }
}

/// A gateway that has the recorded keys, and lives when they were in use.
async fn gateway(access: Access) -> Gateway {
    let key = |id: &str, token: Option<&str>| AccessKey {
        id: id.into(),
        secret: SECRET.into(),
        token: token.map(Into::into),
    };
    let role = Role::new(RoleArn::new("123456789012", "sessionkill")).trusting(BASE).trusting(FIRST);
    let mut providers = standard_with_tokens().await.providers;
    providers[0].arn = "acs:ram::123456789012:oidc-provider/ack-rrsa-c0ffee".into();
    let instance = InstanceRole { access, ..InstanceRole::new(RoleArn::new("123456789012", INSTANCE_ROLE)) };
    let gateway = Gateway::start(GatewayOptions {
        access_keys: vec![key(BASE, None), key(FIRST, Some("FakeFirstToken+/")), key("STS.Fake", Some("FakeT"))],
        sts: Some(StsOptions { roles: vec![role], providers, lifetime: None, instance: Some(instance) }),
        ..GatewayOptions::default()
    })
    .await
    .unwrap();
    let skew = MADE.parse::<Timestamp>().unwrap().duration_since(Timestamp::now());
    gateway.inject(Fault::new(FaultKind::ClockSkew).skewed(skew));
    gateway
}

#[tokio::test]
async fn each_signed_request_gets_what_its_signature_deserves() {
    let gateway = gateway(Access::TokenRequired).await;
    let mut counts = BTreeMap::new();
    for request in recorded() {
        let answer = match request.expect {
            Some(Expected::Match | Expected::Mismatch) => request.answer(&gateway).await,
            Some(Expected::Unsigned) | None => continue,
        };
        *counts.entry(request.operation.clone()).or_insert(0) += 1;
        if request.expect == Some(Expected::Mismatch) {
            assert_eq!(answer.code(), "SignatureDoesNotMatch", "{}", request.id);
            continue;
        }
        assert_eq!((answer.status, answer.code().as_str()), (200, "OK"), "{}: {}", request.id, answer.body);
        match request.operation.as_str() {
            "AssumeRole" => {
                let user = "acs:ram::123456789012:assumed-role/sessionkill/sessionkill-shop-prod";
                assert_eq!(answer.body["AssumedRoleUser"]["Arn"], user, "{}", request.id);
                assert!(answer.key().id.starts_with("STS."));
            }
            operation => {
                assert_eq!(operation, "GetCallerIdentity");
                assert_eq!(answer.body["IdentityType"], "RAMUser");
            }
        }
        let again = request.answer(&gateway).await.code();
        assert_eq!(again, "SignatureNonceUsed", "{}", request.id);
    }
    assert_eq!(counts, [("AssumeRole".to_owned(), 14), ("GetCallerIdentity".to_owned(), 1)].into());
}

#[tokio::test]
async fn each_request_with_a_token_needs_no_signature_wherever_its_parameters_are() {
    let gateway = gateway(Access::TokenRequired).await;
    let unsigned: Vec<_> = recorded().into_iter().filter(|it| it.expect == Some(Expected::Unsigned)).collect();
    assert_eq!(unsigned.len(), 6);
    for request in unsigned {
        let answer = request.answer(&gateway).await;
        // The recorded tokens are fakes that say nothing.
        let code = answer.code();
        assert_eq!((answer.status, code.as_str()), (401, "AuthenticationFail.OIDCToken.Invalid"), "{}", request.id);
    }
}

#[tokio::test]
async fn the_metadata_service_understands_each_client() {
    let gateway = gateway(Access::TokenRequired).await;
    let (mut tokens, mut reads) = (vec![], vec![]);
    for request in recorded().into_iter().filter(|it| it.operation.starts_with("metadata")) {
        if request.method == "PUT" { tokens.push(request) } else { reads.push(request) }
    }
    assert_eq!((tokens.len(), reads.len()), (2, 4));
    for token in &tokens {
        let (status, token) = token.replay(&gateway).await;
        assert_eq!(status, 200, "{token}");
        for read in reads.clone() {
            // One of them has no token, and asks for a role that the instance does not have.
            let has_token = read.headers.iter().any(|(_, value)| value == METADATA_TOKEN);
            let (status, answer) = read.replay(&gateway).await;
            assert_eq!(status, 403, "{} with a token of nobody: {answer}", read.id);
            let (status, answer) = read.clone().with_metadata_token(&token).replay(&gateway).await;
            assert_eq!(status, if has_token { 200 } else { 403 }, "{}: {answer}", read.id);
            match serde_json::from_str::<Value>(&answer) {
                Ok(credentials) => assert_eq!(credentials["Code"], "Success"),
                Err(_) if has_token => assert_eq!(answer, INSTANCE_ROLE),
                Err(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn version_1_of_the_metadata_service_is_served_only_where_it_may() {
    let gateway = gateway(Access::TokenOptional).await;
    let mut requests = recorded().into_iter();
    let mut request = requests.find(|request| request.id == "node-imds_v1_fallback").unwrap();
    assert_eq!(request.replay(&gateway).await.0, 404, "another role");
    let (path, _) = request.target.rsplit_once('/').unwrap();
    request.target = format!("{path}/{INSTANCE_ROLE}");
    assert_eq!(request.replay(&gateway).await.0, 200);
    let with_wrong_token = recorded().into_iter().find(|request| request.id == "py-imds_credentials").unwrap();
    assert_eq!(with_wrong_token.replay(&gateway).await.0, 403);
}

#[tokio::test]
async fn other_paths_are_not_served() {
    let gateway = gateway(Access::TokenOptional).await;
    let others: Vec<_> = recorded().into_iter().filter(|it| it.id == "go-uri" || it.target == "/steal").collect();
    assert_eq!(others.len(), 2);
    for other in others {
        assert_eq!(other.replay(&gateway).await.0, 404, "{}", other.id);
    }
}
