//! Signature version 1.0 of RPC requests, `HMAC-SHA1`. Pure.
//!
//! The documentation calls this "V2 request syntax", and the official SDKs enable it by `v2`; the parameter
//! `SignatureVersion` says `1.0`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;

use super::{enc, enc_sorted, keyed};

/// The canonical query: all decoded parameters of the query and the form together. `Signature` is left out, so that a
/// verifier can pass everything it received.
#[must_use]
pub fn canonical<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    enc_sorted(params.into_iter().filter(|(name, _)| *name != "Signature"))
}

/// What the signature covers: the method in upper case, the path (always `/`) and the canonical query.
#[must_use]
pub fn string_to_sign(method: &str, canonical: &str) -> String {
    format!("{}&%2F&{}", method.to_ascii_uppercase(), enc(canonical))
}

/// The value of the parameter `Signature`.
#[must_use]
pub fn signature<'a>(
    method: &str,
    params: impl IntoIterator<Item = (&'a str, &'a str)>,
    secret: &SecretString,
) -> String {
    let string_to_sign = string_to_sign(method, &canonical(params));
    STANDARD.encode(mac(&string_to_sign, secret).finalize().into_bytes())
}

/// The MAC before its encoding, for a verifier that compares in constant time.
#[must_use]
pub fn mac(string_to_sign: &str, secret: &SecretString) -> Hmac<Sha1> {
    // The `&` is required even with a security token. Exact capacity: a growing buffer leaves a copy of the secret.
    let secret = secret.expose_secret();
    let mut key = String::with_capacity(secret.len() + 1);
    key.push_str(secret);
    key.push('&');
    let key = SecretString::from(key);
    keyed(key.expose_secret().as_bytes(), string_to_sign)
}
