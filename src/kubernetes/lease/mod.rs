//! Leader election among replicas; no kill relies on it. Does I/O.

pub mod election;
pub mod leadership;
