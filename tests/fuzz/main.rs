//! Everything that comes from outside, fed with bytes that nobody would send: changed copies of real answers, and JSON
//! made of the API's own words in any order. Each target asserts what must hold whatever comes, not only that nothing
//! panics.
//!
//! Some hundred inputs of each are part of `cargo test`. For more, one target at a time so that the memory that it
//! prints is its own:
//!
//! ```text
//! BOLERO_RANDOM_ITERATIONS=10000000 cargo test --profile fuzz --test fuzz -- --nocapture --exact answers::kill_answers
//! ```
//!
//! A failure prints its seed; `BOLERO_RANDOM_SEED` runs that input first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target that fails says so by a panic")]

mod answers;
mod endpoints;
mod errors;
mod lists;
mod material;
mod signatures;
mod stamps;
mod tally;
mod texts;
