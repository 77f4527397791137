//! Compares the operator's clock with a server's, as shown by the `Date` header of its answers. Pure; the operator's
//! own `crate::clock` reads the clocks.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// How far clocks may differ. A request expires only this long after `notAfterTime`, as another operator with a slower
/// clock may have claimed it in its last second. An operator whose clock is known to differ from the API server's by
/// more sends nothing.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// The most answers kept of one server. More than half of them must agree, so that a few wrong dates, such as a
/// proxy's, change nothing.
const KEPT: usize = 8;
/// A `Date` header has no fractions of a second.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// The earliest and the latest time that a clock may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The clock does not show an earlier time.
    pub earliest: Timestamp,
    /// The clock does not show a later time.
    pub latest: Timestamp,
}

impl Bounds {
    /// The least by which `own`, read at the same moment, is ahead of this clock; negative if it is behind, zero if it
    /// may be right.
    #[must_use]
    pub fn lead_of(self, own: Timestamp) -> SignedDuration {
        own.duration_since(own.clamp(self.earliest, self.latest))
    }

    fn later(self, by: SignedDuration) -> Self {
        Self { earliest: later(self.earliest, by), latest: later(self.latest, by) }
    }
}

/// The clock of one server, estimated from its answers. Moments are durations on the operator's monotonic clock, so
/// that setting the wall clock changes no estimate.
#[derive(Clone, Debug, Default)]
pub struct Dates {
    /// What the server's clock showed at moment zero, according to each of the last answers.
    answers: VecDeque<Bounds>,
}

impl Dates {
    /// Records an answer with `date` that came at the moment `came` to a request sent at the moment `asked`: the server
    /// wrote the date between the two.
    pub fn add(&mut self, date: Timestamp, asked: SignedDuration, came: SignedDuration) {
        if self.answers.len() == KEPT {
            self.answers.pop_front();
        }
        let earliest = earlier(date, came);
        let latest = earlier(later(date, RESOLUTION), asked).max(earliest);
        self.answers.push_back(Bounds { earliest, latest });
    }

    /// The bounds of the server's clock at the moment `at`: the interval shared by the largest group of answers, if
    /// that is more than half of those kept.
    #[must_use]
    pub fn bounds(&self, at: SignedDuration) -> Option<Bounds> {
        // A shared interval always begins where one of the answers begins.
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

/// The time by the operator's clock and, if known, by the API server's.
///
/// The operator's clock is trusted unless the API server's proves it wrong: while it may be right, [`Now::latest`] and
/// [`Now::earliest`] are both its time.
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
    /// `own` is the time by the operator's clock; `server` bounds the API server's clock at the same moment.
    #[must_use]
    pub const fn new(own: Timestamp, server: Option<Bounds>) -> Self {
        Self { own, server }
    }

    /// The time by the operator's own clock.
    #[must_use]
    pub const fn own(self) -> Timestamp {
        self.own
    }

    /// The earlier of the two clocks. Use it before declaring a time over, which cannot be taken back.
    #[must_use]
    pub fn earliest(self) -> Timestamp {
        self.server.map_or(self.own, |server| self.own.min(server.latest))
    }

    /// The later of the two clocks. Use it to decide that nothing may be sent any more.
    #[must_use]
    pub fn latest(self) -> Timestamp {
        self.server.map_or(self.own, |server| self.own.max(server.earliest))
    }

    /// The time by the operator's clock at which both clocks have reached `time`.
    #[must_use]
    pub fn own_time_at(self, time: Timestamp) -> Timestamp {
        later(time, self.own.duration_since(self.earliest()))
    }

    /// The least by which the operator's clock is ahead of the API server's, if more than [`CLOCK_SKEW`]; negative if
    /// it is behind.
    #[must_use]
    pub fn skew(self) -> Option<SignedDuration> {
        self.server.map(|server| server.lead_of(self.own)).filter(|lead| is_skew(*lead))
    }
}

/// Whether a difference of `lead` is more than [`CLOCK_SKEW`].
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

/// The time in a `Date` header, or `None` if it cannot be parsed.
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

    /// The dates of a server whose clock is at `shown` at moment zero; each answer in `came` takes 20 ms.
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
        // After the server's clock was set, most of the kept answers soon agree with it.
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

    #[test]
    fn a_date_is_read_as_http_writes_it_and_nothing_else_is_one() {
        assert_eq!(date("Mon, 05 Oct 2026 10:00:00 GMT"), Some(time("10:00:00")));
        for text in ["", "soon", "1791108000"] {
            assert_eq!(date(text), None, "{text:?}");
        }
    }
}
