//! The quota of calls, and the answer to calls beyond it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::errors::ApiError;

const WINDOW: Duration = Duration::from_secs(1);

/// The throttling of the one account, to which all access keys belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The most calls of any action that are let through in any one second.
    pub calls_per_second: u32,
    /// Whether a refusal says in `x-acs-retry-after` when there is room again.
    pub retry_after: bool,
}

/// Lets calls through within the quota. Without a quota, lets all through.
pub struct Meter {
    quota: Option<Quota>,
    let_through: Mutex<VecDeque<Instant>>,
}

impl Meter {
    /// Nothing has been called yet.
    #[must_use]
    pub fn new(quota: Option<Quota>) -> Self {
        Self { quota, let_through: Mutex::default() }
    }

    /// Counts a call at `now`, or refuses it with `Throttling.User`. Refused calls do not count.
    pub fn admit(&self, now: Instant) -> Result<(), ApiError> {
        let Some(quota) = self.quota else { return Ok(()) };
        let mut let_through = self.let_through.lock().unwrap_or_else(PoisonError::into_inner);
        while let_through.front().is_some_and(|earlier| now.duration_since(*earlier) >= WINDOW) {
            let_through.pop_front();
        }
        if let_through.len() < quota.calls_per_second as usize {
            let_through.push_back(now);
            return Ok(());
        }
        let free = let_through.front().map_or(WINDOW, |earliest| WINDOW.saturating_sub(now.duration_since(*earliest)));
        // Round up, so that a call that comes back at exactly this time finds room.
        let pause = u64::try_from(free.as_millis()).unwrap_or(u64::MAX) + 1;
        Err(ApiError::throttled(quota.retry_after.then_some(pause)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(calls_per_second: u32, retry_after: bool) -> Meter {
        Meter::new(Some(Quota { calls_per_second, retry_after }))
    }

    #[test]
    fn no_second_whenever_it_begins_has_more_calls_than_the_quota() {
        let (meter, start) = (meter(3, false), Instant::now());
        let at = |ms| meter.admit(start + Duration::from_millis(ms)).is_ok();
        let admitted = [0, 10, 900, 950, 1000, 1001, 1010, 1899, 1900].map(at);
        assert_eq!(admitted, [true, true, true, false, true, false, true, false, true]);
    }

    #[test]
    fn a_refusal_says_when_to_come_back_only_if_it_is_to() {
        let start = Instant::now();
        for (retry_after, expected) in [(false, None), (true, Some(601))] {
            let meter = meter(1, retry_after);
            assert!(meter.admit(start).is_ok());
            let Err(refusal) = meter.admit(start + Duration::from_millis(400)) else { panic!("beyond the quota") };
            assert_eq!((refusal.code.as_str(), refusal.retry_after_ms), ("Throttling.User", expected));
            assert!(meter.admit(start + Duration::from_millis(400 + 601)).is_ok());
        }
    }

    #[test]
    fn without_a_quota_everything_is_let_through() {
        let (meter, now) = (Meter::new(None), Instant::now());
        assert!((0..10_000).all(|_| meter.admit(now).is_ok()));
    }
}
