//! Of several replicas one does the work. No kill rests on it. Does I/O.

pub mod election;
pub mod leadership;
