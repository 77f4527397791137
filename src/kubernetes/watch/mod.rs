//! The watches, and the parts of each object that their caches keep. Does I/O.

pub mod budget;
pub mod cached;
pub mod metadata;
mod one_namespace;
pub mod refusal;
pub mod scope;
pub mod silent;
pub mod stored_request;
pub mod streams;
