//! The API client

pub mod signature;
