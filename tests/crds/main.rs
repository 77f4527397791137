//! The four kinds on the real API server: what it accepts, refuses, shows and selects.
//!
//! Every bound and every rule of the schemas has a case that is refused, and [`coverage`] proves it. Error messages
//! that name the field are a promise to users, so each case says what the message must contain.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod cases;
mod cluster_connection;
mod connection;
mod coverage;
mod credentials;
mod drift;
mod dropped;
mod receipt;
mod selector;
mod session_kill;
mod session_kill_status;
mod sql;
mod surface;
mod versions;

#[path = "../control_plane/mod.rs"]
mod control_plane;
