//! The kill path: from a request that is seen to its end. Does I/O by the decisions of `domain::kill`.
//!
//! ```text
//! reconcile ─→ queue ─→ worker ─→ work ─→ batch: blocked → attempt → claim → send ─┬→ verify ─→ conclude → settle → record
//!   decides                 a task for     one read and one call for all who      └→ released: not executed, tried again
//!                           each tenant    waited; nothing is retried blindly
//! ends: the end of requests for which nothing is sent any more, beside the queue
//! orphan: what became of a claim whose holder is gone
//! sweep: TTL, receipts past their time, orphans; looks at all of it page by page
//! clocks: whether the operator's clock can be trusted; without that nothing is sent
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
pub mod reconcile;
mod released;
mod report;
mod request;
mod send;
mod settle;
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
