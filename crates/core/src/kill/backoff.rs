//! How long to wait before the next try of a request. Pure, and without counters, so that a restart changes nothing.

use jiff::{SignedDuration, Timestamp};

use crate::clock::CLOCK_SKEW;

const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
/// A gateway that recovers is noticed within this time.
const LONGEST: SignedDuration = SignedDuration::from_secs(30);

/// Lengthens each pause by up to a quarter, differently per request. Otherwise a thousand requests that began to wait
/// in the same second would all retry in the same second.
const SPREAD: i32 = 4;

/// No pause ends later than 7 s before `notAfterTime`, so that a recovery until then still helps.
const LAST_TRY: SignedDuration = SignedDuration::from_secs(7);
/// Spreads the last tries of requests with the same `notAfterTime` over the 3 s before that.
const LAST_SPREAD: SignedDuration = SignedDuration::from_secs(3);
/// The longest pause from then until `notAfterTime` has passed, before its own spread.
const LAST_PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// The time of the next try of the request `uid`, first processed at `start`. The pause equals the time waited so far,
/// which doubles it each time, between 1 s and 30 s, plus a spread. `at_least` is the pause that the backend asked for;
/// a try before `not_after` is made even if that is sooner. From `not_after` + [`CLOCK_SKEW`] on, only the usual pauses
/// apply.
#[must_use]
pub fn next_attempt(
    start: Timestamp,
    now: Timestamp,
    at_least: Option<SignedDuration>,
    uid: &str,
    not_after: Timestamp,
) -> Timestamp {
    let waited = now.duration_since(start).clamp(SHORTEST, LONGEST);
    let pause = waited.max(at_least.unwrap_or_default().min(LONGEST));
    let part = part(uid, now);
    let until = later(now, pause + (pause / SPREAD / PARTS) * part);
    let last_try = not_after.saturating_sub(LAST_TRY + (LAST_SPREAD / PARTS) * part).unwrap_or(Timestamp::MIN);
    match now {
        _ if now < last_try => until.min(last_try),
        _ if now < later(not_after, CLOCK_SKEW) => until.min(later(now, LAST_PAUSE + (LAST_PAUSE / PARTS) * part)),
        // Nothing can be sent any more, so a thousand requests that await an outcome need not ask every 2 s.
        _ => until,
    }
}

