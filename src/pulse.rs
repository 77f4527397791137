//! Detects stalls of the event loop: a task beats in it, and other threads check when the last beat was. No I/O.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time between two beats. Shorter stalls are not reliably seen.
const BEAT: Duration = Duration::from_millis(500);
/// A stall of at least 1 s is logged.
const LONG: Duration = Duration::from_secs(1);
/// The longest stall is remembered for 2 to 4 minutes, so that any number of scrapers see it.
const REMEMBERED: Duration = Duration::from_mins(2);

/// The pulse of an event loop. Handles share it, and any thread may ask.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Beats>>);

#[derive(Debug)]
struct Beats {
    last: Instant,
    /// The longest stall of this period and of the one before it.
    longest: [Duration; 2],
    period_began: Instant,
}

impl Pulse {
    /// Starts the beat in the current event loop.
    #[must_use]
    pub fn start() -> Self {
        let now = Instant::now();
        let pulse = Self(Arc::new(Mutex::new(Beats { last: now, longest: [Duration::ZERO; 2], period_began: now })));
        let beating = pulse.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(BEAT).await;
                let stood = beating.beats().beat(Instant::now());
                if stood >= LONG {
                    tracing::warn!(seconds = stood.as_secs_f64(), "event loop stood still");
                }
            }
        });
        pulse
    }

    /// How long the event loop has stood still so far; zero if it goes on.
    #[must_use]
    pub fn stands_for(&self) -> Duration {
        self.beats().stall(Instant::now())
    }

    /// The longest stall of the last 2 to 4 minutes, including one that goes on.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let beats = self.beats();
        let [present, before] = beats.longest;
        present.max(before).max(beats.stall(Instant::now()))
    }

    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beats {
    /// How late the due beat is.
    fn stall(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last).saturating_sub(BEAT)
    }

    /// Notes a beat, and returns how late it was.
    fn beat(&mut self, now: Instant) -> Duration {
        let stood = self.stall(now);
        if now.saturating_duration_since(self.period_began) >= REMEMBERED {
            self.longest = [Duration::ZERO, self.longest[0]];
            self.period_began = now;
        }
        self.longest[0] = self.longest[0].max(stood);
        self.last = now;
        stood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stall_is_remembered_for_a_while() {
        let began = Instant::now();
        let mut beats = Beats { last: began, longest: [Duration::ZERO; 2], period_began: began };
        assert_eq!(beats.beat(began + BEAT), Duration::ZERO, "in time");
        let stall = Duration::from_secs(7);
        assert_eq!(beats.stall(began + BEAT * 2 + stall), stall, "it is seen while it lasts");
        assert_eq!(beats.beat(began + BEAT * 2 + stall), stall);
        beats.beat(began + REMEMBERED);
        assert_eq!(beats.longest[1], stall, "in the next period, too");
        beats.beat(began + REMEMBERED * 2);
        assert!(!beats.longest.contains(&stall), "not for ever: {beats:?}");
    }

    #[tokio::test]
    async fn a_loop_that_is_held_up_is_seen_from_another_thread() {
        let pulse = Pulse::start();
        let seen = pulse.clone();
        let least = BEAT * 2;
        // Checks from another thread while this one, the only one of the loop, waits for it.
        let looking = std::thread::spawn(move || {
            while seen.stands_for() < least {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        looking.join().unwrap();
        while pulse.stands_for() > Duration::ZERO {
            tokio::time::sleep(BEAT / 10).await;
        }
        assert!(pulse.longest() >= least);
    }
}
