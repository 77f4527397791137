//! The backends: all that calls a cloud API or a database to end sessions. Does I/O; does not know Kubernetes.
//!
//! ```text
//! backend ─ alibaba, sql ─ addresses
//! credentials ─ alibaba ─ access_key
//! ```

// An image must not have it.
#[cfg(all(feature = "scripted", not(debug_assertions)))]
compile_error!("the feature scripted is for tests: build without it, or with debug assertions");

pub mod access_key;
pub mod addresses;
pub mod alibaba;
mod backend;
pub mod credentials;
mod listed;
#[cfg(feature = "scripted")]
pub mod scripted;
pub mod sql;

pub use backend::{Backend, LIST_ACTIONS, Memory, costs};
pub use listed::Listed;
