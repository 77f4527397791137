//! The only code that touches both sides: it observes requests, and acts on what `domain` decides.
//!
//! ```text
//! watch ─→ reconcile ─→ queue (FIFO per tenant) ─→ attempt: credentials → claim → dispatch → settle → record
//!          decides         bounded                 retries nothing blindly
//! sweep: TTL, receipts past their time, what a crash left unrecorded
//! ```

mod api_calls;
mod attempt;
mod audit;
mod called;
mod claim;
mod connection_status;
mod context;
mod credentials;
mod dispatch;
mod events;
mod poison;
mod queue;
mod reconcile;
mod request;
mod run;
mod settle;
mod sweep;

pub use api_calls::client_config;
pub use run::{RunError, run};
