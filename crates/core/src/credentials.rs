//! When a temporary access key is used, renewed and given up. Pure: times are durations from now, by the monotonic clock.

use std::time::Duration;

use jiff::Timestamp;

/// A key is renewed when a quarter of its life is left, and at the latest when 15 min are.
const WINDOW: Duration = Duration::from_mins(15);
/// What must be left of a key beyond the longest that a call may take.
const MARGIN: Duration = Duration::from_mins(1);
/// The pauses after failed renewals grow from 5 s to 60 s.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// The pause after a definite refusal. A change at RAM acts within 30 s, and somebody has to make it first.
const SLOW_PAUSE: Duration = Duration::from_mins(5);
/// A key that was refused sooner than this after it was issued shows that keys are refused for another reason than age.
const PROVEN: Duration = SHORTEST_PAUSE;

/// How long a key lives that expires at `expiration`, where `now` is the time of whoever issued it; `None` if it has
/// expired. Not longer than was `asked_for`: then a wrong clock cannot make it outlive itself by more.
#[must_use]
pub fn lifetime(expiration: Timestamp, now: Timestamp, asked_for: Option<Duration>) -> Option<Duration> {
    let left = Duration::try_from(expiration.duration_since(now)).ok().filter(|left| !left.is_zero())?;
    Some(asked_for.map_or(left, |asked_for| left.min(asked_for)))
}

/// How much of a key's `lifetime` is left when it is renewed. `spread`, a random number, makes it up to a tenth longer, so
/// that keys that were issued together are not renewed together.
#[must_use]
pub fn renewal_window(lifetime: Duration, spread: u8) -> Duration {
    let window = (lifetime / 4).min(WINDOW);
    window + window / 10 * u32::from(spread) / u32::from(u8::MAX)
}

/// What must be left of a key for a call that may take as long as `call`. STS issues no key for less than 15 min: only a
/// key of a shorter `lifetime` has a smaller margin.
fn needed(lifetime: Duration, call: Duration) -> Duration {
    call + MARGIN.min(lifetime / 4)
}

/// How soon a failed renewal is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After 5 to 60 s: what failed may pass by itself.
    Soon,
    /// After 5 min: somebody must change something.
    Slowly,
}

/// The pause after as many failed renewals in a row. `spread` is a random number: all of the pause but its first 5 s is
/// drawn by it, so that those who failed together do not all try again at once.
#[must_use]
pub fn pause(failures: u32, retry: Retry, spread: u8) -> Duration {
    match retry {
        Retry::Slowly => SLOW_PAUSE,
        Retry::Soon => {
            let most = SHORTEST_PAUSE.saturating_mul(1 << failures.clamp(1, 8)).min(LONGEST_PAUSE);
            SHORTEST_PAUSE + most.saturating_sub(SHORTEST_PAUSE) * u32::from(spread) / u32::from(u8::MAX)
        }
    }
}

/// Whether a key that was refused `age` after it was issued was worth asking for a new one at once. If not, the next one
/// is likely to be refused, too.
#[must_use]
pub fn may_have_expired(age: Duration) -> bool {
    age >= PROVEN
}

/// A held key at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// How long it lives from now on.
    pub left: Duration,
    /// How long it lives in all.
    pub lifetime: Duration,
    /// How much is left when it is renewed: see [`renewal_window`].
    pub window: Duration,
}

impl Life {
    /// Whether it outlives a call that may take as long as `call`.
    #[must_use]
    pub fn outlives(&self, call: Duration) -> bool {
        self.left > needed(self.lifetime, call)
    }
}

/// What is known of one identity at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The held key.
    pub key: Option<Life>,
    /// Whether a renewal is under way.
    pub is_renewing: bool,
    /// What is left of the pause after a failed renewal.
    pub pause: Duration,
}

/// What somebody who needs a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Uses the held key.
    Use,
    /// Uses the held key, and has it renewed in the background.
    UseAndRenew,
    /// Has it renewed, and waits for that.
    Renew,
    /// Waits for the renewal that is under way.
    Wait,
    /// Gives up: the last renewal has failed.
    Fail,
}

