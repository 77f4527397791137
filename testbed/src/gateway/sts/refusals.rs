//! The error codes of STS. Clients decide by the code; some of the statuses are assumed.

use http::StatusCode;

use crate::gateway::errors::ApiError;

/// The caller may not assume a role at all, or not this one.
#[must_use]
pub fn no_permission() -> ApiError {
    let message = "You are not authorized to do this action. You should be authorized by RAM.";
    ApiError::new(StatusCode::FORBIDDEN, "NoPermission", message)
}

/// There is no such role.
#[must_use]
pub fn unknown_role() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "EntityNotExist.Role", "The specified Role not exists.")
}

/// This parameter of the session is wrong: `RoleArn`, `RoleSessionName`, `DurationSeconds`, `PolicyGrammar`.
#[must_use]
pub fn invalid(parameter: &str) -> ApiError {
    let message = format!("The parameter {parameter} is wrongly formed or out of its range.");
    ApiError::bad_request(format!("InvalidParameter.{parameter}"), message)
}

/// Why an OIDC token, or who sends it, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRefusal {
    /// There is no such provider, or the role does not trust the subject.
    NoPermission,
    /// The token is no signed token of a form that is accepted, or does not say what it must.
    Invalid,
    /// None of the issuer's keys made the signature.
    InvalidSignature,
    /// `exp` is in the past.
    Expired,
    /// `iss` is not the provider's issuer.
    IssuerNotMatch,
    /// `aud` has none of the provider's client IDs.
    AudienceNotMatch,
    /// The issuer's keys cannot be read.
    IssuerConfigurationBroken,
}

impl TokenRefusal {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NoPermission => ("NoPermission", "There is no permission to assume the role with this token."),
            Self::Invalid => ("OIDCToken.Invalid", "The OIDC token is invalid."),
            Self::InvalidSignature => ("OIDCToken.InvalidSignature", "The signature of the OIDC token is invalid."),
            Self::Expired => ("OIDCToken.Expired", "The OIDC token is expired."),
            Self::IssuerNotMatch => ("OIDCToken.IssuerNotMatch", "The issuer of the OIDC token is not the provider's."),
            Self::AudienceNotMatch => {
                ("OIDCToken.AudienceNotMatch", "The audience of the OIDC token is none of the provider's client IDs.")
            }
            Self::IssuerConfigurationBroken => {
                ("OIDCToken.IssuerConfigurationBroken", "The keys of the issuer cannot be read.")
            }
        }
    }
}

impl From<TokenRefusal> for ApiError {
    fn from(refusal: TokenRefusal) -> Self {
        let (code, message) = refusal.words();
        Self::new(StatusCode::UNAUTHORIZED, format!("AuthenticationFail.{code}"), message)
    }
}
