//! The watches, and what of each object is kept in their caches. Does I/O.

pub mod budget;
pub mod cached;
pub mod metadata;
mod one_namespace;
pub mod scope;
pub mod silent;
pub mod stored_request;
pub mod streams;
