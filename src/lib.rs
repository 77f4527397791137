//! sessionkill: a Kubernetes operator that ends database sessions of ApsaraDB for OceanBase, at most once.
//!
//! ```text
//!  api ←────── domain ←────── controller ──────→ oceanbase
//!  wire types   decisions      the only code       the API client:
//!  of the       (pure)         that touches        knows nothing
//!  three kinds                 both sides          of Kubernetes
//!
//!  SessionKill ─plan→ Step ─observe→ sessions ─claim→ receipt ─call→ answer ─verify→ outcome ─settle→ status ─record→ receipt
//! ```
//!
//! Never twice, never late: a kill is sent only under a claim, an object whose name is derived from the request and whose
//! uniqueness the API server enforces, and never after `notAfterTime`.
//! Never the wrong session, never a guess: what is killed was seen right before, and what is said of it afterwards too.

pub mod api;
pub mod api_error;
pub mod api_server;
pub mod audit;
pub mod check;
pub mod clock;
pub mod config;
pub mod controller;
pub mod core_dumps;
pub mod descriptors;
pub mod domain;
pub mod health;
pub mod http;
pub mod kubeconfig;
pub mod metrics;
pub mod oceanbase;
pub mod output;
pub mod pulse;
pub mod server_version;
pub mod signals;
pub mod telemetry;
pub mod traces;
