//! Signs requests to Alibaba's `OpenAPI` gateway, in both ways that the gateway accepts. Pure: no clock, randomness or
//! I/O.
//!
//! The client sends [`v3`] by default, and [`v1`] for private-cloud gateways. Both are functions of the bytes on the
//! wire, so that a verifier can use the same canonicalisation.
//!
//! Strings to sign contain the access key ID, the security token and SQL text: nothing here implements `Debug` for
//! them, and the secret is always a [`secrecy::SecretString`].

use hmac::{KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub mod v1;
pub mod v3;

/// Everything except the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes `text` as both signature versions require: every UTF-8 byte except `A-Z a-z 0-9 - _ . ~` becomes
/// `%XX` in upper case. A space is `%20`, never `+`.
#[must_use]
pub fn enc(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `enc(name)=enc(value)` joined by `&`, sorted by the bytes of the raw names. Sorting after encoding would place `~`
/// and non-ASCII names differently than the gateway does.
fn enc_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", enc(name), enc(value))).collect();
    pairs.join("&")
}

fn keyed<M: Mac + KeyInit>(key: &[u8], message: &str) -> M {
    let mac = <M as KeyInit>::new_from_slice(key);
    mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")).chain_update(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(enc("aZ09-_.~"), "aZ09-_.~");
        assert_eq!(enc(" *+/%'é😀"), "%20%2A%2B%2F%25%27%C3%A9%F0%9F%98%80");
    }

    #[test]
    fn names_are_sorted_before_they_are_encoded() {
        assert_eq!(enc_sorted([("é", "1"), ("~", "2"), ("b", "3"), ("B", "")]), "B=&b=3&~=2&%C3%A9=1");
    }
}
