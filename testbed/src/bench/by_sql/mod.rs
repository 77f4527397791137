//! Sessions that are ended by SQL: a real engine, real sessions, and a relay that counts what is asked of the engine.

pub(super) mod database;
pub(super) mod floor;
mod relay;
pub(super) mod tool;
pub(super) mod tools;
