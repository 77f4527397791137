//! Why a call has no usable answer, and whether it may have been executed. Branches on the error `Code`, never on the
//! HTTP status: the API's own pages disagree about statuses.

use jiff::{SignedDuration, Timestamp};

/// A call without a usable answer. Its texts never carry keys, tokens, strings to sign or SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The API's error Code, or a word of ours for what is no answer of the API.
    pub code: String,
    /// For people; bounded, and empty where the API's text may echo what was signed.
    pub message: String,
    /// Alibaba Cloud's RequestId; empty when no answer came.
    pub request_id: String,
}

/// What went wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Name resolution, connecting or TLS failed: nothing was sent.
    Unreachable,
    /// Refused for its rate, before execution.
    Throttled {
        /// The pause that the gateway asked for (`x-acs-retry-after`).
        retry_after: Option<SignedDuration>,
    },
    /// The access key, its token or its signature was refused.
    CredentialsRejected,
    /// The access key may not do this.
    PermissionDenied,
    /// The time stamp was refused.
    TimeStampRefused {
        /// The gateway's clock, by the answer's Date header.
        gateway_time: Option<Timestamp>,
    },
    /// There is no such operation: it never was, or was removed.
    OperationNotFound,
    /// The gateway does not offer the operation in this form.
    OperationUnavailable,
    /// The request itself was refused (parameters, instance, tenant): the same request will be refused again.
    Rejected,
    /// The dispatch deadline passed before the call could be sent.
    DeadlinePassed,
    /// Sent, and nothing certain came back. It may have been executed.
    Ambiguous,
}

/// The code of a call that was sent and not answered in time, or whose connection broke.
pub const ANSWER_LOST: &str = "AnswerLost";

impl ErrorKind {
    /// Whether the call was provably not executed, so that it may be made again.
    #[must_use]
    pub const fn is_not_executed(self) -> bool {
        !matches!(self, Self::Ambiguous)
    }
}

impl CallError {
    /// An error of ours, not of the API.
    #[must_use]
    pub fn local(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: bounded(&message.into()), request_id: String::new() }
    }

    /// An error body of the API.
    #[must_use]
    pub fn from_body(
        code: &str,
        message: &str,
        request_id: &str,
        retry_after: Option<SignedDuration>,
        gateway_time: Option<Timestamp>,
    ) -> Self {
        let kind = kind_of(code, retry_after, gateway_time);
        let message = if echoes_what_was_signed(code, message) { String::new() } else { bounded(message) };
        let word = |text: &str| text.chars().filter(char::is_ascii_graphic).take(64).collect();
        Self { kind, code: word(code), message, request_id: word(request_id) }
    }

    /// Whether the instance or the tenant was refused, which all sessions of a call have in common.
    #[must_use]
    pub fn is_of_whole_call(&self) -> bool {
        self.kind == ErrorKind::Rejected
            && ["MissingInstanceId", "InvalidInstanceId", "MissingTenantId", "InvalidTenantId"]
                .contains(&family(&self.code))
    }
}

