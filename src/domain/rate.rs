//! How fast calls through a connection may go. Pure: time is an argument, counted from any fixed moment.
//!
//! Starts without a limit. The quota of an account is not known, and may be shared with others: being throttled tells that
//! it is used up, and each answer that there is room for a little more.

use std::collections::VecDeque;

use jiff::SignedDuration;

/// What is left of the rate at which calls were throttled.
const CUT: f64 = 0.7;
/// Calls per second that a second of answers adds.
const GROWTH: f64 = 1.0;
/// Calls per second, at the least: a connection that is throttled all the time is still tried.
const SLOWEST: f64 = 0.2;
/// A limit above so many calls per second is none.
const FASTEST: f64 = 100.0;
/// Without a word from the gateway: the quotas are counted by the second.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The longest pause that the gateway may ask for.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// The rate of the calls through one connection.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Calls per second; none for no limit.
    limit: Option<f64>,
    /// No call starts before.
    next: SignedDuration,
    /// When the calls of the last second started or will start.
    recent: VecDeque<SignedDuration>,
    /// Throttled answers up to then are of calls that started before the last cut.
    cut_until: SignedDuration,
}

impl Rate {
    /// Takes the turn of `calls` calls that start one right after the other, and returns how long they must wait.
    pub fn take_turn(&mut self, now: SignedDuration, calls: u32) -> SignedDuration {
        let start = self.next.max(now);
        let gap = self.limit.map_or(SignedDuration::ZERO, |limit| seconds(f64::from(calls) / limit));
        self.next = start.saturating_add(gap);
        while self.recent.front().is_some_and(|at| start.saturating_sub(*at) >= SignedDuration::from_secs(1)) {
            self.recent.pop_front();
        }
        self.recent.extend((0..calls).map(|_| start));
        start.saturating_sub(now)
    }

    /// Calls per second, if the gateway has set a limit by throttling.
    #[must_use]
    pub const fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// A call was throttled; the gateway may have asked for a pause. Answers to calls that had started before the last
    /// cut do not cut again.
    pub fn throttled(&mut self, now: SignedDuration, retry_after: Option<SignedDuration>) {
        let pause = retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE);
        let resume = now.saturating_add(pause);
        self.next = self.next.max(resume);
        if now < self.cut_until {
            return;
        }
        self.cut_until = resume;
        let recent = f64::from(u32::try_from(self.recent.len()).unwrap_or(u32::MAX));
        let used = self.limit.map_or(recent, |limit| limit.min(recent.max(SLOWEST)));
        self.limit = Some((used * CUT).max(SLOWEST));
    }

    /// A call was answered.
    pub fn answered(&mut self) {
        // So many answers come in a second.
        self.limit = self.limit.map(|limit| limit + GROWTH / limit.max(GROWTH)).filter(|limit| *limit <= FASTEST);
    }
}

fn seconds(seconds: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(seconds).unwrap_or(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> SignedDuration {
        SignedDuration::from_millis(ms)
    }

    #[test]
    fn nothing_waits_before_the_gateway_says_so() {
        let mut rate = Rate::default();
        for _ in 0..1000 {
            assert_eq!(rate.take_turn(ms(0), 2), ms(0));
        }
    }

    #[test]
    fn a_throttled_connection_pauses_and_goes_on_more_slowly() {
        let mut rate = Rate::default();
        for _ in 0..10 {
            rate.take_turn(ms(0), 1);
        }
        rate.throttled(ms(500), None);
        assert_eq!(rate.take_turn(ms(500), 1), ms(1000), "a pause");
        let wait = rate.take_turn(ms(500), 1) - ms(1000);
        assert_eq!(wait.as_millis(), 142, "7 calls per second after 10");
    }

    #[test]
    fn the_pause_that_was_asked_for_is_honoured_and_bounded() {
        let mut rate = Rate::default();
        rate.throttled(ms(0), Some(ms(7000)));
        assert_eq!(rate.take_turn(ms(0), 1), ms(7000));
        let mut rate = Rate::default();
        rate.throttled(ms(0), Some(SignedDuration::from_hours(1)));
        assert_eq!(rate.take_turn(ms(0), 1), LONGEST_PAUSE);
    }

    #[test]
    fn answers_to_calls_of_the_same_moment_cut_once() {
        let mut rate = Rate::default();
        for _ in 0..10 {
            rate.take_turn(ms(0), 1);
        }
        let mut once = rate.clone();
        once.throttled(ms(10), None);
        for late in 10..20 {
            rate.throttled(ms(late), None);
        }
        assert_eq!(rate.limit, once.limit);
    }

    #[test]
    fn it_recovers_up_to_no_limit() {
        let mut rate = Rate { limit: Some(7.0), ..Rate::default() };
        for _ in 0..7 {
            rate.answered();
        }
        let after_a_second = rate.limit.unwrap();
        assert!((7.9..8.1).contains(&after_a_second), "{after_a_second}");
        for _ in 0..10_000 {
            rate.answered();
        }
        assert_eq!(rate.limit, None);
    }

    #[test]
    fn it_settles_below_a_quota_and_uses_most_of_it() {
        // Ten calls in each second; a simulation of five minutes.
        let (mut rate, mut now, mut used, mut second) = (Rate::default(), ms(0), 0, 0);
        let (mut answered, mut throttled) = (0, 0);
        while now < SignedDuration::from_mins(5) {
            now += rate.take_turn(now, 1) + ms(5);
            if now.as_secs() != second {
                (second, used) = (now.as_secs(), 0);
            }
            used += 1;
            if used > 10 {
                throttled += 1;
                rate.throttled(now, None);
            } else {
                answered += 1;
                rate.answered();
            }
        }
        assert!(answered > 1800, "{answered} of 3000");
        assert!(throttled * 20 < answered, "{throttled} of {answered}");
    }
}
