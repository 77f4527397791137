//! The client of the OceanBasePro API, version 2019-09-01. Knows nothing of Kubernetes.
//!
//! ```text
//! client, reads ── signed (signature, stamp) ── transport (addresses, connecting)
//!              └── receive (budget, pieces) ── answer, process_list (json, session_row) ── sieve, withheld
//! ```
//!
//! A call returns what the API said, or a [`CallError`] that says whether the call may have been executed. Nothing here
//! retries: the caller holds the claim and decides.

pub mod addresses;
pub mod answer;
pub mod budget;
pub mod client;
mod connecting;
pub mod credentials;
pub mod endpoint;
pub mod error;
mod json;
mod pieces;
pub mod process_list;
pub mod reads;
mod receive;
pub mod session_row;
pub mod shares;
pub mod sieve;
pub mod signature;
pub mod signed;
pub mod stamp;
mod transport;
pub mod withheld;

pub use addresses::Addresses;
pub use budget::AnswerBudget;
pub use client::{Access, Called, Client, ClientOptions, KillCall, KillOperation, KillPermit, KillTarget, Tenant};
pub use credentials::AccessKey;
pub use endpoint::Endpoint;
pub use error::{ANSWER_LOST, CallError, ErrorKind};
pub use process_list::ProcessList;
pub use reads::Listed;
pub use session_row::SessionRow;
pub use sieve::Sieve;
pub use stamp::{Stamp, TimeSource};
