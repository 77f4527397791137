//! The decisions, pure: no client, no clock, no randomness, no async. Time is an argument.
//!
//! ```text
//! SessionKill ─plan→ Step ─(connection)─admit→ ─claim→ Standing ─(answer)─outcome→ Conclusion ─status→ what is written
//! ```

pub mod admission;
pub mod backoff;
pub mod claim;
pub mod outcome;
pub mod plan;
pub mod retention;
pub mod status;
pub mod text;

#[cfg(test)]
pub(crate) mod test_objects;