/// Limits the wake-up time `until` of a request that cannot be sent after `not_after`, so that it is still tried in
/// time, and ended as soon as it has expired.
#[must_use]
pub fn in_time(until: Timestamp, now: Timestamp, not_after: Timestamp) -> Timestamp {
    let last_try = not_after.saturating_sub(LAST_TRY).unwrap_or(Timestamp::MIN);
    let is_over = later(not_after, CLOCK_SKEW);
    match now {
        _ if now < last_try => until.min(last_try),
        _ if now < not_after => until.min(later(now, LAST_PAUSE)),
        _ if now < is_over => until.min(is_over),
        // It has ended, or the outcome of its call is being looked up, which has no deadline.
        _ => until,
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// The number of steps in a spread.
const PARTS: i32 = 1024;

/// The step of `uid` at `now`: it needs no stored state, as the same input gives the same step.
fn part(uid: &str, now: Timestamp) -> i32 {
    // FNV-1a, as std's hasher may change its results between releases.
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = uid.bytes().chain(now.as_second().to_le_bytes()).fold(0x811c_9dc5, mix);
    i32::try_from(hash >> 22).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Timestamp = Timestamp::MAX;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        for (waited, pause) in [(0, 1), (1, 1), (2, 2), (4, 4), (16, 16), (40, 30)] {
            for uid in ["a", "b", "c"] {
                let next = next_attempt(at(0), at(waited), None, uid, NEVER).duration_since(at(waited));
                let bounds = SignedDuration::from_secs(pause)..=SignedDuration::from_millis(pause * 1250);
                assert!(bounds.contains(&next), "{waited} s: {next:?}");
            }
        }
    }

    #[test]
    fn those_that_began_to_wait_together_do_not_all_try_again_at_once() {
        let mut times: Vec<_> =
            (0..1000).map(|n| next_attempt(at(0), at(40), None, &format!("uid-{n}"), NEVER)).collect();
        times.sort();
        let spread = times[999].duration_since(times[0]);
        assert!(spread > SignedDuration::from_secs(7), "{spread:?}");
        let in_one_second = times.windows(200).filter(|some| some[199].duration_since(some[0]).as_secs() < 1).count();
        assert_eq!(in_one_second, 0, "a fifth of them within a second");
    }

    #[test]
    fn the_pause_asked_for_is_honoured_and_bounded() {
        let asked = |pause| next_attempt(at(0), at(1), Some(pause), "uid", NEVER);
        assert!((at(8)..at(10)).contains(&asked(SignedDuration::from_secs(7))));
        assert!((at(31)..at(39)).contains(&asked(SignedDuration::from_hours(7))));
    }

    #[test]
    fn a_clock_that_went_back_does_not_stop_the_request() {
        assert!(next_attempt(at(100), at(50), None, "uid", NEVER) < at(52));
    }

    #[test]
    fn no_pause_ends_later_than_seconds_before_the_deadline() {
        for now in 0..100 {
            for asked in [None, Some(SignedDuration::from_hours(1))] {
                for uid in ["a", "b", "c", "d"] {
                    let next = next_attempt(at(0), at(now), asked, uid, at(100));
                    assert!(next > at(now));
                    let is_last_try = next <= at(93) || now >= 90 && next <= at(now + 4);
                    assert!(is_last_try, "at {now}: {next:?}");
                }
            }
            let next = in_time(at(1000), at(now), at(100));
            assert!(next <= at(93) || now >= 93 && next <= at(now + 2), "at {now}: {next:?}");
        }
        assert_eq!(in_time(at(7), at(0), at(100)), at(7));
    }

    #[test]
    fn what_is_over_is_in_no_hurry() {
        for (waited, pause) in [(1, 1), (16, 16), (400, 30)] {
            let next = next_attempt(at(200), at(200 + waited), None, "uid", at(100)).duration_since(at(200 + waited));
            let bounds = SignedDuration::from_secs(pause)..=SignedDuration::from_millis(pause * 1250);
            assert!(bounds.contains(&next), "{waited} s: {next:?}");
        }
        assert!(next_attempt(at(0), at(104), None, "uid", at(100)) <= at(108), "its end is told in time");
    }

    #[test]
    fn the_last_tries_of_those_that_have_the_same_deadline_are_spread() {
        let last = |n| next_attempt(at(0), at(70), None, &format!("uid-{n}"), at(100));
        let mut times: Vec<_> = (0..1000).map(last).collect();
        times.sort();
        assert!(
            times[999].duration_since(times[0]) > SignedDuration::from_millis(2500),
            "{:?}",
            (times[0], times[999])
        );
    }

    #[test]
    fn nothing_keeps_an_end_from_being_told() {
        assert_eq!(in_time(at(1000), at(100), at(100)), at(105));
        assert_eq!(in_time(at(1000), at(104), at(100)), at(105));
        assert_eq!(in_time(at(1000), at(105), at(100)), at(1000));
    }

    #[test]
    fn no_try_follows_at_once_on_a_last_one() {
        let (now, spread) = (at(70), (LAST_SPREAD / PARTS) * part("uid", at(70)));
        let not_after = now + LAST_TRY + spread;
        assert!(next_attempt(at(0), now, None, "uid", not_after) >= now + LAST_PAUSE);
        assert_eq!(in_time(at(1000), at(93), at(100)), at(95));
    }

    #[test]
    fn the_tries_after_the_last_one_pause_for_two_to_four_seconds_each_at_its_own_time() {
        let pause = |n| next_attempt(at(0), at(95), None, &format!("uid-{n}"), at(100)).duration_since(at(95));
        let mut pauses: Vec<_> = (0..1000).map(pause).collect();
        pauses.sort();
        assert!(pauses[0] >= LAST_PAUSE && pauses[999] <= LAST_PAUSE * 2, "{:?}", (pauses[0], pauses[999]));
        assert!(pauses[999] - pauses[0] > SignedDuration::from_millis(1500), "{:?}", (pauses[0], pauses[999]));
    }

    #[test]
    fn what_is_over_by_any_clock_pauses_as_usual_from_that_moment_on() {
        assert!(next_attempt(at(0), at(105), None, "uid", at(100)) >= at(135));
    }

    #[test]
    fn the_step_of_a_request_is_the_same_in_each_release() {
        // The upper ten bits of FNV-1a over the text and eight bytes of the second, as computed elsewhere.
        for (uid, second, step) in [("a", 0, 506), ("b", 0, 905), ("uid-1", 1, 463), ("uid-1", 2, 89)] {
            assert_eq!(part(uid, at(second)), step, "{uid} at {second}");
        }
    }
}
