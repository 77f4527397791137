//! Requests in a Git repository that the real Flux applies to the cluster, as set in `deploy/flux/sync.yaml`. Whatever
//! Flux and people do with them, each is executed once. The gateway's ledger shows what was executed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

#[path = "../gitops/page.rs"]
#[allow(dead_code, reason = "made for the tests of objects")]
mod page;
#[path = "../gitops/stage.rs"]
#[allow(dead_code, reason = "made for the tests of objects")]
mod stage;

mod edits;
mod failures;
mod folder;
mod refusals;
mod syncs;
mod waiting;
mod words;
