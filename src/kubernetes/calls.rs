//! Calls to the Kubernetes API, each with a deadline. Does I/O.
//!
//! The client retries nothing ([`crate::kubernetes::client`]), so each caller decides whether to retry.

use std::time::Duration;

use futures::future::BoxFuture;
use kube::core::Status;

use crate::kubernetes::api_error::in_words;

/// The longest that a call to the API server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The messages of etcd and of its client for an object that is too large.
const TOO_LARGE: [&str; 2] = ["request is too large", "trying to send message larger than max"];

/// Why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer in time; a write may still have been stored.
    #[error("{call}: no answer from the API server in time")]
    TimedOut {
        /// The name of the call.
        call: &'static str,
    },
    /// The client's error.
    #[error("{call}: {}", in_words(.source))]
    Failed {
        /// The name of the call.
        call: &'static str,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ApiError {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Failed { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    /// The API server says that the object does not exist. Any other 404, such as a load balancer's page or "404 page
    /// not found" for a CRD that is not served yet, says nothing about the object.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.reason == "NotFound")
    }

    /// Another write came first, or an object with that name exists.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }

    /// The API server refused the request, so nothing was stored.
    pub fn is_refused(&self) -> bool {
        self.status().is_some_and(|status| {
            let is_client_error = (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429);
            is_client_error && (status.code != 404 || self.is_not_found())
        })
    }

    /// The stored object cannot be read by this version, so asking again soon is useless.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if matches!(source.as_ref(), kube::Error::SerdeError(_)))
    }

    /// The object is too large to be stored: try a smaller one. The API server answers 413; etcd's refusal comes as a
    /// 500.
    pub fn is_too_large(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 413 || TOO_LARGE.iter().any(|sentence| status.message.contains(sentence))
        })
    }

    /// The API server failed at this request. If it keeps failing, the written content may be the cause.
    pub fn is_server_error(&self) -> bool {
        self.status().is_some_and(|status| status.code == 500)
    }

    /// The API server refuses this content, so that retrying is useless. Missing rights (401, 403) do not count: they
    /// can be granted again, and a starting API server refuses everybody for a moment.
    pub fn is_invalid(&self) -> bool {
        self.is_refused() && !self.status().is_some_and(|status| matches!(status.code, 401 | 403))
    }
}

/// Runs `future` under the deadline; `call` names it in errors.
///
/// The future is boxed, as a client call takes 4 KiB: 10,000 callers that wait for their turn would all hold that
/// memory.
pub fn bounded<'a, T: 'a>(
    call: &'static str,
    future: impl Future<Output = Result<T, kube::Error>> + Send + 'a,
) -> BoxFuture<'a, Result<T, ApiError>> {
    Box::pin(async move {
        match tokio::time::timeout(CALL_TIMEOUT, future).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(ApiError::Failed { call, source: Box::new(source) }),
            Err(_) => Err(ApiError::TimedOut { call }),
        }
    })
}

/// Like [`bounded`], with a shorter deadline, for a call that blocks others.
pub fn within<'a, T: 'a>(
    limit: Duration,
    call: &'static str,
    future: impl Future<Output = Result<T, kube::Error>> + Send + 'a,
) -> impl Future<Output = Result<T, ApiError>> + Send {
    let called = bounded(call, future);
    async move { tokio::time::timeout(limit, called).await.unwrap_or(Err(ApiError::TimedOut { call })) }
}

/// Like [`bounded`], for a read of an object that may not exist; kube's `get_opt` would accept any 404 as that.
pub fn found<'a, T: 'a>(
    call: &'static str,
    future: impl Future<Output = Result<T, kube::Error>> + Send + 'a,
) -> impl Future<Output = Result<Option<T>, ApiError>> + Send {
    let called = bounded(call, future);
    async move {
        match called.await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The pauses between retries of a write that must not be lost: 100 ms, doubling up to 5 s.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Pauses {
    /// Starts with 100 ms.
    pub const fn new() -> Self {
        Self(Duration::from_millis(100))
    }

    /// Waits for the current pause and doubles the next one.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: u16, reason: &str, message: &str) -> ApiError {
        let status = Status::failure(message, reason).with_code(code).boxed();
        ApiError::Failed { call: "read", source: Box::new(kube::Error::Api(status)) }
    }

    #[test]
    fn only_the_api_servers_own_word_says_that_an_object_does_not_exist() {
        assert!(failed(404, "NotFound", "secrets \"a\" not found").is_not_found());
        for text in ["404 page not found", "<html>404 Not Found</html>"] {
            let of_others = failed(404, "Failed to parse error data", text);
            assert!(!of_others.is_not_found() && !of_others.is_refused(), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_from_a_failure_that_may_pass() {
        assert!(failed(500, "", "etcdserver: request is too large").is_too_large());
        assert!(failed(413, "RequestEntityTooLarge", "limit is 3145728").is_too_large());
        let passing = failed(500, "InternalError", "etcdserver: leader changed");
        assert!(passing.is_server_error() && !passing.is_too_large());
        assert!(!ApiError::TimedOut { call: "write" }.is_server_error());
    }

    #[test]
    fn what_this_version_cannot_read_is_told_from_what_did_not_come() {
        let error = serde_json::from_str::<u8>("[]").unwrap_err();
        let unreadable = ApiError::Failed { call: "read", source: Box::new(kube::Error::SerdeError(error)) };
        assert!(unreadable.is_unreadable() && !unreadable.is_refused());
        assert!(!failed(404, "NotFound", "not found").is_unreadable());
    }
}
