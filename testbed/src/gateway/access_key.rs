//! Access keys.

use std::str::FromStr;

use secrecy::SecretString;

/// A key that the gateway knows. `Debug` shows its id only.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The access key id.
    pub id: String,
    /// The access key secret.
    pub secret: SecretString,
    /// The security token, without which a temporary key is refused.
    pub token: Option<SecretString>,
}

impl FromStr for AccessKey {
    type Err = &'static str;

    /// Reads `ID:SECRET` or `ID:SECRET:TOKEN`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let (Some(id), Some(secret)) = (parts.next(), parts.next()) else {
            return Err("an access key is written ID:SECRET or ID:SECRET:TOKEN");
        };
        Ok(Self { id: id.into(), secret: secret.into(), token: parts.next().map(Into::into) })
    }
}
