//! The source `secretRef`: an access key that a Secret holds. No I/O: whoever knows Kubernetes reads the Secret.

use std::hash::{Hash, Hasher};

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use crate::access_key::AccessKey;

/// The access key of a Secret. Two of them are equal if all of their parts are: a corrected secret, or a new token, makes
/// another identity, which inherits no pause of the old one.
#[derive(Clone)]
pub struct SecretKey {
    name: String,
    key: AccessKey,
    digest: [u8; 32],
}

impl SecretKey {
    /// The access key `key` of the Secret `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, key: AccessKey) -> Self {
        let mut digest = Sha256::new();
        let token = key.security_token.as_ref().map_or("", |token| token.expose_secret());
        for part in [key.id.as_str(), key.secret.expose_secret(), token] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        Self { name: name.into(), key, digest: digest.finalize().into() }
    }

    /// The name of the Secret.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The access key.
    #[must_use]
    pub const fn key(&self) -> &AccessKey {
        &self.key
    }
}

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.digest) == (&other.name, &other.digest)
    }
}

impl Eq for SecretKey {}

impl Hash for SecretKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.digest).hash(state);
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_differs_in_any_part_is_another_one() {
        let key = |id: &str, secret: &str, token: Option<&str>| {
            let key = AccessKey { id: id.into(), secret: secret.into(), security_token: token.map(Into::into) };
            SecretKey::new("ak", key)
        };
        assert_eq!(key("a", "b", Some("c")), key("a", "b", Some("c")));
        let all = [key("a", "b", None), key("a", "b", Some("c")), key("ab", "", None), key("a", "bc", None)];
        for (n, one) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|other| one != other), "{n}");
        }
        assert_eq!(format!("{:?}", all[1]), "SecretKey { name: \"ak\", .. }");
    }
}
