//! Compares a server's clock with the operator's own. No I/O, but reads the operator's clocks; `domain::clock` does the
//! arithmetic.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::domain::clock::{self, Bounds, Now};

/// The clock of one server, learned from the dates of its answers.
#[derive(Debug)]
pub struct ServerClock {
    /// Moment zero of `dates`.
    began: Instant,
    dates: Mutex<clock::Dates>,
}

impl Default for ServerClock {
    /// A clock about which nothing is known yet.
    fn default() -> Self {
        Self { began: Instant::now(), dates: Mutex::default() }
    }
}

impl ServerClock {
    /// Learns from an answer with `date` that has just come to a request sent at `asked`.
    pub fn answered(&self, date: Timestamp, asked: Instant) {
        let came = self.began.elapsed();
        self.dates().add(date, signed(asked.saturating_duration_since(self.began)), signed(came));
    }

    /// The bounds of the server's time now, if known.
    pub fn bounds(&self) -> Option<Bounds> {
        self.dates().bounds(signed(self.began.elapsed()))
    }

    /// The time now by the operator's clock, with the bounds of the server's.
    pub fn now(&self) -> Now {
        Now::new(Timestamp::now(), self.bounds())
    }

    /// The least time by which the operator's clock is ahead of this one: negative if behind, zero if it may be right.
    pub fn lead(&self) -> SignedDuration {
        self.bounds().map_or(SignedDuration::ZERO, |bounds| bounds.lead_of(Timestamp::now()))
    }

    fn dates(&self) -> MutexGuard<'_, clock::Dates> {
        self.dates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
