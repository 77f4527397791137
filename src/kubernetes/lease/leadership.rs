//! Whether this process leads or stands by. No I/O; `election` handles the Lease.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Whether this process leads and may start work. It only saves calls: even two leaders execute each kill only once,
/// because of its claim.
#[derive(Debug)]
pub struct Leadership {
    /// Until when it leads; `None` for always.
    until: Option<Mutex<Instant>>,
    gained: Notify,
}

impl Leadership {
    /// For a process without leader election: it always leads.
    pub fn unelected() -> Self {
        Self { until: None, gained: Notify::new() }
    }

    /// For a process that leads only while it holds the Lease.
    pub fn elected() -> Self {
        Self { until: Some(Mutex::new(Instant::now())), gained: Notify::new() }
    }

    /// Whether this process leads now. It reads the clock, so that a process that was frozen past the end of its Lease
    /// knows it before it does anything else.
    pub fn leads(&self) -> bool {
        self.until.as_ref().is_none_or(|until| Instant::now() < *until.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leads until `until`. If it did not lead just before, even for a moment, [`Self::gained`] returns: work that came
    /// in that moment was ignored.
    pub fn hold(&self, until: Instant) {
        let led = self.leads();
        self.set(until);
        if !led {
            self.gained.notify_one();
        }
    }

    /// Stops leading at once.
    pub fn lose(&self) {
        self.set(Instant::now());
    }

    /// Waits until this process starts to lead; without leader election it never returns.
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
