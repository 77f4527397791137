//! sessionkill: a Kubernetes operator that ends database sessions of ApsaraDB for OceanBase, at most once.
//!
//! ```text
//!  api ←────── domain ←────── controller ──────→ oceanbase
//!  wire types   decisions      the only code       the API client:
//!  of the       (pure)         that touches        knows nothing
//!  three kinds                 both sides          of Kubernetes
//!
//!  SessionKill ─plan→ Step ─claim→ receipt ─call→ answer ─settle→ status ─record→ receipt
//! ```
//!
//! Never twice, never late: a kill is sent only under a claim, an object whose name is derived from the request and whose
//! uniqueness the API server enforces, and never after `notAfterTime`.

pub mod api;
pub mod config;
pub mod controller;
pub mod domain;
pub mod health;
pub mod oceanbase;
pub mod telemetry;
