//! The status of a connection, the rate of its calls, the namespaces that may use it, and what the operator lends. Pure.

pub mod allowed;
pub mod lent;
pub mod rate;
pub mod status;
