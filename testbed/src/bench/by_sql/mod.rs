//! Sessions that are ended by SQL: a real engine, real sessions, and a relay that counts what is asked of the engine.

mod database;
mod floor;
mod relay;
mod tools;

pub(super) use self::{
    database::Database,
    floor::FloorSession,
    tools::{Tool, run},
};
