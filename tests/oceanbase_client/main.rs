//! The API client over real sockets: what is sent, what is never sent, and what every kind of answer is taken for.
//!
//! Wherever a call fails, two things are asserted: whether the permit came back, because that decides whether the kill may
//! be tried again, and that the server saw exactly one connection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper that fails fails its test")]

mod addresses;
mod answers;
mod batch;
mod calls;
mod certificates;
mod environment;
mod gateway;
mod reads;
mod recorder;
mod secrets;
mod server;
mod transport;
