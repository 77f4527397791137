//! The backend that ends sessions over SQL, on a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper that fails fails its test")]

mod lists;
mod wire;
