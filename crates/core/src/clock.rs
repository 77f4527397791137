//! What the time is by more clocks than one: by the operator's, and by that of a server, as the `Date` of its answers tells.
//! Pure; `crate::clock` reads the clocks.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// How far clocks may differ. A request is not called expired before this much time has passed since `notAfterTime`: another
/// operator, whose clock is behind, may have claimed it in its last second. An operator whose clock is known to be further
/// from the API server's sends nothing.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// The most answers of one server whose dates are kept. More than half of them decide: a few odd ones, such as those of a
/// proxy, change nothing.
const KEPT: usize = 8;
/// A date has no fractions of a second.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// The times between which a clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// It shows no earlier time.
    pub earliest: Timestamp,
    /// It shows no later time.
    pub latest: Timestamp,
}

impl Bounds {
    /// By how much `own`, which is read at the same moment, is ahead of this clock at the least; negative if it is behind.
    /// Zero if it may be right.
    #[must_use]
    pub fn lead_of(self, own: Timestamp) -> SignedDuration {
        own.duration_since(own.clamp(self.earliest, self.latest))
    }

    fn later(self, by: SignedDuration) -> Self {
        Self { earliest: later(self.earliest, by), latest: later(self.latest, by) }
    }
}

/// What the answers of one server tell of its clock. Moments are durations by the operator's monotonic clock, so that a step
/// of its wall clock changes nothing of what is known.
#[derive(Clone, Debug, Default)]
pub struct Dates {
    /// What the server's clock showed at the moment zero, by each of the last answers.
    answers: VecDeque<Bounds>,
}

impl Dates {
    /// An answer with `date` came at the moment `came` to what was asked at the moment `asked`: the server wrote the date
    /// between these.
    pub fn add(&mut self, date: Timestamp, asked: SignedDuration, came: SignedDuration) {
        if self.answers.len() == KEPT {
            self.answers.pop_front();
        }
        let earliest = earlier(date, came);
        let latest = earlier(later(date, RESOLUTION), asked).max(earliest);
        self.answers.push_back(Bounds { earliest, latest });
    }

    /// Between which times the server's clock stands at the moment `at`: what most answers have in common, if they are more
    /// than half of those that are kept.
    #[must_use]
    pub fn bounds(&self, at: SignedDuration) -> Option<Bounds> {
        // What answers have in common begins where one of them does.
        let in_common = |first: &Bounds| {
            let has_it = |answer: &&Bounds| answer.earliest <= first.earliest && first.earliest <= answer.latest;
            let those = self.answers.iter().filter(has_it);
            let latest = those.clone().map(|answer| answer.latest).min()?;
            Some((those.count(), Bounds { earliest: first.earliest, latest }))
        };
        let (count, bounds) = self.answers.iter().filter_map(in_common).max_by_key(|(count, _)| *count)?;
        (count * 2 > self.answers.len()).then(|| bounds.later(at))
    }
}

/// The time, by the operator's own clock and, as far as that is known, by the API server's.
///
/// The operator's clock is taken at its word unless the API server's proves that it is off: [`Now::latest`] and
/// [`Now::earliest`] are both its time if it may be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    own: Timestamp,
    server: Option<Bounds>,
}

impl From<Timestamp> for Now {
    /// By the operator's clock alone.
    fn from(own: Timestamp) -> Self {
        Self { own, server: None }
    }
}

impl Now {
    /// `own` is the time by the operator's clock, `server` what is known of the API server's at the same moment.
    #[must_use]
    pub const fn new(own: Timestamp, server: Option<Bounds>) -> Self {
        Self { own, server }
    }

    /// The time by the operator's own clock.
    #[must_use]
    pub const fn own(self) -> Timestamp {
        self.own
    }

    /// The time that has come by both clocks: for what cannot be taken back once it is said that a time is over.
    #[must_use]
    pub fn earliest(self) -> Timestamp {
        self.server.map_or(self.own, |server| self.own.min(server.latest))
    }

    /// The time that has come by one clock or the other: after it nothing may be sent.
    #[must_use]
    pub fn latest(self) -> Timestamp {
        self.server.map_or(self.own, |server| self.own.max(server.earliest))
    }

    /// The time by the operator's own clock when `time` will have come by both.
    #[must_use]
    pub fn own_time_at(self, time: Timestamp) -> Timestamp {
        later(time, self.own.duration_since(self.earliest()))
    }

    /// By how much the operator's clock is ahead of the API server's at the least, if that is more than clocks may differ;
    /// negative if it is behind.
    #[must_use]
    pub fn skew(self) -> Option<SignedDuration> {
        self.server.map(|server| server.lead_of(self.own)).filter(|lead| is_skew(*lead))
    }
}

/// Whether clocks that differ by `lead` differ by more than they may.
#[must_use]
pub fn is_skew(lead: SignedDuration) -> bool {
    lead.abs() > CLOCK_SKEW
}

