//! What GitOps tools and people see of requests. The objects come from the real operator on a real kube-apiserver.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

mod by_hand;
mod examples;
mod health_check;
mod hooks;
mod kustomize;
mod page;
mod rules;
mod situations;
mod stage;
mod surface;
mod ttl;
