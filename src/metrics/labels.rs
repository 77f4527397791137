//! The label values: closed sets. Values from outside are mapped to a class first, so that neither a user nor the
//! gateway can add a series. Pure.

use strum::{IntoStaticStr, VariantArray};

use crate::api::{Operation, Outcome, SessionOutcome, SessionReason, WaitReason};
use crate::domain::backend::{ANSWER_LOST, CallError, ErrorKind};

/// The name of a label, and its value.
pub(super) type Label = (&'static str, &'static str);

/// A call of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Ends sessions.
    Kill(Operation),
    /// Lists sessions, by this action.
    List(&'static str),
    /// Asks whether a kill would be taken, without naming a session.
    Probe,
    /// Connects and logs in, to a backend whose connections stay open.
    Connect,
}

/// The answer to a call, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Code {
    /// Success.
    Ok,
    /// Refused, as calls come too fast.
    Throttled,
    /// The access key was refused.
    CredentialsRejected,
    /// The access key may not do this.
    PermissionDenied,
    /// The time of the call was refused.
    TimeStampRefused,
    /// The gateway does not know the operation.
    OperationNotFound,
    /// The gateway does not offer the operation in this form.
    OperationUnavailable,
    /// The parameters were refused.
    Rejected,
    /// The server is a proxy.
    ProxyNotSupported,
    /// The server is not what the connection says.
    NotAllowed,
    /// Nothing was sent: name resolution, connecting or TLS failed.
    Unreachable,
    /// Sent, but no answer came.
    AnswerLost,
    /// Sent, but the answer cannot be read.
    AnswerUnreadable,
    /// Sent, with an error code that does not prove that nothing was executed.
    OtherError,
}

impl Call {
    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kill(operation) => operation.as_str(),
            Self::List(action) => action,
            Self::Probe => "Probe",
            Self::Connect => "Connect",
        }
    }
}

impl Stage {
    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Code {
    /// The class of `error`; `None` if nothing was tried at all.
    #[must_use]
    pub fn of(error: &CallError) -> Option<Self> {
        Some(match error.kind {
            ErrorKind::DeadlinePassed => return None,
            ErrorKind::Unreachable => Self::Unreachable,
            ErrorKind::Throttled { .. } => Self::Throttled,
            ErrorKind::CredentialsRejected => Self::CredentialsRejected,
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            ErrorKind::ClockRefused { .. } => Self::TimeStampRefused,
            ErrorKind::OperationNotFound => Self::OperationNotFound,
            ErrorKind::OperationUnavailable => Self::OperationUnavailable,
            ErrorKind::Rejected => Self::Rejected,
            ErrorKind::ProxyNotSupported => Self::ProxyNotSupported,
            ErrorKind::NotAllowed => Self::NotAllowed,
            ErrorKind::Ambiguous => match error.code.as_str() {
                ANSWER_LOST => Self::AnswerLost,
                "AnswerTooLarge" | "UnreadableAnswer" => Self::AnswerUnreadable,
                _ => Self::OtherError,
            },
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A stage of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Stage {
    /// It waits in the queue.
    Queued,
    /// Its process list is read and its claim is made.
    Preparing,
    /// Its call is made.
    Calling,
    /// The process list is read until its sessions are gone.
    Verifying,
    /// Its outcome is written.
    Settling,
}

/// An output of the operator for lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Output {
    /// Logs, on standard error.
    Logs,
    /// Audit lines, on standard output.
    Audit,
}

/// A clock compared with the operator's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Clock {
    /// The clock of the Kubernetes API server.
    ApiServer,
    /// The gateway clock that differs most.
    Gateway,
}

/// The result of a try to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum ClaimResult {
    /// The receipt is stored: the call may be made.
    Granted,
    /// A receipt for the same content exists.
    Taken,
    /// The API server refused or did not answer: nothing was sent.
    Failed,
    /// The call was provably not executed, and the claim was given back.
    Released,
}

/// The outcome class of a finished request, for alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Ending {
    /// Its goal is reached.
    Succeeded,
    /// Its goal is not reached.
    Failed,
    /// It is unknown whether its sessions ended.
    Unknown,
    /// `notAfterTime` had passed: nothing was sent.
    Expired,
    /// It was deleted before it was sent.
    Deleted,
}

impl Ending {
    /// The class of the reason with which a request ended.
    #[must_use]
    pub const fn of(reason: Outcome) -> Self {
        match reason {
            Outcome::SessionsKilled
            | Outcome::SessionsGone
            | Outcome::AlreadyExecuted
            | Outcome::NothingMatched
            | Outcome::DryRunCompleted => Self::Succeeded,
            Outcome::ExpiredOnArrival | Outcome::KillMissed | Outcome::DeadlineExceeded => Self::Expired,
            Outcome::Deleted => Self::Deleted,
            Outcome::OutcomeUnknown => Self::Unknown,
            Outcome::PreconditionFailed
            | Outcome::TooManyMatched
            | Outcome::NotAllowed
            | Outcome::InvalidObject
            | Outcome::PartiallyKilled
            | Outcome::KillFailed
            | Outcome::StillPresent => Self::Failed,
        }
    }
}

/// Why the outcome of a session is unknown after a call.
pub(super) const CAUSES: &[SessionReason] =
    &[SessionReason::AnswerLost, SessionReason::MissingInAnswer, SessionReason::NotVerified, SessionReason::HolderLost];

/// What an unknown outcome can become in the end, by the process list.
pub(super) const RESOLUTIONS: &[SessionOutcome] =
    &[SessionOutcome::Killed, SessionOutcome::Gone, SessionOutcome::Failed, SessionOutcome::Unknown];

/// The sources of access keys that are renewed, by the name that users write.
pub const SOURCES: [&str; 4] = ["secretRef", "serviceAccountRef", "operatorIdentity", "instanceRole"];

/// The actions of the Security Token Service that issue access keys.
pub const STS_ACTIONS: [&str; 2] = ["AssumeRole", "AssumeRoleWithOIDC"];

/// Why a renewal fails.
pub(super) const NOT_RENEWED: [WaitReason; 7] = [
    WaitReason::CredentialsRejected,
    WaitReason::MetadataUnavailable,
    WaitReason::OidcTokenRejected,
    WaitReason::RoleNotAssumable,
    WaitReason::ServiceAccountUnavailable,
    WaitReason::StsUnavailable,
    WaitReason::TimeStampRefused,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oceanbase::error_codes::from_body;

    #[test]
    fn a_code_from_outside_is_put_into_a_class() {
        let of = |code: &str| Code::of(&from_body(code, "", "", None, None)).map(Code::as_str);
        assert_eq!(of("Throttling.User"), Some("Throttled"));
        assert_eq!(of("made up by a gateway\n"), Some("OtherError"));
        let local = |kind, code| Code::of(&CallError::local(kind, code, "")).map(Code::as_str);
        assert_eq!(local(ErrorKind::Ambiguous, "AnswerLost"), Some("AnswerLost"));
        assert_eq!(local(ErrorKind::DeadlinePassed, "DeadlinePassed"), None, "no call was made");
    }

    #[test]
    fn names_are_those_of_the_status() {
        for outcome in SessionOutcome::VARIANTS {
            assert_eq!(serde_json::json!(outcome), outcome.as_str());
        }
        for reason in SessionReason::VARIANTS {
            assert_eq!(serde_json::json!(reason), reason.as_str());
        }
        for outcome in Outcome::VARIANTS {
            assert_eq!(serde_json::json!(outcome), outcome.as_str());
        }
    }
}
