//! Classifies error bodies by whether the call may have been executed. It uses the error `Code`, never the HTTP status,
//! as the API's own pages contradict each other about statuses. Pure.

use jiff::{SignedDuration, Timestamp};
use sessionkill_core::backend::{CallError, ErrorKind, bounded};

use crate::access_key::AccessKey;

/// Builds the error for an error body of the API.
#[must_use]
pub fn from_body(
    code: &str,
    message: &str,
    request_id: &str,
    retry_after: Option<SignedDuration>,
    gateway_time: Option<Timestamp>,
) -> CallError {
    let kind = match kind_of(code, retry_after, gateway_time) {
        // A code for wrong parameters, although it is the token that has expired.
        ErrorKind::Rejected if message.contains(EXPIRED_TOKEN) => ErrorKind::CredentialsRejected,
        kind => kind,
    };
    let message = if echoes_what_was_signed(code, message) { String::new() } else { bounded(message) };
    let word = |text: &str| text.chars().filter(char::is_ascii_graphic).take(64).collect();
    let is_of_whole_call = kind == ErrorKind::Rejected && names_instance_or_tenant(code);
    CallError { kind, code: word(code), message, request_id: word(request_id), is_of_whole_call }
}

/// What a message says of an expired security token, whatever its code says.
const EXPIRED_TOKEN: &str = "SecurityToken.Expired";

/// Whether `error` may mean that `key`, which signed the call, has expired: a new key is then worth one more attempt, as
/// the call was refused before it was executed. An expired key is not always called so: it may not be found at all, or a
/// parameter may be called invalid. What is said of a signature is not about the key's age.
#[must_use]
pub fn may_mean_expired(error: &CallError, key: &AccessKey) -> bool {
    let code = error.code.as_str();
    let of_age = matches!(family(code), "InvalidSecurityToken" | "MissingSecurityToken")
        || code == "InvalidAccessKeyId.NotFound"
        || kind_of(code, None, None) != ErrorKind::CredentialsRejected;
    error.kind == ErrorKind::CredentialsRejected && key.is_temporary() && of_age
}

/// Whether the code refuses the instance or the tenant, which all sessions of the call share.
fn names_instance_or_tenant(code: &str) -> bool {
    ["MissingInstanceId", "InvalidInstanceId", "MissingTenantId", "InvalidTenantId"].contains(&family(code))
}

/// The class of an error code, by the common error pages and by public clients. An unknown code is ambiguous, as it may
/// mean a failure in the middle of execution.
fn kind_of(code: &str, retry_after: Option<SignedDuration>, gateway_time: Option<Timestamp>) -> ErrorKind {
    let family = family(code);
    match family {
        "Throttling" => ErrorKind::Throttled { retry_after },
        "Rejected" if code == "Rejected.Throttling" => ErrorKind::Throttled { retry_after },
        // This nonce was used before: a copy of this request came first and may have been executed.
        "SignatureNonceUsed" => ErrorKind::Ambiguous,
        "InvalidTimeStamp" => ErrorKind::ClockRefused { server_time: gateway_time },
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "InvalidSecurityToken"
        | "MissingSecurityToken"
        | "InvalidAccessKeySecret"
        | "InvalidSignatureMethod" => ErrorKind::CredentialsRejected,
        "Forbidden" | "NoPermission" => ErrorKind::PermissionDenied,
        // Only these exact codes prove that another operation must be used.
        "InvalidAction" | "InvalidApi" if matches!(code, "InvalidAction.NotFound" | "InvalidApi.NotFound") => {
            ErrorKind::OperationNotFound
        }
        "InvalidAction" | "InvalidApi" | "NoSuchVersion" | "UnsupportedHTTPMethod" => ErrorKind::OperationUnavailable,
        // The Terraform provider treats this as a missing instance or tenant.
        "IllegalOperation" if code == "IllegalOperation.Resource" => ErrorKind::Rejected,
        _ if names_a_parameter(family, "Missing") || names_a_parameter(family, "Invalid") => ErrorKind::Rejected,
        _ => ErrorKind::Ambiguous,
    }
}

/// The code up to its first dot.
fn family(code: &str) -> &str {
    code.split('.').next().unwrap_or(code)
}

/// Whether the code is the prefix and a name, such as `MissingInstanceId` or `InvalidParameter`.
fn names_a_parameter(family: &str, prefix: &str) -> bool {
    family.strip_prefix(prefix).is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// These answers repeat the string to sign, which contains the access key ID, the security token and the SQL text.
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
        let is_of_whole_call = |code| from_body(code, "", "R", None, None).is_of_whole_call;
        for code in ["InvalidInstanceId.NotFound", "InvalidTenantId", "MissingInstanceId", "MissingTenantId"] {
            assert!(is_of_whole_call(code), "{code}");
        }
        // This code does not say which resource.
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
    fn a_temporary_key_may_have_expired_whatever_the_code_says_of_it() {
        let key = |id: &str| AccessKey { id: id.to_owned(), secret: "s".into(), security_token: Some("t".into()) };
        let odd = "the parameter is wrong: SecurityToken.Expired";
        for (code, message, temporary, lasting) in [
            ("InvalidSecurityToken.Expired", "", true, false),
            ("InvalidSecurityToken.Malformed", "", true, false),
            ("MissingSecurityToken", "", true, false),
            ("InvalidAccessKeyId.NotFound", "", true, false),
            ("InvalidParameter", odd, true, false),
            ("InvalidParameter", "InstanceId is wrong", false, false),
            ("InvalidAccessKeyId.Inactive", "", false, false),
            ("SignatureDoesNotMatch", "", false, false),
            ("IncompleteSignature", "", false, false),
            ("Forbidden.RAM", "", false, false),
            ("InternalError", odd, false, false),
        ] {
            let error = from_body(code, message, "R", None, None);
            let means = |id| may_mean_expired(&error, &key(id));
            assert_eq!((means("STS.abc"), means("LTAIabc")), (temporary, lasting), "{code} {message}");
        }
        // What is ambiguous stays so, whatever it says: it may have been executed.
        assert_eq!(from_body("InternalError", odd, "R", None, None).kind, ErrorKind::Ambiguous);
        assert_eq!(from_body("InvalidParameter", odd, "R", None, None).kind, ErrorKind::CredentialsRejected);
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
        assert_eq!(lengths(from_body(&"c".repeat(1000), &long, &"r".repeat(1000), None, None)), [64, 256, 64]);
        assert_eq!(lengths(CallError::local(ErrorKind::Unreachable, "Unreachable", long)), [11, 256, 0]);
    }

    #[test]
    fn messages_that_echo_what_was_signed_are_dropped() {
        let echo = "server string to sign is:POST&%2F&AccessKeyId%3DLTAI";
        assert_eq!(from_body("SignatureDoesNotMatch", echo, "R", None, None).message, "");
        assert_eq!(from_body("InvalidParameter", echo, "R", None, None).message, "");
        let plain = from_body("Throttling.User", "slow\n\u{202e}\u{200b}down", "R-1", None, None);
        assert_eq!(plain.to_string(), "Throttling.User: slowdown (request R-1)");
    }
}
