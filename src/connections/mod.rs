//! Connections: how to call each, what is learned of its gateway, and what is reported about it. Does I/O.
//!
//! ```text
//! states (state, call_size, gateway_clock, throttle) ←── secrets ←── route ←── process_lists (call_permits), probe
//!                                                   ←── report
//! ```

pub mod awaited_secrets;
pub mod call_permits;
mod call_size;
mod gateway_clock;
pub mod probe;
pub mod process_lists;
pub mod report;
pub mod route;
mod route_error;
mod secret;
mod secret_cache;
pub mod secrets;
mod services;
mod sql_route;
mod sql_secret;
mod state;
pub mod states;
mod throttle;
