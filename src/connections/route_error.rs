//! Why a connection cannot be called. No I/O.

use crate::api::WaitReason;
use crate::kubernetes::calls::ApiError;

/// Why a connection cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Not until somebody changes something: the text says what.
    #[error("{1}")]
    Unavailable(WaitReason, String),
    /// The API server did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
}
