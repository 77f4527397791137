//! The kill path: from a request that was seen to its end. Does I/O, as decided by `domain::kill`.
//!
//! ```text
//! reconcile → queue → worker → work → batch: blocked → planned → attempt → claim → send ─┬→ verify → conclude → settle → record
//!   decides          a task per    one read and one call for the               └→ released: not executed, tried again
//!                    tenant        whole batch; nothing is retried blindly
//! ends: ends requests that must not be sent any more, outside the queue
//! orphan: finds the outcome of a claim whose holder is gone
//! sweep: expired TTLs, expired receipts, orphans; reads all objects page by page
//! shared_sessions: no session is ended by two namespaces at once through a connection that they share
//! clocks: whether the operator's clock can be trusted; otherwise nothing is sent
//! ```

mod attempt;
mod audit;
mod batch;
mod blocked;
mod call;
mod claim;
pub mod clocks;
mod conclude;
pub mod context;
pub mod ends;
mod live_claims;
mod orphan;
mod planned;
pub mod reconcile;
mod released;
mod report;
mod request;
mod send;
mod settle;
mod shared_sessions;
mod spans;
mod stored;
pub mod sweep;
mod sweep_receipts;
mod sweep_requests;
mod target;
mod unreadable;
mod verify;
mod work;
mod worker;
