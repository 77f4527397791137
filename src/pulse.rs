//! Whether the event loop goes on, and for how long it has stood still: it beats in a task, and others look at the clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time between two beats. What is shorter cannot be seen for certain.
const BEAT: Duration = Duration::from_millis(500);
/// From here on a stall is told in the log.
const LONG: Duration = Duration::from_secs(1);
/// The longest stall is remembered for so long at least, and twice as long at most: any number of scrapers see it.
const REMEMBERED: Duration = Duration::from_mins(2);

/// The pulse of an event loop. Handles share it, and may be asked by any thread.
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
    /// Begins to beat in the event loop that this is called in.
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

    /// For how long the event loop has stood still until now. Zero if it goes on.
    #[must_use]
    pub fn stands_for(&self) -> Duration {
        self.beats().stall(Instant::now())
    }

    /// The longest stall of the last minutes, one that goes on included.
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
    /// How far the beat that is due is late.
    fn stall(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last).saturating_sub(BEAT)
    }

    /// Notes a beat; how late it was.
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
        // Looks while this thread, which is the loop's only one, waits for it.
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
