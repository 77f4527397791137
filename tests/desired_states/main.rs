//! Random desired states, made from the schemas and a seed, and random changes from one state to another. They run on
//! the real API server, the operator's binary and the gateway.
//!
//! Everything that the API server admits is handled: it ends, or says why it waits. Every refusal names the field. The
//! operator keeps working. Each run prints its seed, and `DESIRED_STATES_SEED=N cargo test --test desired_states`
//! repeats a run.

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
