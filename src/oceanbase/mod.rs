//! The client of the OceanBasePro API, version 2019-09-01. Knows nothing of Kubernetes.
//!
//! A call returns what the API said, or a [`CallError`] that says whether the call may have been executed. Nothing here
//! retries: the caller holds the claim and decides.

pub mod answer;
pub mod client;
pub mod credentials;
pub mod endpoint;
pub mod error;
pub mod signature;
pub mod stamp;

pub use client::{CallOptions, Called, Client, ClientOptions, KillPermit, KillTarget};
pub use credentials::AccessKey;
pub use endpoint::Endpoint;
pub use error::{CallError, ErrorKind};
pub use stamp::{Stamp, TimeSource};
