//! The three kinds, as the real API server takes, refuses, shows and selects them.
//!
//! Every bound and rule of the schemas has a case that is refused, and [`coverage`] proves it: a message that names the
//! field is part of the contract, so each case says what must be in it.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod cases;
mod connection;
mod coverage;
mod drift;
mod dropped;
mod receipt;
mod session_kill;
mod session_kill_status;
mod surface;
mod versions;

#[path = "../control_plane/mod.rs"]
mod control_plane;
