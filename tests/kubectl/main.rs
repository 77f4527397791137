//! `kubectl sessionkill` with real parts: a real API server, the operator's binary and a gateway that keeps a ledger of
//! every kill. The plugin's own binary is run, as a person or a script runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

mod accounts;
mod interrupted;
mod kills;
mod krew;
mod lists;
#[path = "../gitops/page.rs"]
#[allow(dead_code, reason = "this target needs one of its comparisons only")]
mod page;
mod screens;
mod sql;
mod stage;
mod stories;
mod terminal;
