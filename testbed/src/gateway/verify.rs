//! Decides whether a request's signature is right, with the product's own canonicalisation.
//!
//! Pure: no clock, and no memory of nonces. `server.rs` uses it first, and the signature vectors test it.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::Mac;
use secrecy::SecretString;
use sessionkill::oceanbase::signature::{v1, v3};

/// Why a signature is refused. No `Debug`: the strings hold access key ids, tokens and SQL text.
pub enum Refusal {
    /// The request is not signed by the rules. The text says what is wrong.
    Incomplete(String),
    /// The signature differs from the gateway's. Holds what the gateway signed, which the answer echoes.
    Mismatch(Echo),
}

/// What the gateway calculated a signature over.
pub enum Echo {
    /// Version 1.0: the string to sign.
    V1 {
        /// The string to sign.
        string_to_sign: String,
    },
    /// Version 3.
    V3 {
        /// The string to sign.
        string_to_sign: String,
        /// The canonical request that it is the hash of.
        canonical_request: String,
    },
}

/// Accepts a V1 request if its parameter `Signature` matches all its other parameters.
pub fn v1(method: &str, params: &[(String, String)], secret: &SecretString) -> Result<(), Refusal> {
    let signature = params.iter().find(|(name, _)| name == "Signature");
    let (_, signature) = signature.ok_or_else(|| Refusal::Incomplete("Signature is missing".into()))?;
    let pairs = params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let string_to_sign = v1::string_to_sign(method, &v1::canonical(pairs));
    let decoded = STANDARD.decode(signature).unwrap_or_default();
    v1::mac(&string_to_sign, secret).verify_slice(&decoded).map_err(|_| Refusal::Mismatch(Echo::V1 { string_to_sign }))
}

/// A parsed `Authorization` header of version 3.
pub struct Authorization<'a> {
    /// The access key id.
    pub credential: &'a str,
    /// The names in `SignedHeaders`.
    pub signed_headers: Vec<&'a str>,
    /// The signature as sent.
    pub signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// `None` unless the header has the algorithm and each of the three fields exactly once.
    #[must_use]
    pub fn parse(header: &'a str) -> Option<Self> {
        let mut fields = header.strip_prefix(v3::ALGORITHM)?.strip_prefix(' ')?.split(',');
        let mut field = |name: &str| fields.next()?.trim().strip_prefix(name)?.strip_prefix('=');
        let credential = field("Credential")?;
        let signed_headers = field("SignedHeaders")?.split(';').collect();
        let signature = field("Signature")?;
        fields.next().is_none().then_some(Self { credential, signed_headers, signature })
    }
}

/// The parts of a V3 request that its signature is checked against. No `Debug`: headers carry the security token.
pub struct SignedRequest<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The path as received.
    pub path: &'a str,
    /// The query, decoded.
    pub query: &'a [(String, String)],
    /// All headers as received.
    pub headers: &'a [(String, String)],
    /// The bytes of the body.
    pub body: &'a [u8],
}

/// Accepts a V3 request if its `Authorization` matches the headers that it names, the query and the body. Every header
/// that the gateway uses must be signed: otherwise somebody on the way could change it.
pub fn v3(
    request: &SignedRequest<'_>,
    authorization: &Authorization<'_>,
    secret: &SecretString,
) -> Result<(), Refusal> {
    let signed: Vec<_> = request.headers.iter().filter(|(name, _)| authorization.names(name)).collect();
    let unsigned = request.headers.iter().find(|(name, _)| must_be_signed(name) && !authorization.names(name));
    if let Some((name, _)) = unsigned {
        return Err(Refusal::Incomplete(format!("the header {name} is not signed")));
    }
    let absent = |name: &&&str| !signed.iter().any(|(present, _)| present.eq_ignore_ascii_case(name));
    if let Some(name) = authorization.signed_headers.iter().find(absent) {
        return Err(Refusal::Incomplete(format!("the signed header {name} is not there")));
    }
    let payload_hash = v3::payload_hash(request.body);
    if signed.iter().any(|(name, value)| is_payload_hash(name) && value.trim() != payload_hash) {
        return Err(Refusal::Incomplete("x-acs-content-sha256 is not the hash of the body".into()));
    }
    let (query, headers) = (borrowed(request.query), borrowed(signed));
    let canonical = v3::Request {
        method: request.method,
        path: request.path,
        query: &query,
        headers: &headers,
        payload_hash: &payload_hash,
    };
    let decoded = lower_hex(authorization.signature).unwrap_or_default();
    canonical.mac(secret).verify_slice(&decoded).map_err(|_| {
        Refusal::Mismatch(Echo::V3 {
            string_to_sign: canonical.string_to_sign(),
            canonical_request: canonical.canonical(),
        })
    })
}

impl Authorization<'_> {
    fn names(&self, header: &str) -> bool {
        self.signed_headers.iter().any(|name| name.eq_ignore_ascii_case(header))
    }
}

fn must_be_signed(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    header == "host" || header == "content-type" || header.starts_with("x-acs-")
}

fn is_payload_hash(header: &str) -> bool {
    header.eq_ignore_ascii_case("x-acs-content-sha256")
}

fn borrowed<'a>(pairs: impl IntoIterator<Item = &'a (String, String)>) -> Vec<(&'a str, &'a str)> {
    pairs.into_iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Refuse upper case: the rules ask for lower case, but the `hex` crate accepts both.
fn lower_hex(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    hex::decode(text).ok()
}
