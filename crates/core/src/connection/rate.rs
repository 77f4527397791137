//! The rate limit of the calls through a connection. Pure: time is an argument, counted from any fixed moment.
//!
//! There is no limit at first, as the account's quota is unknown and may be shared with others. A throttled call lowers
//! the limit; each answered call raises it a little.

use std::collections::VecDeque;

use jiff::SignedDuration;

/// The part of the throttled rate that becomes the new limit.
const CUT: f64 = 0.7;
/// Calls per second added to the limit by one second of answers.
const GROWTH: f64 = 1.0;
/// The lowest limit, in calls per second, so that a connection that is always throttled is still tried.
const SLOWEST: f64 = 0.2;
/// A limit above this rate, in calls per second, is dropped.
const FASTEST: f64 = 100.0;
/// The pause after a throttled call if the gateway names none: quotas count calls per second.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The window in which calls are counted.
const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// The longest pause that the gateway may ask for.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// The rate of the calls through one connection.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Calls per second; `None` for no limit.
    limit: Option<f64>,
    /// No call starts before this moment.
    next: SignedDuration,
    /// When recent and scheduled calls start, in order.
    recent: VecDeque<SignedDuration>,
    /// A throttled answer before this moment belongs to a call from before the last cut.
    cut_until: SignedDuration,
}

impl Rate {
    /// Reserves slots for `calls` calls that start right after each other, and returns the wait before the first.
    ///
    /// Like the quotas, a limit counts the calls in any one second: while the second has room, a call starts at once,
    /// even right after another.
    pub fn take_turn(&mut self, now: SignedDuration, calls: u32) -> SignedDuration {
        let mut start = self.next.max(now);
        let (room, window) = self.limit.map_or((usize::MAX, SECOND), room);
        let count = usize::try_from(calls).unwrap_or(usize::MAX);
        // The earlier call that must be one window old before the last of these calls starts.
        let before = self.recent.len().saturating_add(count.min(room)).checked_sub(room.saturating_add(1));
        if let Some(before) = before.and_then(|index| self.recent.get(index)) {
            start = start.max(before.saturating_add(window));
        }
        while self.recent.front().is_some_and(|at| start.saturating_sub(*at) >= window) {
            self.recent.pop_front();
        }
        // Calls beyond one window's room count in the next window.
        let windows = (0..count).map(|call| i32::try_from(call / room).unwrap_or(i32::MAX));
        self.recent.extend(windows.map(|after| start.saturating_add(window.saturating_mul(after))));
        self.next = start;
        start.saturating_sub(now)
    }

    /// The limit in calls per second, if throttling has set one.
    #[must_use]
    pub const fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Records a throttled call, and the pause if the gateway asked for one. An answer to a call that started before
    /// the last cut does not cut again.
    pub fn throttled(&mut self, now: SignedDuration, retry_after: Option<SignedDuration>) {
        let pause = retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE);
        let resume = now.saturating_add(pause);
        self.next = self.next.max(resume);
        if now < self.cut_until {
            return;
        }
        self.cut_until = resume;
        let of_last_second = self.recent.iter().rev().take_while(|at| now.saturating_sub(**at) < SECOND).count();
        let recent = f64::from(u32::try_from(of_last_second).unwrap_or(u32::MAX));
        let used = self.limit.map_or(recent, |limit| limit.min(recent.max(SLOWEST)));
        self.limit = Some((used * CUT).max(SLOWEST));
    }

    /// Records an answered call.
    pub fn answered(&mut self) {
        // Each answer adds its share: about `limit` answers come per second.
        self.limit = self.limit.map(|limit| limit + GROWTH / limit.max(GROWTH)).filter(|limit| *limit <= FASTEST);
    }
}

/// How many calls may start in which window: a limit below 1 per second is one call in a longer window.
fn room(limit: f64) -> (usize, SignedDuration) {
    let calls = limit.floor().clamp(1.0, FASTEST);
    let window = SignedDuration::try_from_secs_f64((1.0 / limit).max(1.0)).unwrap_or(LONGEST_PAUSE);
    // The value is a whole number from 1 to FASTEST.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (calls as usize, window)
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
        for _ in 0..7 {
            assert_eq!(rate.take_turn(ms(500), 1), ms(1000), "a pause, then 7 calls in a second after 10");
        }
        assert_eq!(rate.take_turn(ms(500), 2), ms(2000));
    }

    #[test]
    fn no_second_whenever_it_begins_has_more_calls_than_the_limit() {
        for (limit, room, window) in [(7.9, 7, ms(1000)), (1.0, 1, ms(1000)), (0.2, 1, ms(5000))] {
            let (mut rate, mut now) = (Rate { limit: Some(limit), ..Rate::default() }, ms(0));
            let mut starts = vec![];
            for turn in 0..200 {
                let calls = if room == 1 { 1 } else { 1 + turn % 3 };
                now += ms(i64::from(turn % 7) * 10);
                starts.extend(std::iter::repeat_n(now + rate.take_turn(now, calls), calls as usize));
            }
            assert!(starts.is_sorted(), "first come, first served: {starts:?}");
            let too_close = starts.windows(room + 1).find(|calls| calls[room] - calls[0] < window);
            assert_eq!(too_close, None, "{limit}");
        }
    }

    #[test]
    fn more_calls_than_there_is_room_for_count_in_the_seconds_after() {
        let mut rate = Rate { limit: Some(2.0), ..Rate::default() };
        assert_eq!(rate.take_turn(ms(0), 5), ms(0), "they start one right after the other");
        assert_eq!(rate.take_turn(ms(0), 1), ms(2000));
        assert_eq!(rate.take_turn(ms(0), 1), ms(3000));
    }

    #[test]
    fn who_comes_while_there_is_room_does_not_wait() {
        let mut rate = Rate { limit: Some(7.0), ..Rate::default() };
        assert_eq!((rate.take_turn(ms(0), 3), rate.take_turn(ms(1), 3)), (ms(0), ms(0)));
        assert_eq!(rate.take_turn(ms(100), 3), ms(900));
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

    #[test]
    fn a_throttled_call_sets_the_limit_below_what_was_started_in_the_last_second() {
        let mut rate = Rate::default();
        assert_eq!(rate.limit(), None);
        rate.take_turn(ms(0), 10);
        rate.take_turn(ms(1), 10);
        rate.throttled(ms(1000), None);
        assert_eq!(rate.limit(), Some(7.0), "those that are a second old do not count");
    }

    #[test]
    fn a_call_from_after_the_pause_cuts_again() {
        let mut rate = Rate { limit: Some(10.0), ..Rate::default() };
        rate.take_turn(ms(0), 10);
        rate.throttled(ms(0), None);
        rate.take_turn(ms(0), 7);
        rate.throttled(ms(999), None);
        assert_eq!(rate.limit(), Some(7.0), "it may have been on its way");
        rate.throttled(ms(1000), None);
        assert!(rate.limit().is_some_and(|limit| limit < 5.0), "{:?}", rate.limit());
    }
}
