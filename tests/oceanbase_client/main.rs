//! The API client on real sockets: what it sends, what it never sends, and how it interprets every kind of answer.
//!
//! For every failed call, two things are asserted. The first is whether the permit was returned, as this decides
//! whether the kill may be tried again. The second is that the server saw exactly one connection.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper that fails fails its test")]

mod addresses;
mod answers;
mod batch;
mod calls;
mod certificates;
mod environment;
mod gateway;
mod observer;
mod reads;
mod recorder;
mod secrets;
mod server;
mod transport;
