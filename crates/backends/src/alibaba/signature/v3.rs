//! `ACS3-HMAC-SHA256`, the signature in the `Authorization` header. Pure.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{enc_sorted, keyed};

/// The first word of the `Authorization` header and of the string to sign.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// The parts of a request that the signature covers. No `Debug`: a header contains the security token.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The HTTP method, in any case.
    pub method: &'a str,
    /// The path as sent; `/` for every RPC action.
    pub path: &'a str,
    /// The query, decoded.
    pub query: &'a [(&'a str, &'a str)],
    /// The signed headers, as sent. `host` must be among them, with its port if it is not the default.
    pub headers: &'a [(&'a str, &'a str)],
    /// [`payload_hash`] of the body, also sent as `x-acs-content-sha256`.
    pub payload_hash: &'a str,
}

/// The SHA-256 of the body as sent, in hexadecimal.
#[must_use]
pub fn payload_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

impl Request<'_> {
    /// The names of the signed headers: lower case, sorted, each once, joined by `;`.
    #[must_use]
    pub fn signed_headers(&self) -> String {
        let names: Vec<_> = self.headers_by_name().into_keys().collect();
        names.join(";")
    }

    /// The canonical request: six parts, each on a new line.
    #[must_use]
    pub fn canonical(&self) -> String {
        let lines = |(name, values): (String, Vec<&str>)| [name, ":".into(), values.join(","), "\n".into()];
        let headers: String = self.headers_by_name().into_iter().flat_map(lines).collect();
        [
            &self.method.to_ascii_uppercase(),
            self.path,
            &enc_sorted(self.query.iter().copied()),
            &headers,
            &self.signed_headers(),
            self.payload_hash,
        ]
        .join("\n")
    }

    /// The text that the MAC covers: the algorithm and the hash of the canonical request.
    #[must_use]
    pub fn string_to_sign(&self) -> String {
        format!("{ALGORITHM}\n{}", payload_hash(self.canonical().as_bytes()))
    }

    /// The signature, in lower-case hexadecimal.
    #[must_use]
    pub fn signature(&self, secret: &SecretString) -> String {
        hex::encode(self.mac(secret).finalize().into_bytes())
    }

    /// The MAC before its encoding, for a verifier that compares in constant time.
    #[must_use]
    pub fn mac(&self, secret: &SecretString) -> Hmac<Sha256> {
        keyed(secret.expose_secret().as_bytes(), &self.string_to_sign())
    }

    /// The value of the header `Authorization`.
    #[must_use]
    pub fn authorization(&self, access_key_id: &str, secret: &SecretString) -> String {
        let (headers, signature) = (self.signed_headers(), self.signature(secret));
        format!("{ALGORITHM} Credential={access_key_id},SignedHeaders={headers},Signature={signature}")
    }

    /// Trims values outside but not inside. Values of the same name are sorted, as a proxy may change their order.
    fn headers_by_name(&self) -> BTreeMap<String, Vec<&str>> {
        let mut by_name = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in self.headers {
            by_name.entry(name.to_ascii_lowercase()).or_default().push(value.trim());
        }
        for values in by_name.values_mut() {
            values.sort_unstable();
        }
        by_name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_headers_are_joined_sorted_and_inner_blanks_stay() {
        let headers = [("X-Acs-B", " z  y "), ("x-acs-b", "a"), ("Host", "h:1")];
        let request = Request { method: "post", path: "/", query: &[("q", "")], headers: &headers, payload_hash: "p" };
        assert_eq!(request.canonical(), "POST\n/\nq=\nhost:h:1\nx-acs-b:a,z  y\n\nhost;x-acs-b\np");
    }
}
