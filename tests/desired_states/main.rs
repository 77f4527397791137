//! Desired states that nobody thought of: made from the schemas of the definitions and from a seed, and walked through
//! from one to another, against the real API server, the operator's binary and the gateway.
//!
//! Whatever the API server admits is handled: it ends, or says why it waits. Whatever it refuses is refused with the
//! field's name. The operator goes on in any case. Each run has a seed of its own and prints it;
//! `DESIRED_STATES_SEED=N cargo test --test desired_states` repeats a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

mod changes;
mod created;
mod routes;
#[allow(dead_code, unused_imports, reason = "the scene is that of the kill path, and has more than is needed here")]
#[path = "../kill_path/scene/mod.rs"]
mod scene;
mod seed;
mod server;
mod walked;
