//! Ends sessions by the SQL of OceanBase, over the MySQL protocol. Does I/O; knows nothing of Kubernetes.
//!
//! ```text
//! database (advice) ─ compare_and_kill, process_list ─ access (known) ─ login ─ session, server ─ wire
//!                                                             └ statements, columns, error_codes
//! ```
//!
//! Each tenant has at most one connection, which is closed after 30 s without work. A session is ended by two statements on
//! it: one that compares the session with what is meant, at the server, and `KILL`, which has a condition by which the server
//! itself refuses it after the dispatch deadline.

mod access;
mod advice;
mod columns;
mod compare_and_kill;
mod database;
mod error_codes;
mod known;
mod login;
mod process_list;
pub mod server;
mod session;
mod statements;
pub mod wire;

use std::time::Duration;

use sessionkill_core::backend::Costs;

pub use access::Access;
pub use database::{Database, LIST_ACTION};
pub use known::Known;
pub use login::Account;
pub use server::{AllowedHost, Server};

/// Each session takes two statements, one after the other, so that a call is as long as its sessions are many: the claims at its
/// end would grow old, and the first kills would be told late. A list costs the server little.
pub const COSTS: Costs = Costs { sessions_of_shared_call: 32, pause_between_lists: Duration::from_millis(25) };
