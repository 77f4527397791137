//! The access key that signs a call. Values never appear in `Debug` output.

use secrecy::SecretString;

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

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").finish_non_exhaustive()
    }
}
