//! STS and the metadata service of the gateway: whom they give keys, and what the keys are good for.
//!
//! Tokens are those of a real API server, which all tests of this program share. `recorded.json` has requests of official
//! clients; `providers.py` and `providers.js` are official clients.

// Clippy takes only functions marked as tests for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod assume_role;
mod ground;
mod metadata;
mod misbehaviour;
mod oidc;
mod providers;
mod recorded;
mod signed;
mod tokens;
