//! A token of a `ServiceAccount` for STS. It is a bearer token: whoever has it can use it. No I/O.

use secrecy::{ExposeSecret as _, SecretString};

/// The characters of a token that STS takes: one of Kubernetes has about 900.
const LENGTHS: std::ops::RangeInclusive<usize> = 4..=20_000;

/// The most bytes of a file with a token: the longest token, and a line break.
pub(super) const LONGEST_FILE: u64 = 20_002;

/// A token of a length that STS takes, without blanks around it. It is sent in the body of a request, and never logged.
#[derive(Clone, Debug)]
pub struct OidcToken(SecretString);

impl OidcToken {
    /// The token in `text`, which may end with a line break, as a file does; the error does not repeat it.
    pub fn new(text: &SecretString) -> Result<Self, String> {
        let trimmed = text.expose_secret().trim();
        if LENGTHS.contains(&trimmed.len()) && trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(trimmed.into()))
        } else {
            Err(format!("{} characters that are no token", trimmed.len()))
        }
    }

    /// The token itself.
    #[must_use]
    pub const fn secret(&self) -> &SecretString {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_at_the_end_is_not_part_of_the_token() {
        let token = |text: &str| OidcToken::new(&text.into()).map(|token| token.secret().expose_secret().to_owned());
        assert_eq!(token("eyJh.eyJz.c2ln\n").unwrap(), "eyJh.eyJz.c2ln");
        assert_eq!(token(&"x".repeat(20_000)).unwrap().len(), 20_000);
        for bad in ["", "\n", "abc", "eyJh eyJz", "eyJh\neyJz", "größe", &"x".repeat(20_001)] {
            let error = token(bad).unwrap_err();
            assert!(error.ends_with("characters that are no token"), "{error}");
        }
        assert!(!format!("{:?}", OidcToken::new(&"eyJh.canary".into())).contains("canary"));
    }
}
