//! How long a request that could not go out waits. Pure and without counters, so that a restart changes nothing.

use jiff::{SignedDuration, Timestamp};

const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
/// A mended Secret or connection is noticed within this time.
const LONGEST: SignedDuration = SignedDuration::from_secs(30);

/// A pause is longer by up to this part of it, by another one for each request: a thousand that began to wait in the same
/// second would else all try again in the same.
const SPREAD: i32 = 4;

/// The time of the next try of the request `uid`, first worked on at `start`: it waits as long again as it has waited so
/// far, which doubles the pause each time, between 1 s and 30 s, and a little longer, so that many do not try at once.
/// `at_least` is the pause the other side asked for.
#[must_use]
pub fn next_attempt(start: Timestamp, now: Timestamp, at_least: Option<SignedDuration>, uid: &str) -> Timestamp {
    let waited = now.duration_since(start).clamp(SHORTEST, LONGEST);
    let pause = waited.max(at_least.unwrap_or_default().min(LONGEST));
    let spread = (pause / SPREAD / PARTS) * part(uid, now);
    now.saturating_add(pause).and_then(|time| time.saturating_add(spread)).unwrap_or(Timestamp::MAX)
}

/// Into how many parts a spread is divided.
const PARTS: i32 = 1024;

/// Which of these parts a try of `uid` gets: always the same at the same time, without any state.
fn part(uid: &str, now: Timestamp) -> i32 {
    // FNV-1a: std's hasher promises no result.
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let hash = uid.bytes().chain(now.as_second().to_le_bytes()).fold(0x811c_9dc5, mix);
    i32::try_from(hash >> 22).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        for (waited, pause) in [(0, 1), (1, 1), (2, 2), (4, 4), (16, 16), (40, 30)] {
            for uid in ["a", "b", "c"] {
                let next = next_attempt(at(0), at(waited), None, uid).duration_since(at(waited));
                let bounds = SignedDuration::from_secs(pause)..=SignedDuration::from_millis(pause * 1250);
                assert!(bounds.contains(&next), "{waited} s: {next:?}");
            }
        }
    }

    #[test]
    fn those_that_began_to_wait_together_do_not_all_try_again_at_once() {
        let mut times: Vec<_> = (0..1000).map(|n| next_attempt(at(0), at(40), None, &format!("uid-{n}"))).collect();
        times.sort();
        let spread = times[999].duration_since(times[0]);
        assert!(spread > SignedDuration::from_secs(7), "{spread:?}");
        let in_one_second = times.windows(200).filter(|some| some[199].duration_since(some[0]).as_secs() < 1).count();
        assert_eq!(in_one_second, 0, "a fifth of them within a second");
    }

    #[test]
    fn the_pause_asked_for_is_honoured_and_bounded() {
        let asked = |pause| next_attempt(at(0), at(1), Some(pause), "uid");
        assert!((at(8)..at(10)).contains(&asked(SignedDuration::from_secs(7))));
        assert!((at(31)..at(39)).contains(&asked(SignedDuration::from_hours(7))));
    }

    #[test]
    fn a_clock_that_went_back_does_not_stop_the_request() {
        assert!(next_attempt(at(100), at(50), None, "uid") < at(52));
    }
}
