//! Both signature versions, checked with recorded and published requests. The product signs as the official clients do.
//! The testbed's gateway accepts valid signatures and refuses others.
//!
//! `SIGNATURE_VECTORS` names another file of the same format to check instead.

use std::{collections::BTreeMap, path::PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use sessionkill::oceanbase::signature::{v1, v3};
use testbed::gateway::{
    request::decode_pairs,
    verify::{self, Authorization, SignedRequest},
};

#[derive(Deserialize)]
struct File {
    count: usize,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    expect: Expect,
    method: String,
    #[serde(deserialize_with = "secret")]
    access_key_secret: SecretString,
    canonical: String,
    string_to_sign: String,
    signature: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Expect {
    Match,
    Mismatch,
}

#[derive(Deserialize)]
#[serde(tag = "version")]
enum Kind {
    V1(V1),
    V3(V3),
}

#[derive(Deserialize)]
struct V1 {
    params: BTreeMap<String, String>,
    wire: Option<Wire>,
}

#[derive(Deserialize)]
struct Wire {
    query: String,
    #[serde(default)]
    body: String,
}

#[derive(Deserialize)]
struct V3 {
    path: String,
    query: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
    signed_headers: String,
    body: String,
    hashed_payload: String,
    access_key_id: String,
    authorization: String,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

#[test]
fn every_vector_is_signed_and_verified_as_recorded() {
    let path = std::env::var_os("SIGNATURE_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/signature-vectors.json"), PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let file: File = serde_json::from_str(&text).unwrap();

    let mut checked = 0;
    for vector in &file.vectors {
        match &vector.kind {
            Kind::V1(request) => check_v1(vector, request),
            Kind::V3(request) => check_v3(vector, request),
        }
        checked += 1;
    }
    assert_eq!(checked, file.count, "the file announces another number of vectors than it holds");
    assert!(checked > 0, "the file holds no vectors");
}

fn check_v1(vector: &Vector, request: &V1) {
    let params = || request.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    if vector.expect == Expect::Match {
        let canonical = v1::canonical(params());
        assert_eq!(canonical, vector.canonical, "{}", vector.id);
        assert_eq!(v1::string_to_sign(&vector.method, &canonical), vector.string_to_sign, "{}", vector.id);
        let signature = v1::signature(&vector.method, params(), &vector.access_key_secret);
        assert_eq!(signature, vector.signature, "{}", vector.id);
    }
    if let Some(Wire { query, body }) = &request.wire {
        let decoded = [query, body].into_iter().flat_map(|part| decode_pairs(part));
        let decoded: BTreeMap<_, _> = decoded.filter(|(name, _)| name != "Signature").collect();
        assert_eq!(decoded, request.params, "{}", vector.id);
    }
    let mut received: Vec<(String, String)> = request.params.clone().into_iter().collect();
    received.push(("Signature".into(), vector.signature.clone()));
    let accepted = verify::v1(&vector.method, &received, &vector.access_key_secret).is_ok();
    assert_eq!(accepted, vector.expect == Expect::Match, "{}", vector.id);
}

fn check_v3(vector: &Vector, request: &V3) {
    if vector.expect == Expect::Match {
        let query: Vec<_> = request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let payload_hash = v3::payload_hash(request.body.as_bytes());
        assert_eq!(payload_hash, request.hashed_payload, "{}", vector.id);
        let signer = v3::Request {
            method: &vector.method,
            path: &request.path,
            query: &query,
            headers: &headers,
            payload_hash: &payload_hash,
        };
        assert_eq!(signer.signed_headers(), request.signed_headers, "{}", vector.id);
        assert_eq!(signer.canonical(), vector.canonical, "{}", vector.id);
        assert_eq!(signer.string_to_sign(), vector.string_to_sign, "{}", vector.id);
        assert_eq!(signer.signature(&vector.access_key_secret), vector.signature, "{}", vector.id);
        let authorization = signer.authorization(&request.access_key_id, &vector.access_key_secret);
        assert_eq!(authorization, request.authorization, "{}", vector.id);
    }
    let query: Vec<_> = request.query.clone().into_iter().collect();
    let received = SignedRequest {
        method: &vector.method,
        path: &request.path,
        query: &query,
        headers: &request.headers,
        body: request.body.as_bytes(),
    };
    let accepted = Authorization::parse(&request.authorization).is_some_and(|authorization| {
        authorization.credential == request.access_key_id
            && verify::v3(&received, &authorization, &vector.access_key_secret).is_ok()
    });
    assert_eq!(accepted, vector.expect == Expect::Match, "{}", vector.id);
}
