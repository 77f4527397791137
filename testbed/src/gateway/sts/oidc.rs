//! Verifies OIDC tokens: RS256 with a key of the provider's issuer, and the claims.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use super::{issuer_keys::IssuerKeys, refusals::TokenRefusal, roles::OidcProvider};

/// The longest token, in bytes.
const LONGEST: usize = 20_000;

/// A provider with the keys of its issuer.
pub struct Provider {
    /// What it is.
    pub of: OidcProvider,
    keys: IssuerKeys,
}

/// A token that was verified.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// The provider that vouches for it.
    pub provider: OidcProvider,
    /// What it says.
    pub claims: Claims,
}

/// The claims that are used. All others are ignored.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// Whom the token names.
    pub sub: String,
    aud: Audience,
    /// When it expires, in seconds since 1970.
    pub exp: i64,
    nbf: Option<i64>,
    /// When it was made, in seconds since 1970.
    pub iat: Option<i64>,
}

/// API servers write a list, others text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// A token that was only taken apart.
struct Unverified<'a> {
    header: Header,
    claims: Claims,
    message: &'a [u8],
    signature: Vec<u8>,
}

impl Provider {
    /// Reads no key yet.
    #[must_use]
    pub fn new(of: OidcProvider) -> Self {
        Self { keys: IssuerKeys::new(of.kubeconfig.clone()), of }
    }

    /// Verifies a token at the time `now`. Spaces and line breaks around it do not count, as clients send the content of
    /// a file.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<VerifiedToken, TokenRefusal> {
        let token = Unverified::take_apart(token.trim()).ok_or(TokenRefusal::Invalid)?;
        if token.claims.iss != self.of.issuer {
            return Err(TokenRefusal::IssuerNotMatch);
        }
        let id = token.header.kid.as_deref().ok_or(TokenRefusal::Invalid)?;
        let key = self.keys.find(id).await.map_err(|error| {
            tracing::warn!("{}: {error:#}", self.of.arn);
            TokenRefusal::IssuerConfigurationBroken
        })?;
        if !key.is_some_and(|key| key.signed(token.message, &token.signature)) {
            return Err(TokenRefusal::InvalidSignature);
        }
        token.claims.check(&self.of.client_ids, now)?;
        Ok(VerifiedToken { provider: self.of.clone(), claims: token.claims })
    }
}

impl<'a> Unverified<'a> {
    /// `None` if it has not the form of a token that is signed by RS256.
    fn take_apart(token: &'a str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let header: Header = decode(header)?;
        if header.alg != "RS256" || header.crit.is_some() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header, claims: decode(claims)?, message: message.as_bytes(), signature })
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

impl Claims {
    fn check(&self, client_ids: &[String], now: Timestamp) -> Result<(), TokenRefusal> {
        if self.exp <= now.as_second() {
            return Err(TokenRefusal::Expired);
        }
        if self.nbf.is_some_and(|begin| begin > now.as_second()) {
            return Err(TokenRefusal::Invalid);
        }
        if !client_ids.iter().any(|id| self.audiences().contains(id)) {
            return Err(TokenRefusal::AudienceNotMatch);
        }
        Ok(())
    }

    /// All values of `aud`.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        match &self.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::More(all) => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn part(content: &Value) -> String {
        URL_SAFE_NO_PAD.encode(content.to_string())
    }

    fn claims() -> Value {
        json!({"iss": "i", "sub": "s", "aud": ["other", "sts"], "exp": NOW + 600, "nbf": NOW, "iat": NOW, "jti": "j"})
    }

    fn check(claims: &Value) -> Result<(), TokenRefusal> {
        let claims: Claims = serde_json::from_value(claims.clone()).unwrap();
        claims.check(&["sts".into()], Timestamp::from_second(NOW).unwrap())
    }

    fn with(field: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[field] = value;
        claims
    }

    #[test]
    fn the_claims_must_fit_the_provider_and_the_time() {
        assert_eq!(check(&claims()), Ok(()));
        assert_eq!(check(&with("aud", json!("sts"))), Ok(()));
        assert_eq!(check(&with("nbf", json!(null))), Ok(()));
        assert_eq!(check(&with("aud", json!("sts2"))), Err(TokenRefusal::AudienceNotMatch));
        assert_eq!(check(&with("aud", json!([]))), Err(TokenRefusal::AudienceNotMatch));
        assert_eq!(check(&with("exp", json!(NOW))), Err(TokenRefusal::Expired));
        assert_eq!(check(&with("nbf", json!(NOW + 1))), Err(TokenRefusal::Invalid));
    }

    #[test]
    fn only_a_signed_token_with_all_claims_is_taken_apart() {
        let header = json!({"alg": "RS256", "kid": "k"});
        let token = |header: &Value, claims: &Value| format!("{}.{}.c2ln", part(header), part(claims));
        let good = token(&header, &claims());
        assert_eq!(Unverified::take_apart(&good).unwrap().signature, b"sig");
        let without = |field: &str| {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(field);
            claims
        };
        for wrong in [
            token(&json!({"alg": "none", "kid": "k"}), &claims()),
            token(&json!({"alg": "HS256", "kid": "k"}), &claims()),
            token(&json!({"alg": "RS256", "kid": "k", "crit": ["exp"]}), &claims()),
            token(&json!({"kid": "k"}), &claims()),
            token(&header, &without("iss")),
            token(&header, &without("sub")),
            token(&header, &without("aud")),
            token(&header, &without("exp")),
            good.trim_end_matches(".c2ln").to_owned(),
            format!("{good}.c2ln"),
            format!("{good}="),
            "x".repeat(LONGEST + 1),
            String::new(),
        ] {
            assert!(Unverified::take_apart(&wrong).is_none(), "{wrong}");
        }
    }
}
