//! Calls to the Kubernetes API, each with a deadline. Does I/O.
//!
//! The client repeats nothing ([`crate::kubernetes::client`]): who retries what is decided where the call is made.

use std::time::Duration;

use futures::future::BoxFuture;
use kube::core::Status;

use crate::kubernetes::api_error::in_words;

/// The longest a call to the API server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What etcd and its client say of an object that is larger than they take.
const TOO_LARGE: [&str; 2] = ["request is too large", "trying to send message larger than max"];

/// Why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer in time; a write may have been stored.
    #[error("{call}: no answer from the API server in time")]
    TimedOut {
        /// What was being done.
        call: &'static str,
    },
    /// The client's error.
    #[error("{call}: {}", in_words(.source))]
    Failed {
        /// What was being done.
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

    /// The object does not exist, in the API server's own word. A 404 of anything else is none: a load balancer's page, or
    /// "404 page not found" while the definition is not served yet, says nothing of the object.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.reason == "NotFound")
    }

    /// Another write came first, or an object of that name exists.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }

    /// The API server refused the request: nothing was stored.
    pub fn is_refused(&self) -> bool {
        self.status().is_some_and(|status| {
            let is_client_error = (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429);
            is_client_error && (status.code != 404 || self.is_not_found())
        })
    }

    /// What is stored is nothing that this version can read: asking again soon changes nothing.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if matches!(source.as_ref(), kube::Error::SerdeError(_)))
    }

    /// The object would be too large to be stored, so that only a smaller one can be. The API server says so with 413, etcd
    /// behind it with a 500.
    pub fn is_too_large(&self) -> bool {
        self.status().is_some_and(|status| {
            status.code == 413 || TOO_LARGE.iter().any(|sentence| status.message.contains(sentence))
        })
    }

    /// The API server failed at this request. If it does so again and again, that may be for what is written.
    pub fn is_server_error(&self) -> bool {
        self.status().is_some_and(|status| status.code == 500)
    }

    /// The API server does not take this content, so that repeating it changes nothing. Not so a lack of rights: they can
    /// be given back, and an API server that starts refuses everybody for a moment.
    pub fn is_invalid(&self) -> bool {
        self.is_refused() && !self.status().is_some_and(|status| matches!(status.code, 401 | 403))
    }
}

/// Runs `future` under the deadline; `call` names it in errors.
///
/// In a box of its own: a call of the client takes four kilobytes, and whoever calls would have them for as long as it waits for
/// its turn. Ten thousand requests wait so.
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

/// The same for a call that others wait behind: under a shorter deadline than that of all calls.
pub fn within<'a, T: 'a>(
    limit: Duration,
    call: &'static str,
    future: impl Future<Output = Result<T, kube::Error>> + Send + 'a,
) -> impl Future<Output = Result<T, ApiError>> + Send {
    let called = bounded(call, future);
    async move { tokio::time::timeout(limit, called).await.unwrap_or(Err(ApiError::TimedOut { call })) }
}

/// The same for a read of one object, which may not exist. kube's `get_opt` takes any 404 for that.
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

/// Pauses between tries of a write that must not be lost: 100 ms, doubling up to 5 s.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Pauses {
    /// Starts with the shortest.
    pub const fn new() -> Self {
        Self(Duration::from_millis(100))
    }

    /// Waits for the present pause and doubles the next.
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
