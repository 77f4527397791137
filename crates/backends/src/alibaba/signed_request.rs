//! Builds a signed request: URL, headers and body of one call, in V1 or V3. Pure.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use sessionkill_core::backend::{CallError, ErrorKind};

use super::access::Access;
use super::endpoint::Endpoint;
use super::signature::{enc, v1, v3};
use super::stamp::Stamp;

/// Which API is called. Both are of the RPC style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    /// OceanBasePro. Its business parameters are in the body, which takes texts of any length.
    OceanBase,
    /// The Security Token Service. With V3 its business parameters are in the query, as its generated clients place them.
    /// With V1 they are in the body, and so is the security token, which must not be in a URL.
    Sts,
}

impl Product {
    const fn version(self) -> &'static str {
        match self {
            Self::OceanBase => "2019-09-01",
            Self::Sts => STS_VERSION,
        }
    }
}

/// The version of STS's API.
pub const STS_VERSION: &str = "2015-04-01";

const FORM: &str = "application/x-www-form-urlencoded";

/// A signed request. No `Debug`: its URL (V1) or headers (V3) contain the signature.
pub struct SignedRequest {
    /// The URL, in V1 with the signature.
    pub url: String,
    /// The headers that the HTTP client does not add itself.
    pub headers: HeaderMap,
    /// The business parameters, unless they are in the URL.
    pub body: String,
}

impl SignedRequest {
    /// Signs the call of `action` with the business parameters `form`. Fails with [`ErrorKind::CredentialsRejected`] if
    /// the key does not fit into a header.
    pub fn new(action: &str, form: &[(&str, String)], stamp: &Stamp, access: &Access) -> Result<Self, CallError> {
        Self::of(Product::OceanBase, action, form, stamp, access)
    }

    /// The same for an action of STS.
    pub fn of_sts(action: &str, form: &[(&str, String)], stamp: &Stamp, access: &Access) -> Result<Self, CallError> {
        Self::of(Product::Sts, action, form, stamp, access)
    }

    /// A call of STS that is not signed, with all that is secret in the body. An unsigned call has no nonce.
    #[must_use]
    pub fn unsigned(action: &str, form: &[(&str, String)], stamp: &Stamp, endpoint: &Endpoint) -> Self {
        let query = [("Action", action), ("Format", "JSON"), ("Timestamp", &stamp.time), ("Version", STS_VERSION)];
        let url = format!("{}?{}", endpoint.url(), encode(query));
        Self { url, headers: HeaderMap::from_iter([of_form()]), body: encode(borrowed(form)) }
    }

    fn of(
        product: Product,
        action: &str,
        form: &[(&str, String)],
        stamp: &Stamp,
        access: &Access,
    ) -> Result<Self, CallError> {
        if access.signature_v1 {
            let (url, body) = v1(product, action, form, stamp, access);
            return Ok(Self { url, headers: HeaderMap::from_iter([of_form()]), body });
        }
        let (url, encoded) = (access.endpoint.url(), encode(borrowed(form)));
        match product {
            Product::OceanBase => {
                let headers = v3_headers(product, action, (&[], Some(&encoded)), stamp, access);
                Ok(Self { url, headers: sensitive(&headers)?, body: encoded })
            }
            Product::Sts => {
                let query: Vec<_> = borrowed(form).collect();
                let headers = v3_headers(product, action, (&query, None), stamp, access);
                Ok(Self { url: format!("{url}?{encoded}"), headers: sensitive(&headers)?, body: String::new() })
            }
        }
    }
}

fn borrowed<'a>(form: &'a [(&'a str, String)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    form.iter().map(|(name, value)| (*name, value.as_str()))
}

/// The header of a body with a form.
fn of_form() -> (HeaderName, HeaderValue) {
    (CONTENT_TYPE, HeaderValue::from_static(FORM))
}

/// The URL and the body of a V1 request: the query has the common parameters and the signature, the body the business
/// parameters.
fn v1(product: Product, action: &str, form: &[(&str, String)], stamp: &Stamp, access: &Access) -> (String, String) {
    let key = &access.access_key;
    let mut query = vec![
        ("AccessKeyId", key.id.as_str()),
        ("Action", action),
        ("Format", "JSON"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", &stamp.nonce),
        ("SignatureVersion", "1.0"),
        ("Timestamp", &stamp.time),
        ("Version", product.version()),
    ];
    let mut body: Vec<_> = borrowed(form).collect();
    if let Some(token) = &key.security_token {
        let token = ("SecurityToken", token.expose_secret());
        match product {
            Product::OceanBase => query.push(token),
            Product::Sts => body.push(token),
        }
    }
    let signature = v1::signature("POST", query.iter().chain(&body).copied(), &key.secret);
    query.push(("Signature", &signature));
    (format!("{}?{}", access.endpoint.url(), encode(query)), encode(body))
}

/// The headers of a V3 request, including `Authorization`. `query` are its parameters, and `form` is its body, if it has
/// one.
fn v3_headers(
    product: Product,
    action: &str,
    (query, form): (&[(&str, &str)], Option<&str>),
    stamp: &Stamp,
    access: &Access,
) -> Vec<(&'static str, String)> {
    let key = &access.access_key;
    let payload_hash = v3::payload_hash(form.unwrap_or_default().as_bytes());
    let mut headers = vec![
        ("x-acs-action", action.to_owned()),
        ("x-acs-content-sha256", payload_hash.clone()),
        ("x-acs-date", stamp.time.clone()),
        ("x-acs-signature-nonce", stamp.nonce.clone()),
        ("x-acs-version", product.version().to_owned()),
    ];
    headers.extend(form.map(|_| ("content-type", FORM.to_owned())));
    if let Some(token) = &key.security_token {
        headers.push(("x-acs-accesskey-id", key.id.clone()));
        headers.push(("x-acs-security-token", token.expose_secret().to_owned()));
    }
    let mut signed = vec![("host", access.endpoint.host_header())];
    signed.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
    let request = v3::Request { method: "POST", path: "/", query, headers: &signed, payload_hash: &payload_hash };
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