/// The other side chooses the length: of its messages, and of the names in a certificate that is refused. What cannot be
/// seen, such as a mark of direction, goes.
fn bounded(text: &str) -> String {
    let is_seen = |c: &char| matches!(c, ' '..='~') || c.escape_debug().len() == 1;
    text.chars().filter(is_seen).take(256).collect()
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if !self.request_id.is_empty() {
            write!(f, " (request {})", self.request_id)?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}

/// The class of an error Code, by the common error pages and public clients. A Code that is not known here is
/// ambiguous: it may stand for a failure in the middle of the execution.
fn kind_of(code: &str, retry_after: Option<SignedDuration>, gateway_time: Option<Timestamp>) -> ErrorKind {
    let family = family(code);
    match family {
        "Throttling" => ErrorKind::Throttled { retry_after },
        "Rejected" if code == "Rejected.Throttling" => ErrorKind::Throttled { retry_after },
        // Seen before under this nonce: a copy of this very request came first and may have been executed.
        "SignatureNonceUsed" => ErrorKind::Ambiguous,
        "InvalidTimeStamp" => ErrorKind::TimeStampRefused { gateway_time },
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "InvalidSecurityToken"
        | "MissingSecurityToken"
        | "InvalidAccessKeySecret"
        | "InvalidSignatureMethod" => ErrorKind::CredentialsRejected,
        "Forbidden" | "NoPermission" => ErrorKind::PermissionDenied,
        // The exact codes only: they alone prove that another operation must be used.
        "InvalidAction" | "InvalidApi" if matches!(code, "InvalidAction.NotFound" | "InvalidApi.NotFound") => {
            ErrorKind::OperationNotFound
        }
        "InvalidAction" | "InvalidApi" | "NoSuchVersion" | "UnsupportedHTTPMethod" => ErrorKind::OperationUnavailable,
        // The Terraform provider's word for an instance or tenant that does not exist.
        "IllegalOperation" if code == "IllegalOperation.Resource" => ErrorKind::Rejected,
        _ if names_a_parameter(family, "Missing") || names_a_parameter(family, "Invalid") => ErrorKind::Rejected,
        _ => ErrorKind::Ambiguous,
    }
}

/// A code without what is more precise in it.
fn family(code: &str) -> &str {
    code.split('.').next().unwrap_or(code)
}

/// `MissingInstanceId`, `InvalidParameter`: the prefix and a name.
fn names_a_parameter(family: &str, prefix: &str) -> bool {
    family.strip_prefix(prefix).is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// These answers repeat the string to sign: the access key ID, the security token and the SQL text are in it.
fn echoes_what_was_signed(code: &str, message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    code.starts_with("Signature")
        || code == "IncompleteSignature"
        || ["string to sign", "stringtosign", "canonicalrequest", "accesskeyid=", "securitytoken", "signature="]
            .iter()
            .any(|mark| lower.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: &str) -> ErrorKind {
        kind_of(code, None, None)
    }

    #[test]
    fn known_refusals_are_provably_not_executed() {
        for code in [
            "Throttling",
            "Throttling.User",
            "Throttling.Api",
            "Rejected.Throttling",
            "SignatureDoesNotMatch",
            "IncompleteSignature",
            "InvalidAccessKeyId.NotFound",
            "InvalidAccessKeyId.Inactive",
            "InvalidSecurityToken.Expired",
            "MissingSecurityToken",
            "InvalidTimeStamp.Expired",
            "InvalidTimeStamp.Format",
            "Forbidden",
            "Forbidden.RAM",
            "Forbidden.RiskControl",
            "NoPermission",
            "InvalidAction.NotFound",
            "InvalidApi.NotFound",
            "NoSuchVersion",
            "MissingInstanceId",
            "MissingParameter",
            "InvalidParameter",
            "InvalidTenantId",
            "IllegalOperation.Resource",
        ] {
            assert!(kind(code).is_not_executed(), "{code}");
        }
    }

    #[test]
    fn only_what_names_the_instance_or_the_tenant_is_of_all_sessions_of_a_call() {
        let is_of_whole_call = |code| CallError::from_body(code, "", "R", None, None).is_of_whole_call();
        for code in ["InvalidInstanceId.NotFound", "InvalidTenantId", "MissingInstanceId", "MissingTenantId"] {
            assert!(is_of_whole_call(code), "{code}");
        }
        // It does not say which resource.
        for code in
            ["IllegalOperation.Resource", "InvalidParameter", "InvalidSessionList", "MissingParameter", "Throttling"]
        {
            assert!(!is_of_whole_call(code), "{code}");
        }
    }

    #[test]
    fn only_the_exact_codes_prove_that_an_operation_does_not_exist() {
        for code in ["InvalidAction.NotFound", "InvalidApi.NotFound"] {
            assert_eq!(kind(code), ErrorKind::OperationNotFound, "{code}");
        }
        for code in [
            "InvalidAction",
            "InvalidApi",
            "InvalidAction.Forbidden",
            "InvalidAction.NotFound.Version",
            "InvalidApi.notfound",
            "NoSuchVersion",
            "UnsupportedHTTPMethod",
        ] {
            assert_eq!(kind(code), ErrorKind::OperationUnavailable, "{code}");
            assert!(kind(code).is_not_executed(), "{code}");
        }
    }

    #[test]
    fn everything_else_is_ambiguous() {
        for code in [
            "InternalError",
            "UnknownError",
            "ServiceUnavailable",
            "SignatureNonceUsed",
            "SomethingNew",
            "Invalid",
            "Invalidated",
            "Missing",
            "throttling",
            "",
        ] {
            assert_eq!(kind(code), ErrorKind::Ambiguous, "{code}");
        }
    }

    #[test]
    fn texts_from_outside_are_bounded() {
        let long = "数\n".repeat(1000);
        let lengths = |error: CallError| [error.code, error.message, error.request_id].map(|text| text.chars().count());
        assert_eq!(
            lengths(CallError::from_body(&"c".repeat(1000), &long, &"r".repeat(1000), None, None)),
            [64, 256, 64]
        );
        assert_eq!(lengths(CallError::local(ErrorKind::Unreachable, "Unreachable", long)), [11, 256, 0]);
    }

    #[test]
    fn messages_that_echo_what_was_signed_are_dropped() {
        let echo = "server string to sign is:POST&%2F&AccessKeyId%3DLTAI";
        assert_eq!(CallError::from_body("SignatureDoesNotMatch", echo, "R", None, None).message, "");
        assert_eq!(CallError::from_body("InvalidParameter", echo, "R", None, None).message, "");
        let plain = CallError::from_body("Throttling.User", "slow\n\u{202e}\u{200b}down", "R-1", None, None);
        assert_eq!(plain.to_string(), "Throttling.User: slowdown (request R-1)");
    }
}
