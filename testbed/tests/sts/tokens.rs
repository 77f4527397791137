//! Tokens of service accounts: real ones, and ones that the API server's own key signed for anything.

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use sha2::Sha256;
use testbed::{
    control_plane::ISSUER,
    gateway::sts::standard::{AUDIENCE, SUBJECT},
};

use crate::ground::control_plane;

/// A real token of the service account `default/NAME`.
pub async fn token(name: &str, audience: &str) -> String {
    control_plane().await.service_account_token("default", name, audience).await.unwrap()
}

/// The three parts of a token.
pub fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

/// The content of a part.
pub fn content(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A part with this content.
pub fn part(content: &Value) -> String {
    URL_SAFE_NO_PAD.encode(content.to_string())
}

/// The claims of a token that is accepted.
pub fn claims() -> Value {
    let now = Timestamp::now().as_second();
    json!({"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "exp": now + 600, "nbf": now - 5, "iat": now - 5})
}

/// Claims with another value.
pub fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

/// The header of real tokens.
pub async fn header() -> Value {
    content(parts(&token("ob-kill", AUDIENCE).await)[0])
}

/// A token with this content, signed by the API server's own key.
pub async fn signed(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let key = PrivatePkcs8KeyDer::from_pem_file(control_plane().await.token_key_file()).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token whose signature is made with the public key as a secret: whoever lets the header choose the algorithm takes
/// it.
pub async fn signed_with_public_key(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let public = fs::read(control_plane().await.token_key_file().with_extension("pub")).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&public).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
