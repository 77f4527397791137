//! The queue of requests and everything that limits their concurrency. No I/O.
//!
//! ```text
//! lanes: a FIFO per tenant (stages: the stage of each request; held: requests on hold; overdue: expired requests)
//! permits: for resources shared by all, in turn by namespace, connection and tenant (turns, ring)
//! write_slots, ending_order: how many writes of a tenant are in flight, and in which order its requests end
//! chores: work that no kill waits for, in turn by namespace; alone: a mutex per object
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
