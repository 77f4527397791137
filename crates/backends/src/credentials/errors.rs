//! Why there is no access key, and the classes of STS's error codes. Pure.

use sessionkill_api::WaitReason;
use sessionkill_core::backend::{CallError, ErrorKind};
pub use sessionkill_core::credentials::Retry;

/// Why there is no access key. The text says what to do, and holds no key, no token and no string to sign.
///
/// With [`WaitReason::CredentialsRejected`] the key of the Secret was refused: whoever read it should read it anew. A key
/// that differs is another identity, and is tried at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unavailable {
    /// Why requests wait.
    pub reason: WaitReason,
    /// The same for people, and what to do.
    pub message: String,
    /// How soon it is tried again.
    pub retry: Retry,
}

impl Unavailable {
    /// It may pass by itself.
    #[must_use]
    pub fn for_now(reason: WaitReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry: Retry::Soon }
    }

    /// Somebody must change something.
    #[must_use]
    pub fn until_changed(reason: WaitReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry: Retry::Slowly }
    }
}

/// An action of STS that issues keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StsAction {
    /// For another access key.
    AssumeRole,
    /// For a token of a `ServiceAccount`.
    AssumeRoleWithOidc,
}

impl StsAction {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AssumeRole, Self::AssumeRoleWithOidc];

    /// The name of the action.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithOidc => "AssumeRoleWithOIDC",
        }
    }
}

/// The code with which STS refuses a token that has expired: a new one may do.
pub(super) const TOKEN_EXPIRED: &str = "AuthenticationFail.OIDCToken.Expired";

/// What STS's refusal of `action` means, by its code and never by its HTTP status. The calls issue keys only, so all of
/// them may be repeated: an unknown code is taken for a failure that passes.
#[must_use]
pub fn class_of(action: StsAction, error: &CallError) -> (WaitReason, Retry) {
    let code = error.code.as_str();
    if action == StsAction::AssumeRoleWithOidc && code.starts_with("AuthenticationFail.OIDCToken.") {
        return (WaitReason::OidcTokenRejected, Retry::Slowly);
    }
    if code.starts_with("AuthenticationFail.") || code.starts_with("EntityNotExist.") {
        return (WaitReason::RoleNotAssumable, Retry::Slowly);
    }
    match error.kind {
        // `NoPermission`, and parameters that are refused for what they say, such as the role's ARN.
        ErrorKind::PermissionDenied | ErrorKind::Rejected => (WaitReason::RoleNotAssumable, Retry::Slowly),
        ErrorKind::CredentialsRejected => (WaitReason::CredentialsRejected, Retry::Slowly),
        ErrorKind::ClockRefused { .. } => (WaitReason::TimeStampRefused, Retry::Soon),
        ErrorKind::Unreachable
        | ErrorKind::Throttled { .. }
        | ErrorKind::OperationNotFound
        | ErrorKind::OperationUnavailable
        | ErrorKind::DeadlinePassed
        | ErrorKind::ProxyNotSupported
        | ErrorKind::NotAllowed
        | ErrorKind::Ambiguous => (WaitReason::StsUnavailable, Retry::Soon),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alibaba::error_codes::from_body;

    fn class(action: StsAction, code: &str) -> (WaitReason, Retry) {
        class_of(action, &from_body(code, "", "R", None, None))
    }

    #[test]
    fn what_only_a_person_can_change_is_asked_for_slowly() {
        use StsAction::{AssumeRole, AssumeRoleWithOidc};
        for (action, code, reason, retry) in [
            (AssumeRole, "NoPermission", WaitReason::RoleNotAssumable, Retry::Slowly),
            (AssumeRole, "EntityNotExist.Role", WaitReason::RoleNotAssumable, Retry::Slowly),
            (AssumeRole, "MissingRoleArn", WaitReason::RoleNotAssumable, Retry::Slowly),
            (AssumeRole, "InvalidParameter.DurationSeconds", WaitReason::RoleNotAssumable, Retry::Slowly),
            (AssumeRole, "InvalidSecurityToken.Expired", WaitReason::CredentialsRejected, Retry::Slowly),
            (AssumeRole, "InvalidTimeStamp.Expired", WaitReason::TimeStampRefused, Retry::Soon),
            (AssumeRole, "Throttling.User", WaitReason::StsUnavailable, Retry::Soon),
            (AssumeRole, "InternalError", WaitReason::StsUnavailable, Retry::Soon),
            (AssumeRole, "SomethingNew", WaitReason::StsUnavailable, Retry::Soon),
            (AssumeRole, "AuthenticationFail.OIDCToken.Invalid", WaitReason::RoleNotAssumable, Retry::Slowly),
            (AssumeRoleWithOidc, "AuthenticationFail.NoPermission", WaitReason::RoleNotAssumable, Retry::Slowly),
            (AssumeRoleWithOidc, TOKEN_EXPIRED, WaitReason::OidcTokenRejected, Retry::Slowly),
            (AssumeRoleWithOidc, "AuthenticationFail.OIDCToken.New", WaitReason::OidcTokenRejected, Retry::Slowly),
        ] {
            assert_eq!(class(action, code), (reason, retry), "{code}");
        }
    }

    #[test]
    fn no_answer_is_no_refusal() {
        for kind in [ErrorKind::Unreachable, ErrorKind::Ambiguous] {
            let error = CallError::local(kind, "X", "");
            assert_eq!(class_of(StsAction::AssumeRole, &error), (WaitReason::StsUnavailable, Retry::Soon));
        }
    }
}
