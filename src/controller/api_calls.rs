//! Calls to the Kubernetes API, each with a deadline. Does I/O.
//!
//! The client repeats nothing ([`crate::api_server`]): who retries what is decided where the call is made.

use std::time::Duration;

use kube::core::Status;

/// The longest a call to the API server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer in time; a write may have been stored.
    #[error("{call}: no answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut {
        /// What was being done.
        call: &'static str,
    },
    /// The client's error.
    #[error("{call}: {source}")]
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

    /// The object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// Another write came first, or an object of that name exists.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }

    /// The API server refused the request: nothing was stored.
    pub fn is_refused(&self) -> bool {
        self.status().is_some_and(|status| (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429))
    }

    /// The API server does not take this content, so that repeating it changes nothing. Not so a lack of rights: they can
    /// be given back, and an API server that starts refuses everybody for a moment.
    pub fn is_invalid(&self) -> bool {
        self.is_refused() && !self.status().is_some_and(|status| matches!(status.code, 401 | 403))
    }
}

/// Runs `future` under the deadline; `call` names it in errors.
pub async fn bounded<T>(
    call: &'static str,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(ApiError::Failed { call, source: Box::new(source) }),
        Err(_) => Err(ApiError::TimedOut { call }),
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
