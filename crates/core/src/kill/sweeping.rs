//! When the next sweep is due. Pure.

use jiff::SignedDuration;

/// Lists take at most about 1/20 of the time. The API server can list all objects but not only those that are due, so
/// that a large history is listed less often instead of at a higher cost.
const REST_FACTOR: i32 = 20;
/// The longest pause, however large the history.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// After finding objects that fall due soon, wait at least this part of the interval: under a steady load, something
/// always falls due in the next moment.
const PARTS: i32 = 4;
/// The shortest pause.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// The pause after a sweep whose lists took `listing`. It is `interval`, or shorter if something falls due in
/// `soonest`: at the default interval of 1 min, it is gone within 15 s of its time. It is longer if the lists took more
/// than their share; the removals do not count, as they have their own limits and shorten the next list.
#[must_use]
pub fn pause(interval: SignedDuration, listing: SignedDuration, soonest: Option<SignedDuration>) -> SignedDuration {
    let earliest = (interval / PARTS).max(SHORTEST).min(interval);
    let wanted = soonest.map_or(interval, |due| due.clamp(earliest, interval));
    wanted.max(listing.saturating_mul(REST_FACTOR).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: SignedDuration = SignedDuration::from_mins(1);

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    #[test]
    fn it_comes_again_when_something_falls_due_but_not_for_each_object() {
        assert_eq!(pause(INTERVAL, seconds(0), None), INTERVAL);
        assert_eq!(pause(INTERVAL, seconds(0), Some(seconds(40))), seconds(40));
        assert_eq!(pause(INTERVAL, seconds(0), Some(seconds(3600))), INTERVAL);
        for soon in [-5, 0, 1] {
            assert_eq!(pause(INTERVAL, seconds(0), Some(seconds(soon))), seconds(15));
        }
        assert_eq!(pause(seconds(1), seconds(0), Some(seconds(0))), seconds(1));
    }

    #[test]
    fn a_large_history_is_listed_less_often_whatever_falls_due_but_never_forgotten() {
        assert_eq!(pause(INTERVAL, seconds(2), Some(seconds(0))), seconds(40));
        assert_eq!(pause(INTERVAL, seconds(15), Some(seconds(0))), seconds(300));
        assert_eq!(pause(INTERVAL, seconds(100_000), None), LONGEST);
    }
}
