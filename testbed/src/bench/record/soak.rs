//! The record of one soak.

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
    /// The highest number of kills of one session.
    pub most_kills_of_one: u32,
    /// What the process held after the first five minutes, or after a sixth of the time if that is less.
    pub early: Held,
    /// What the process held after the last kill had ended.
    pub late: Held,
    /// Requests that were still stored then, more than a minute after they were due for removal.
    pub overdue: u32,
    /// How many seconds it took then until no request was left. `None` if it took more than two minutes.
    pub cleared_after: Option<f64>,
}

/// The resources of a process.
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
