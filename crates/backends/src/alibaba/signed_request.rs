//! Builds a signed request: URL, headers and body of one call, in V1 or V3. Pure.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use sessionkill_core::backend::{CallError, ErrorKind};

use super::access::Access;
use super::signature::{enc, v1, v3};
use super::stamp::Stamp;

const VERSION: &str = "2019-09-01";
const FORM: &str = "application/x-www-form-urlencoded";

/// A signed request. No `Debug`: its URL (V1) or headers (V3) contain the signature.
pub struct SignedRequest {
    /// The URL, in V1 with the signature.
    pub url: String,
    /// The headers that the HTTP client does not add itself.
    pub headers: HeaderMap,
    /// The business parameters.
    pub body: String,
}

impl SignedRequest {
    /// Signs the call of `action` with the business parameters `form`. Fails with [`ErrorKind::CredentialsRejected`] if
    /// the key does not fit into a header.
    pub fn new(action: &str, form: &[(&str, String)], stamp: &Stamp, access: &Access) -> Result<Self, CallError> {
        let body = encode(form.iter().map(|(name, value)| (*name, value.as_str())));
        let (url, headers) = if access.signature_v1 {
            (v1_url(action, form, stamp, access), vec![])
        } else {
            (access.endpoint.url(), v3_headers(action, &body, stamp, access))
        };
        let mut headers = sensitive(&headers)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
        Ok(Self { url, headers, body })
    }
}

/// The URL of a V1 request: the query has the common parameters and the signature, the body the business parameters.
fn v1_url(action: &str, form: &[(&str, String)], stamp: &Stamp, access: &Access) -> String {
    let key = &access.access_key;
    let mut query = vec![
        ("AccessKeyId", key.id.as_str()),
        ("Action", action),
        ("Format", "JSON"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", &stamp.nonce),
        ("SignatureVersion", "1.0"),
        ("Timestamp", &stamp.time),
        ("Version", VERSION),
    ];
    if let Some(token) = &key.security_token {
        query.push(("SecurityToken", token.expose_secret()));
    }
    let signed = query.iter().copied().chain(form.iter().map(|(name, value)| (*name, value.as_str())));
    let signature = v1::signature("POST", signed, &key.secret);
    query.push(("Signature", &signature));
    format!("{}?{}", access.endpoint.url(), encode(query))
}

/// The headers of a V3 request, including `Authorization`.
fn v3_headers(action: &str, body: &str, stamp: &Stamp, access: &Access) -> Vec<(&'static str, String)> {
    let key = &access.access_key;
    let payload_hash = v3::payload_hash(body.as_bytes());
    let mut headers = vec![
        ("x-acs-action", action.to_owned()),
        ("x-acs-content-sha256", payload_hash.clone()),
        ("x-acs-date", stamp.time.clone()),
        ("x-acs-signature-nonce", stamp.nonce.clone()),
        ("x-acs-version", VERSION.to_owned()),
    ];
    if let Some(token) = &key.security_token {
        headers.push(("x-acs-accesskey-id", key.id.clone()));
        headers.push(("x-acs-security-token", token.expose_secret().to_owned()));
    }
    let mut signed = vec![("content-type", FORM), ("host", access.endpoint.host_header())];
    signed.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
    let request = v3::Request { method: "POST", path: "/", query: &[], headers: &signed, payload_hash: &payload_hash };
    headers.push((AUTHORIZATION_NAME, request.authorization(&key.id, &key.secret)));
    headers.push(("accept", "application/json".to_owned()));
    headers
}

const AUTHORIZATION_NAME: &str = "authorization";

/// Marks the headers with credentials as sensitive, so that no library logs them.
fn sensitive(headers: &[(&'static str, String)]) -> Result<HeaderMap, CallError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message = "the access key or its token has characters that no HTTP header can carry";
            CallError::local(ErrorKind::CredentialsRejected, "InvalidAccessKey", message)
        })?;
        value.set_sensitive(*name == AUTHORIZATION.as_str() || *name == "x-acs-security-token");
        map.insert(HeaderName::from_static(name), value);
    }
    Ok(map)
}

fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{}={}", enc(name), enc(value))).collect();
    pairs.join("&")
}
