//! One contender that has killed for long, as it is written.

use serde::{Deserialize, Serialize};

/// A contender that has killed for long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SoakRun {
    /// Who killed.
    pub contender: String,
    /// How many sessions were to be killed.
    pub requests: u32,
    /// How many were.
    pub killed: u32,
    /// How often one session was killed at most.
    pub most_kills_of_one: u32,
    /// After the first five minutes, or a sixth of the time if that is less.
    pub early: Held,
    /// When the last kill had ended.
    pub late: Held,
    /// Requests that were still stored then, more than a minute after they were to be removed.
    pub overdue: u32,
    /// How long it took then until no request was left, in seconds; none if it took longer than two minutes.
    pub cleared_after: Option<f64>,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Physical memory.
    pub memory_bytes: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}
