//! How long a request that could not go out waits. Pure and without counters, so that a restart changes nothing.

use jiff::{SignedDuration, Timestamp};

const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
/// A mended Secret or connection is noticed within this time.
const LONGEST: SignedDuration = SignedDuration::from_secs(30);

/// The time of the next try of a request first worked on at `start`: it waits as long again as it has waited so far,
/// which doubles the pause each time, between 1 s and 30 s. `at_least` is the pause the other side asked for.
#[must_use]
pub fn next_attempt(start: Timestamp, now: Timestamp, at_least: Option<SignedDuration>) -> Timestamp {
    let waited = now.duration_since(start).clamp(SHORTEST, LONGEST);
    let pause = waited.max(at_least.unwrap_or_default().min(LONGEST));
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut now = at(0);
        let mut pauses = vec![];
        for _ in 0..8 {
            let next = next_attempt(at(0), now, None);
            pauses.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn the_pause_asked_for_is_honoured_and_bounded() {
        assert_eq!(next_attempt(at(0), at(1), Some(SignedDuration::from_secs(7))), at(8));
        assert_eq!(next_attempt(at(0), at(1), Some(SignedDuration::from_hours(7))), at(31));
    }

    #[test]
    fn a_clock_that_went_back_does_not_stop_the_request() {
        assert_eq!(next_attempt(at(100), at(50), None), at(51));
    }
}
