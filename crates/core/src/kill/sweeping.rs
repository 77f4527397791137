//! When to sweep again. Pure.

use jiff::SignedDuration;

/// One part in so many of the time may go into listing: what has ended cannot be listed by when it falls due, only all of it,
/// so that a large history is listed less often, not at a higher cost.
const REST_FACTOR: i32 = 20;
/// The longest pause, however large the history.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// A sweep that finds something to fall due comes again after this part of the interval at the earliest: under a steady flow
/// something always falls due within the next moment.
const PARTS: i32 = 4;
/// No sweep comes sooner after another.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// The pause until the next sweep, after one whose lists took `listing`: as long as `interval`; shorter if something that was
/// seen falls due in `soonest`, so that at the default of a minute it is gone within a quarter of a minute of its time; longer
/// if lists take more than their share. What is done with what was found counts for nothing, as it has limits of its own and
/// makes the next list shorter.
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