/// `30 s ahead of`, or `30 s behind`.
#[must_use]
pub fn in_words(lead: SignedDuration) -> String {
    let word = if lead.is_negative() { "behind" } else { "ahead of" };
    format!("{} s {word}", lead.abs().as_secs())
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn earlier(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// The time that a header `Date` names; none if it names none.
#[must_use]
pub fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::time;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn ms(milliseconds: i64) -> SignedDuration {
        SignedDuration::from_millis(milliseconds)
    }

    /// Of a server at which it is `shown` at the moment zero, by answers that came at these moments, 20 ms after the question.
    fn dates(shown: Timestamp, came: impl IntoIterator<Item = i64>) -> Dates {
        let mut dates = Dates::default();
        for came in came.into_iter().map(ms) {
            let written = shown + came - ms(10);
            let date = Timestamp::from_second(written.as_second()).unwrap();
            dates.add(date, came - ms(20), came);
        }
        dates
    }

    #[test]
    fn one_answer_tells_the_time_to_a_second_and_more_answers_tell_it_more_exactly() {
        let (shown, at) = (time("10:00:00"), ms(10_000));
        let width = |dates: &Dates| {
            let bounds = dates.bounds(at).unwrap();
            assert!(bounds.earliest <= shown + at && shown + at <= bounds.latest, "{bounds:?}");
            bounds.latest.duration_since(bounds.earliest)
        };
        assert_eq!(width(&dates(shown, [300])), ms(1020));
        assert!(width(&dates(shown, [300, 1100, 2500, 3900])) < ms(300));
        assert_eq!(Dates::default().bounds(at), None, "nothing is known before the first");
    }

    #[test]
    fn a_slow_answer_proves_little() {
        let mut dates = Dates::default();
        dates.add(time("10:00:00"), ms(0), ms(15_000));
        let now = |own| Now::new(own, dates.bounds(ms(15_000)));
        assert_eq!(now(time("10:00:15")).skew(), None, "written at once");
        assert_eq!(now(time("10:00:00")).skew(), None, "written at the last moment");
    }

    #[test]
    fn odd_dates_decide_nothing_while_most_agree_and_nothing_is_known_when_none_do() {
        let shown = time("10:00:00");
        let mut answers = dates(shown, [1000, 2000, 3000, 4000, 5000]);
        let known = answers.bounds(ms(9000));
        for (came, odd) in [(6000, HOUR), (7000, -HOUR), (8000, HOUR * 9)] {
            answers.add(shown + ms(came) + odd, ms(came - 20), ms(came));
            assert_eq!(answers.bounds(ms(9000)), known);
        }
        let mut torn = dates(shown, [1000]);
        torn.add(shown + HOUR, ms(1980), ms(2000));
        assert_eq!(torn.bounds(ms(3000)), None, "one of two is not more than half");
        // The server's clock was set: soon most answers say so.
        let mut set = dates(shown, 1..=8);
        for came in 10..15 {
            set.add(shown + HOUR, ms(came - 1), ms(came));
        }
        assert!(set.bounds(ms(20)).unwrap().earliest > shown + HOUR - ms(1000));
    }

    #[test]
    fn dates_from_outside_of_all_times_are_survived() {
        for date in [Timestamp::MIN, Timestamp::MAX] {
            let mut dates = Dates::default();
            dates.add(date, ms(0), ms(i64::MAX / 2));
            let now = Now::new(time("10:00:00"), dates.bounds(SignedDuration::MAX));
            let _ = (now.skew(), now.earliest(), now.latest(), now.own_time_at(Timestamp::MAX));
        }
    }

    #[test]
    fn a_clock_that_may_be_right_is_taken_at_its_word() {
        let server = dates(time("10:00:00"), [100]).bounds(ms(1000));
        for own in ["10:00:01", "10:00:01.5"].map(time) {
            let now = Now::new(own, server);
            assert_eq!((now.earliest(), now.latest(), now.skew()), (own, own, None));
            assert_eq!(now.own_time_at(time("10:30:00")), time("10:30:00"));
        }
    }

    #[test]
    fn a_clock_that_is_ahead_has_nothing_over_before_its_time() {
        let server = Bounds { earliest: time("10:00:00"), latest: time("10:00:01") };
        let now = Now::new(time("10:00:04"), Some(server));
        assert_eq!((now.earliest(), now.latest()), (time("10:00:01"), time("10:00:04")));
        assert_eq!(now.own_time_at(time("10:00:10")), time("10:00:13"), "it shows that when it is 10:00:10 by both");
        assert_eq!(now.skew(), None, "within what is allowed for");
        let now = Now::new(time("11:00:01"), Some(server));
        assert_eq!(now.skew().map(in_words).unwrap(), "3600 s ahead of");
    }

    #[test]
    fn a_clock_that_is_behind_has_nothing_sent_after_its_time() {
        let server = Bounds { earliest: time("10:00:04"), latest: time("10:00:05") };
        let now = Now::new(time("10:00:00"), Some(server));
        assert_eq!((now.earliest(), now.latest()), (time("10:00:00"), time("10:00:04")));
        assert_eq!(now.skew(), None);
        let now = Now::new(time("09:00:04"), Some(server));
        assert_eq!(now.skew().map(in_words).unwrap(), "3600 s behind");
    }

    #[test]
    fn a_step_of_the_own_clock_is_noticed_without_another_answer() {
        let dates = dates(time("10:00:00"), [100, 1100]);
        let at = |own, at| Now::new(time(own), dates.bounds(ms(at))).skew();
        assert_eq!(at("10:00:10", 10_000), None);
        assert!(at("11:00:11", 11_000).is_some(), "set forward");
        assert_eq!(at("10:00:12", 12_000), None, "set right");
    }
}
