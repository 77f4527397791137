//! The clock of a server, beside the operator's own. Reads the operator's clocks; what follows from the times is
//! `domain::clock`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::domain::clock::{self, Bounds, Now};

/// The clock of one server, as its answers tell.
#[derive(Debug)]
pub struct ServerClock {
    /// The moment zero of all that is known.
    began: Instant,
    dates: Mutex<clock::Dates>,
}

impl Default for ServerClock {
    /// Nothing is known of it yet.
    fn default() -> Self {
        Self { began: Instant::now(), dates: Mutex::default() }
    }
}

impl ServerClock {
    /// An answer with `date` has come just now to what was asked at `asked`.
    pub fn answered(&self, date: Timestamp, asked: Instant) {
        let came = self.began.elapsed();
        self.dates().add(date, signed(asked.saturating_duration_since(self.began)), signed(came));
    }

    /// What it shows now, as far as that is known.
    pub fn bounds(&self) -> Option<Bounds> {
        self.dates().bounds(signed(self.began.elapsed()))
    }

    /// The time by the operator's clock, and by this one.
    pub fn now(&self) -> Now {
        Now::new(Timestamp::now(), self.bounds())
    }

    /// By how much the operator's clock is ahead of this one at the least; negative if it is behind. Zero if it may be right.
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
