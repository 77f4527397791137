//! The status of a connection, and the rate of its calls. Pure.

pub mod rate;
pub mod status;
