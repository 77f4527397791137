//! The decisions, pure: no client, no clock, no randomness, no async. Time is an argument.
//!
//! ```text
//! SessionKill ─plan→ Step ─(connection)─admit→ ─(process list)─precheck→ ─claim→ Standing
//!    ─(answer)─outcome→ ─(process list)─verification→ Conclusion ─status→ what is written
//! ```

pub mod admission;
pub mod backoff;
pub mod claim;
pub mod clock;
pub mod conclusion;
pub mod connection_status;
pub mod expect;
pub mod footprint;
pub mod form;
pub mod lease;
pub mod names;
pub mod observation;
pub mod orphan;
pub mod outcome;
pub mod plan;
pub mod rate;
pub mod retention;
pub mod sharing;
pub mod sql_text;
pub mod status;
pub mod sweeping;
pub mod text;
pub mod unsent;
pub mod verification;

#[cfg(test)]
pub(crate) mod test_objects;
