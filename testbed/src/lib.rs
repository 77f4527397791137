//! The real parts that sessionkill is tested on, shared by tests, demo and benchmarks.

pub mod cache;
pub mod control_plane;
pub mod port;
pub mod process;
