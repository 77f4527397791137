//! What is known of a connection, and how fast it may be called. Pure.

pub mod rate;
pub mod status;
