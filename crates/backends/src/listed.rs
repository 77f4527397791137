//! A process list as a backend returns it. No I/O.

use std::time::Instant;

use jiff::Timestamp;
use sessionkill_core::backend::ProcessList;

/// A list, and when it was requested.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// The list.
    pub list: ProcessList,
    /// The start by the monotonic clock.
    pub began: Instant,
    /// The start by the wall clock.
    pub time: Timestamp,
}
