//! Every decision of the operator, as pure functions: no client, clock, randomness or async; time is an argument.
//!
//! ```text
//! SessionKill ─plan→ Step ─(connection)─admission→ ─(process list)─selection or precheck→ ─claim→ Standing
//!    ─(answer)─outcome→ ─(process list)─verification→ Conclusion ─status→ what is written
//! ```

pub mod backend;
pub mod clock;
pub mod conditions;
pub mod connection;
pub mod credentials;
pub mod footprint;
pub mod kill;
pub mod lease;
pub mod names;
pub mod selection;
pub mod session;
pub mod snapshot;
pub mod sql_text;
pub mod tenant;
pub mod text;

#[cfg(any(test, feature = "test-objects"))]
pub mod test_objects;
