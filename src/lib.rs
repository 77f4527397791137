//! sessionkill: a Kubernetes operator that ends database sessions of ApsaraDB for OceanBase, at most once.
//!
//! ```text
//! main → run → kill → connections → queue → kubernetes → metrics, health, traces
//!                └────────┴→ backends → domain → api
//!                            whatever    the       wire types of
//!                            ends        decisions the four kinds
//!                            sessions    (pure)
//!
//!  SessionKill ─plan→ Step ─observe→ sessions ─claim→ receipt ─call→ answer ─verify→ outcome ─settle→ status ─record→ receipt
//! ```
//!
//! Each imports only what stands to its right, or below.
//!
//! Never twice, never late: a kill is sent only under a claim, an object whose name is derived from the request and whose
//! uniqueness the API server enforces, and never after `notAfterTime`.
//! Never the wrong session, never a guess: what is killed was seen right before, and what is said of it afterwards too.

pub mod check;
pub mod clock;
pub mod config;
mod connections;
pub mod core_dumps;
pub mod descriptors;
pub mod health;
pub mod health_port;
pub mod http;
pub mod key_options;
mod kill;
pub mod kubernetes;
pub mod metrics;
pub mod output;
pub mod pulse;
mod queue;
pub mod rights;
pub mod run;
pub mod signals;
pub mod telemetry;
pub mod traces;

pub use sessionkill_api as api;
pub use sessionkill_backends as backends;
pub use sessionkill_backends::alibaba as oceanbase;
pub use sessionkill_core as domain;
