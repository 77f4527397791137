//! The access key that signs a call. Values never appear in `Debug` output.

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

impl AccessKey {
    /// Whether `text`, which came from outside, repeats a part of the key: it must then go no further.
    #[must_use]
    pub fn is_named_in(&self, text: &[u8]) -> bool {
        let token = self.security_token.as_ref().map_or("", |token| token.expose_secret());
        [self.id.as_str(), self.secret.expose_secret(), token]
            .iter()
            .any(|part| !part.is_empty() && text.windows(part.len()).any(|window| window == part.as_bytes()))
    }
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").finish_non_exhaustive()
    }
}
