//! The sources of access keys, and the keys that renew themselves, over real sockets: what is sent to STS and to the
//! metadata service, what is made of each answer, and when it is asked for again.
//!
//! `tests/credentials-recordings.json` has what the official clients send and what they make of answers. Time is set
//! forward between two calls, so that nothing here waits for the end of a key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper that fails fails its test")]

mod answers;
mod codes;
mod expiries;
mod recordings;
mod refresh;
mod requests;
mod scene;
mod secrecy;
mod server;
mod sources;
