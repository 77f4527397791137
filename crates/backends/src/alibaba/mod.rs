//! The client of the OceanBasePro API, version 2019-09-01. Does I/O; knows nothing of Kubernetes.
//!
//! ```text
//! gateway (known, advice) ─ kill_call, reads ─ client ─ signed_request (signature, stamp) ─ transport (addresses, connecting)
//!                                               └ receive (budget, pieces) ─ answer, process_list ─ raw_answer, session_row, json, sieve, redact
//! ```
//!
//! A call returns the API's answer, or a [`CallError`] that says whether the call may have been executed. Nothing here
//! sends twice: the caller holds the claim and decides.

pub mod access;
mod advice;
pub mod answer;
pub mod budget;
pub mod client;
mod connecting;
pub mod endpoint;
pub mod error_codes;
mod gateway;
mod json;
pub mod kill_call;
mod known;
mod pieces;
pub mod process_list;
pub mod raw_answer;
pub mod reads;
mod receive;
pub mod redact;
pub mod session_row;
pub mod shares;
pub mod sieve;
pub mod signature;
pub mod signed_request;
pub mod stamp;
pub(crate) mod transport;
mod transports;

use std::time::Duration;

use sessionkill_core::backend::{Costs, MAX_SESSIONS};

pub use access::{Access, AllowedEndpoint};
pub use budget::AnswerBudget;
pub use client::{Client, ClientOptions, Dates};
pub use endpoint::Endpoint;
pub use gateway::{Caller, Callers, Gateway};
pub use kill_call::KillCall;
pub use known::Known;
pub use reads::LIST_ACTION;
pub use sessionkill_api::Operation;
pub use sessionkill_core::backend::{
    ANSWER_LOST, CallError, Called, ErrorKind, KillAnswer, KillPermit, KillTarget, ProcessList, Tenant,
};
pub use sessionkill_core::session::{Row, Seen};
pub use sieve::Sieve;
pub use stamp::{Stamp, TimeSource};
pub use transports::Transports;

pub use crate::access_key::AccessKey;

/// A call takes as long for many sessions as for one. Each list counts against the account's quota.
pub const COSTS: Costs =
    Costs { sessions_of_shared_call: MAX_SESSIONS, pause_between_lists: Duration::from_millis(200) };
