//! Requests in a Git repository that the real Flux keeps in the cluster, as `deploy/flux/sync.yaml` says: whatever Flux and people
//! do with them, each is executed once. What was executed the gateway's ledger says.

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
