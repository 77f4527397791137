//! `ACS3-HMAC-SHA256`, the signature in the `Authorization` header.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{enc_sorted, keyed};

/// The first word of the `Authorization` header and of the string to sign.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// The parts of a request that the signature covers. No `Debug`: headers carry the security token.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The HTTP method, in any case.
    pub method: &'a str,
    /// The path as sent; `/` for every RPC action.
    pub path: &'a str,
    /// The query, decoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Exactly the headers that are signed, as sent. `host` must be among them, with its port if that is not the
    /// default one.
    pub headers: &'a [(&'a str, &'a str)],
    /// [`payload_hash`] of the body, also sent as `x-acs-content-sha256`.
    pub payload_hash: &'a str,
}

/// The hash of the body's bytes as they are sent, hexadecimal.
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

    /// The canonical request, six parts on lines of their own.
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

    /// What the keyed hash covers: the algorithm and the hash of the canonical request.
    #[must_use]
    pub fn string_to_sign(&self) -> String {
        format!("{ALGORITHM}\n{}", payload_hash(self.canonical().as_bytes()))
    }

    /// The signature, hexadecimal in lower case.
    #[must_use]
    pub fn signature(&self, secret: &SecretString) -> String {
        hex::encode(self.mac(secret).finalize().into_bytes())
    }

    /// The keyed hash before it is encoded, for comparison in constant time on the verifying side.
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

    /// Values are trimmed outside and kept inside; those of equal names are sorted, as their order may change on
    /// the way.
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