/// What somebody does who needs a key for a call that may take as long as `call`.
#[must_use]
pub fn step(standing: Standing, call: Duration) -> Step {
    let Standing { key, is_renewing, pause } = standing;
    match key.filter(|key| key.outlives(call)) {
        Some(key) if key.left <= key.window && !is_renewing && pause.is_zero() => Step::UseAndRenew,
        Some(_) => Step::Use,
        None if is_renewing => Step::Wait,
        None if pause.is_zero() => Step::Renew,
        None => Step::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::time;

    const CALL: Duration = Duration::from_secs(10);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn key(lifetime: u64, left: u64) -> Life {
        Life { left: s(left), lifetime: s(lifetime), window: renewal_window(s(lifetime), 0) }
    }

    fn idle(key: impl Into<Option<Life>>) -> Step {
        step(Standing { key: key.into(), is_renewing: false, pause: Duration::ZERO }, CALL)
    }

    #[test]
    fn a_key_is_renewed_in_the_background_before_it_is_too_short_for_a_call() {
        // An hour, as asked for; 15 min, the shortest; 12 h, the longest; what the metadata service has left.
        for (lifetime, renewed) in [(3600, 900), (900, 225), (43_200, 900), (600, 150)] {
            assert_eq!(idle(key(lifetime, lifetime)), Step::Use);
            assert_eq!(idle(key(lifetime, renewed + 1)), Step::Use, "{lifetime}");
            assert_eq!(idle(key(lifetime, renewed)), Step::UseAndRenew, "{lifetime}");
            assert_eq!(idle(key(lifetime, 71)), Step::UseAndRenew, "{lifetime}");
            assert_eq!(idle(key(lifetime, 70)), Step::Renew, "{lifetime}: it could end within a call");
        }
        assert_eq!(idle(None), Step::Renew);
    }

    #[test]
    fn a_call_that_may_take_longer_needs_a_key_that_lives_longer() {
        let standing = Standing { key: Some(key(3600, 100)), is_renewing: true, pause: Duration::ZERO };
        assert_eq!(step(standing, s(39)), Step::Use);
        assert_eq!(step(standing, s(40)), Step::Wait);
    }

    #[test]
    fn there_is_one_renewal_at_a_time_and_none_during_a_pause() {
        for (is_renewing, pause) in [(true, s(0)), (false, s(1)), (true, s(1))] {
            let with = |key| step(Standing { key, is_renewing, pause }, CALL);
            assert_eq!(with(Some(key(3600, 100))), Step::Use, "a valid key is kept");
            let without = if is_renewing { Step::Wait } else { Step::Fail };
            assert_eq!([with(None), with(Some(key(3600, 70))), with(Some(key(3600, 0)))], [without; 3]);
        }
    }

    #[test]
    fn a_key_of_seconds_is_used_for_most_of_them() {
        let standing = |left| Standing { key: Some(key(5, left)), is_renewing: false, pause: Duration::ZERO };
        assert_eq!([5, 3, 2].map(|left| step(standing(left), s(1))), [Step::Use, Step::Use, Step::Renew]);
        assert_eq!(idle(key(5, 5)), Step::Renew, "it could end within a call of 10 s");
    }

    #[test]
    fn renewals_are_spread_over_a_tenth_of_the_window() {
        let windows = [0, 51, 255].map(|spread| renewal_window(s(3600), spread));
        assert_eq!(windows, [s(900), s(918), s(990)]);
    }

    #[test]
    fn pauses_grow_to_a_minute_and_are_drawn_between_5_s_and_that() {
        for (failures, most) in [(0, 10), (1, 10), (2, 20), (3, 40), (4, 60), (1000, 60)] {
            let drawn = [0, 255].map(|spread| pause(failures, Retry::Soon, spread));
            assert_eq!(drawn, [s(5), s(most)], "{failures}");
        }
        assert_eq!(pause(1, Retry::Soon, 102), s(7));
        assert_eq!([0, 255].map(|spread| pause(1, Retry::Slowly, spread)), [s(300); 2]);
    }

    #[test]
    fn a_key_lives_until_it_expires_but_not_longer_than_was_asked_for() {
        let expires = time("10:30:00");
        assert_eq!(lifetime(expires, time("10:00:00"), None), Some(s(1800)));
        assert_eq!(lifetime(expires, time("10:00:00"), Some(s(3600))), Some(s(1800)));
        assert_eq!(lifetime(expires, time("09:00:00"), Some(s(3600))), Some(s(3600)), "by a clock that is behind");
        for late in ["10:30:00", "10:30:01", "12:00:00"] {
            assert_eq!(lifetime(expires, time(late), Some(s(3600))), None, "{late}");
        }
    }

    #[test]
    fn only_a_key_that_was_of_use_may_have_expired() {
        assert_eq!([0, 4, 5, 3600].map(|age| may_have_expired(s(age))), [false, false, true, true]);
    }
}
