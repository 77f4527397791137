//! Whose access key signs the calls to Alibaba Cloud: the sources of keys, and the keys that renew themselves. Does I/O;
//! knows nothing of Kubernetes.
//!
//! ```text
//! keys (entry) ─ issue ─ issuer ─ service_account, operator_identity ─ oidc_token
//!                           └ metadata, sts ─ answer
//!                                all of them ─ advice ─ source (secret_ref, session_policy) ─ errors
//! ```
//!
//! There is no chain of sources: a connection names one. A source that is refused is not replaced by another.

mod advice;
pub mod answer;
mod entry;
pub mod errors;
pub mod issue;
pub mod issuer;
pub mod keys;
pub mod metadata;
pub mod oidc_token;
pub mod operator_identity;
pub mod secret_ref;
pub mod service_account;
pub mod session_policy;
pub mod source;
pub mod sts;

pub use errors::{StsAction, Unavailable};
pub use issue::{Issue, Issued, Watch};
pub use issuer::Issuer;
pub use keys::Keys;
pub use operator_identity::OperatorToken;
pub use service_account::{ServiceAccountTokens, TokenError};
pub use source::{Base, Calls, Identity, Place, SourceName};
