//! The access key that signs a call. Values never appear in `Debug` output.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use secrecy::{ExposeSecret as _, SecretString};

/// An access key, long-term or temporary. The secret and the token are redacted by their type, the key ID by hand: it is
/// no secret to its owner, but has no place in logs that others read.
#[derive(Clone)]
pub struct AccessKey {
    /// The AccessKey ID.
    pub id: String,
    /// The AccessKey secret.
    pub secret: SecretString,
    /// The security token of temporary credentials (STS).
    pub security_token: Option<SecretString>,
}

/// What IDs begin with, for long-term and for temporary keys, and how many letters and digits follow.
const IDS: [(&str, RangeInclusive<usize>); 2] = [("LTAI", 12..=28), ("STS.", 12..=124)];

impl AccessKey {
    /// Whether the ID looks like one that Alibaba Cloud gives out. A secret does not.
    #[must_use]
    pub fn has_known_id(&self) -> bool {
        IDS.iter().any(|(prefix, length)| {
            let rest = self.id.strip_prefix(prefix);
            rest.is_some_and(|rest| {
                length.contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        })
    }

    /// Whether `text`, which came from outside, repeats a part of the key: it must then go no further.
    #[must_use]
    pub fn is_named_in(&self, text: &str) -> bool {
        self.parts().any(|part| text.contains(part))
    }

    /// Whether `text`, which is short and may have been cut, repeats a piece of a part of the key: more of it than chance
    /// explains.
    #[must_use]
    pub fn is_quoted_in(&self, text: &str) -> bool {
        let repeats = |part: &str| {
            let length = part.len().min(PIECE);
            // Looked up: to compare each piece of the one with each of the other would take the product of their lengths.
            let pieces: HashSet<&[u8]> = part.as_bytes().windows(length).collect();
            text.as_bytes().windows(length).any(|window| pieces.contains(window))
        };
        self.parts().any(repeats)
    }

    /// The ID, the secret and the token, as far as they are not empty.
    fn parts(&self) -> impl Iterator<Item = &str> {
        let token = self.security_token.as_ref().map_or("", |token| token.expose_secret());
        [self.id.as_str(), self.secret.expose_secret(), token].into_iter().filter(|part| !part.is_empty())
    }
}

/// The length from which on a piece of a key is one.
const PIECE: usize = 16;

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_key_is_found_and_an_empty_one_is_not() {
        let mut key = AccessKey { id: "id-1".to_owned(), secret: "s-1".into(), security_token: Some("t-1".into()) };
        for part in ["id-1", "s-1", "t-1"] {
            assert!(key.is_named_in(&format!("before {part} after")), "{part}");
        }
        assert!(!key.is_named_in("id-2 s-2 t") && !key.is_quoted_in("id-2 s-2 t"));
        key.secret = "0123456789abcdefghij".into();
        assert!(key.is_quoted_in("...456789abcdefghij") && !key.is_quoted_in("...56789abcdefghij"));
        key.security_token = Some("".into());
        assert!(!key.is_named_in("anything"));
    }
}
