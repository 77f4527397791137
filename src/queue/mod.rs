//! What waits for its turn, and turns. No I/O.
//!
//! ```text
//! lanes: a FIFO for each tenant (stages: where each request is; held: what waits for a time; overdue: what waited too long)
//! permits: of what all share, by namespace, connection and tenant (turns, ring)
//! write_slots, ending_order: how many writes of a tenant are on their way, and in which order its requests end
//! chores: work that no kill waits for, namespaces in turn; alone: one at a time for each key
//! ```

pub mod alone;
pub mod chores;
pub mod ending_order;
pub mod held;
pub mod item;
pub mod lanes;
mod overdue;
pub mod permits;
mod ring;
mod stages;
mod turns;
pub mod write_slots;
