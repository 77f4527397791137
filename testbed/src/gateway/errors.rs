//! Errors in the gateway's own form, with its codes and texts, which clients depend on.

use http::StatusCode;
use serde_json::{Value, json};

use super::verify::{Echo, Refusal};

/// An error answer. No `Debug`: a refused signature echoes the string to sign, as the real gateway does.
pub struct ApiError {
    /// The HTTP status. Documentation pages disagree on it, so clients must decide by the code.
    pub status: StatusCode,
    /// The value of `Code`.
    pub code: String,
    /// The value of `Message`.
    pub message: String,
    /// Sent as `x-acs-retry-after`, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl ApiError {
    /// An error with any status, code and message.
    pub fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after_ms: None }
    }

    /// A refusal with status 400.
    pub fn bad_request(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// There is no access key with this ID.
    #[must_use]
    pub fn unknown_access_key() -> Self {
        Self::new(StatusCode::NOT_FOUND, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    }

    /// The signature is refused. The text is that of the real gateway, including the colon of version 1.0: the legacy
    /// Python client splits the text there, and fails without a colon.
    #[must_use]
    pub fn signature(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Incomplete(why) => Self::bad_request(
                "IncompleteSignature",
                format!("The request signature does not conform to Aliyun standards. server string to sign is:{why}"),
            ),
            Refusal::Mismatch(Echo::V1 { string_to_sign }) => Self::bad_request(
                "SignatureDoesNotMatch",
                format!(
                    "Specified signature is not matched with our calculation. server string to sign is:{string_to_sign}"
                ),
            ),
            Refusal::Mismatch(Echo::V3 { string_to_sign, canonical_request }) => Self::bad_request(
                "SignatureDoesNotMatch",
                format!(
                    "Specified signature does not match our calculation. server StringToSign is [{string_to_sign}] \
                     server CanonicalRequest is [{canonical_request}]"
                ),
            ),
        }
    }

    /// A temporary key without its token.
    #[must_use]
    pub fn missing_token() -> Self {
        Self::bad_request("MissingSecurityToken", "SecurityToken is mandatory for this action.")
    }

    /// The token does not belong to this key.
    #[must_use]
    pub fn wrong_token() -> Self {
        let message = "Specified SecurityToken mismatch with the AccessKey.";
        Self::bad_request("InvalidSecurityToken.MismatchWithAccessKey", message)
    }

    /// The token has expired. The real gateway is known to answer with other codes, too: `InvalidAccessKeyId.NotFound`,
    /// and `InvalidParameter` with a text that tells.
    #[must_use]
    pub fn expired_token(code: Option<&str>) -> Self {
        match code {
            None => Self::bad_request("InvalidSecurityToken.Expired", "Specified SecurityToken is expired."),
            Some("InvalidAccessKeyId.NotFound") => Self::unknown_access_key(),
            Some(code) => Self::bad_request(code, "The parameter is invalid: SecurityToken.Expired."),
        }
    }

    /// The session's policy does not allow the action.
    #[must_use]
    pub fn forbidden() -> Self {
        let message = "User not authorized to operate on the specified resource.";
        Self::new(StatusCode::FORBIDDEN, "Forbidden.RAM", message)
    }

    /// The time stamp is too far from the gateway's clock.
    #[must_use]
    pub fn expired_time_stamp() -> Self {
        Self::bad_request("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
    }

    /// The time stamp is not `yyyy-MM-ddTHH:mm:ssZ`.
    #[must_use]
    pub fn malformed_time_stamp() -> Self {
        Self::bad_request("InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
    }

    /// The nonce was used before.
    #[must_use]
    pub fn nonce_used() -> Self {
        Self::bad_request("SignatureNonceUsed", "Specified signature nonce was used already.")
    }

    /// A required parameter is absent or empty.
    #[must_use]
    pub fn missing(name: &str) -> Self {
        Self::bad_request(format!("Missing{name}"), format!("{name} is mandatory for this action."))
    }

    /// A parameter cannot be read.
    #[must_use]
    pub fn invalid(name: &str, why: &str) -> Self {
        Self::bad_request(format!("Invalid{name}"), format!("The specified {name} is invalid: {why}."))
    }

    /// Neither GET nor POST.
    #[must_use]
    pub fn unsupported_method() -> Self {
        Self::bad_request("UnsupportedHTTPMethod", "This http method is not supported.")
    }

    /// There is no other path than `/`.
    #[must_use]
    pub fn unknown_path() -> Self {
        let message = "Specified api is not found, please check your url and method.";
        Self::new(StatusCode::NOT_FOUND, "InvalidApi.NotFound", message)
    }

    /// The account has used up its quota of calls.
    #[must_use]
    pub fn throttled(retry_after_ms: Option<u64>) -> Self {
        let error = Self::bad_request("Throttling.User", "Request was denied due to user flow control.");
        Self { retry_after_ms, ..error }
    }

    /// The action does not exist, or does not exist any more.
    #[must_use]
    pub fn unknown_action() -> Self {
        let message = "Specified api is not found, please check your url and method.";
        Self::new(StatusCode::NOT_FOUND, "InvalidAction.NotFound", message)
    }

    /// Another API version than the product's.
    #[must_use]
    pub fn unknown_version() -> Self {
        let message = "Specified api is not found, please check your url and method.";
        Self::new(StatusCode::NOT_FOUND, "NoSuchVersion", message)
    }

    /// The instance or tenant does not exist. It is the only error code that is known of this product.
    #[must_use]
    pub fn unknown_resource(kind: &str, id: &str) -> Self {
        let message = format!("The specified resource is not found: there is no {kind} {id}.");
        Self::new(StatusCode::NOT_FOUND, "IllegalOperation.Resource", message)
    }

    /// The body is larger than the gateway reads.
    #[must_use]
    pub fn body_too_large() -> Self {
        let message = "The request body exceeds the size limit.";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// The engine behind the gateway does not answer.
    #[must_use]
    pub fn unavailable(why: &anyhow::Error) -> Self {
        let message = format!("The request has failed due to a temporary failure of the server: {why:#}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self, request_id: &str, host: &str) -> Value {
        json!({
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
            "Recommend": format!(
                "https://api.aliyun.com/troubleshoot?q={}&product=OceanBasePro&requestId={request_id}",
                self.code
            ),
        })
    }
}
