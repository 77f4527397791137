//! Connections: how to call each, what is learned of its gateway, and what is reported about it. Does I/O.
//!
//! ```text
//! stored (connection) ←── states (state, call_size, gateway_clock, throttle) ←── secrets ←── identities ←── route ←── process_lists, probe
//!                    ←── allowed_use ←───────────────────────────────────────────────────────────────────┘             (call_permits)
//!                                      report ──→ states           watched: what a change of a connection wakes
//! identities: service_account_tokens, renewals
//! ```

pub mod allowed_use;
pub mod awaited_secrets;
pub mod call_permits;
mod call_size;
pub mod connection;
mod gateway_clock;
mod identities;
pub mod probe;
pub mod process_lists;
mod renewals;
pub mod report;
pub mod route;
mod route_error;
mod secret;
mod secret_cache;
pub mod secrets;
pub mod service_account_tokens;
mod services;
mod sql_route;
mod sql_secret;
mod state;
pub mod states;
pub mod stored;
mod throttle;
pub mod watched;
