//! Random inputs for everything that comes from outside: changed copies of real answers, JSON that is made of the API's
//! own words in any order, and packets of the MySQL protocol. Each target asserts what must hold for every input, not
//! only that nothing panics.
//!
//! `cargo test` runs 500 inputs of each target. To run more, run one target at a time, so that the printed memory is
//! its own:
//!
//! ```text
//! BOLERO_RANDOM_ITERATIONS=10000000 cargo test --profile fuzz --test fuzz -- --nocapture --exact answers::kill_answers
//! ```
//!
//! A failure prints its seed. `BOLERO_RANDOM_SEED` runs that input first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target that fails says so by a panic")]

mod answers;
mod credentials;
mod endpoints;
mod errors;
mod lists;
mod material;
mod signatures;
mod sql_wire;
mod stamps;
mod tally;
mod texts;
