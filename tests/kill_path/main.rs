//! The kill path with real parts: kube-apiserver and etcd, the operator's binary as the service account of
//! `deploy/base`, and a gateway that keeps a ledger of every kill. Each test has its own namespace, gateway and
//! operators, so that all tests can run in parallel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

mod scene;

mod ambiguous_answers;
mod before_backends;
mod budget;
mod claims;
mod clocks;
mod cluster_connection;
mod connection;
mod crashes;
mod deleted;
mod dry_run;
mod engine;
mod engine_requests;
mod groups;
mod health_port;
mod hostile;
mod housekeeping;
mod identity;
mod interrupted;
mod isolation;
mod keys;
mod kill_operation;
mod large_answers;
mod metrics;
mod narrowing;
mod observation;
mod old_server;
mod once;
mod operations;
mod outage;
mod outcomes;
#[path = "../gitops/page.rs"]
#[allow(dead_code, reason = "this target needs one of its comparisons only")]
mod page;
mod poison;
mod proxies;
mod refusals;
mod refused;
mod restore;
mod retention;
mod second_backend;
mod secrecy;
mod selector;
mod shared_reads;
mod sql;
mod sql_text;
mod stricter;
mod sts;
mod timing;
mod too_late;
mod unknown_fields;
mod unread_output;
mod verification;
mod waiting;
