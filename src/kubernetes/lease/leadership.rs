//! Whether this process does the work, or stands by. No I/O; the Lease is `election`'s.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Whether this process leads: only then it starts work. That saves calls, and nothing more: two that lead at once do each
/// kill once all the same, by its claim.
#[derive(Debug)]
pub struct Leadership {
    /// Until when; none leads always.
    until: Option<Mutex<Instant>>,
    gained: Notify,
}

impl Leadership {
    /// Of a process that nobody elects: it always leads.
    pub fn unelected() -> Self {
        Self { until: None, gained: Notify::new() }
    }

    /// Of a process that leads once it holds the Lease.
    pub fn elected() -> Self {
        Self { until: Some(Mutex::new(Instant::now())), gained: Notify::new() }
    }

    /// Whether this process leads now. It is asked of the clock, not of a task: a process that was frozen while its Lease
    /// ended knows so before it does anything else.
    pub fn leads(&self) -> bool {
        self.until.as_ref().is_none_or(|until| Instant::now() < *until.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// It leads until then. If it did not right before, even for a moment, somebody who waits for [`Self::gained`] is told:
    /// what came in that moment was left alone.
    pub fn hold(&self, until: Instant) {
        let led = self.leads();
        self.set(until);
        if !led {
            self.gained.notify_one();
        }
    }

    /// It leads no longer.
    pub fn lose(&self) {
        self.set(Instant::now());
    }

    /// Waits until this process begins to lead; for one that nobody elects there is nothing to wait for, ever.
    pub async fn gained(&self) {
        self.gained.notified().await;
    }

    fn set(&self, until: Instant) {
        if let Some(held) = &self.until {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_its_time_and_each_beginning_is_told_once() {
        let leadership = Leadership::elected();
        assert!(!leadership.leads());
        leadership.hold(Instant::now() + Duration::from_secs(10));
        assert!(leadership.leads() && leadership.gained().now_or_never().is_some());
        leadership.hold(Instant::now() + Duration::from_secs(12));
        assert!(leadership.gained().now_or_never().is_none(), "a renewal is no beginning");

        advance(Duration::from_secs(12)).await;
        assert!(!leadership.leads(), "nobody has to tell it");
        leadership.hold(Instant::now() + Duration::from_secs(1));
        assert!(leadership.gained().now_or_never().is_some(), "it was no leader for a moment");
        leadership.lose();
        assert!(!leadership.leads());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_elects_always_leads() {
        let leadership = Leadership::unelected();
        advance(Duration::from_hours(24)).await;
        leadership.lose();
        assert!(leadership.leads() && leadership.gained().now_or_never().is_none());
    }
}
