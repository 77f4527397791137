//! A stand-in for Alibaba's `OpenAPI` gateway.

pub mod verify;
