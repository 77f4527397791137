//! The access key that signs calls; its `Debug` output has no values. No I/O.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use secrecy::{ExposeSecret as _, SecretString};

/// A long-term or temporary access key. The type redacts the secret and the token. `Debug` leaves out the key ID too,
/// as it has no place in logs that others read.
#[derive(Clone)]
pub struct AccessKey {
    /// The AccessKey ID.
    pub id: String,
    /// The AccessKey secret.
    pub secret: SecretString,
    /// The security token of temporary credentials (STS).
    pub security_token: Option<SecretString>,
}

/// The prefixes of long-term and temporary key IDs, with the number of letters and digits after them.
const IDS: [(&str, RangeInclusive<usize>); 2] = [("LTAI", 12..=28), ("STS.", 12..=124)];

impl AccessKey {
    /// Whether the ID has the form of an Alibaba Cloud key ID. A secret has not.
    #[must_use]
    pub fn has_known_id(&self) -> bool {
        IDS.iter().any(|(prefix, length)| {
            let rest = self.id.strip_prefix(prefix);
            rest.is_some_and(|rest| {
                length.contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        })
    }

    /// Whether it is temporary: STS or the metadata service issued it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.id.starts_with("STS.")
    }

    /// Whether `text` from outside contains the ID, the secret or the token: it must then not be passed on.
    #[must_use]
    pub fn is_named_in(&self, text: &str) -> bool {
        self.parts().any(|part| text.contains(part))
    }

    /// Whether `text`, which is short and may have been cut, contains a piece of the key that is too long to be chance.
    #[must_use]
    pub fn is_quoted_in(&self, text: &str) -> bool {
        let repeats = |part: &str| {
            let length = part.len().min(PIECE);
            // A hash set, as comparing each pair of pieces would take the product of the two lengths.
            let pieces: HashSet<&[u8]> = part.as_bytes().windows(length).collect();
            text.as_bytes().windows(length).any(|window| pieces.contains(window))
        };
        self.parts().any(repeats)
    }

    /// The non-empty ones of ID, secret and token.
    fn parts(&self) -> impl Iterator<Item = &str> {
        let token = self.security_token.as_ref().map_or("", |token| token.expose_secret());
        [self.id.as_str(), self.secret.expose_secret(), token].into_iter().filter(|part| !part.is_empty())
    }
}

/// The shortest piece of a key, in bytes, that is not chance.
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
