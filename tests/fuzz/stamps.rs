//! Time stamps, and the headers that change them. A time from outside must never make a stamp later than allowed.

use bolero::check;
use jiff::{SignedDuration, Timestamp};
use sessionkill::domain::clock;
use sessionkill::oceanbase::raw_answer::retry_after;
use sessionkill::oceanbase::{Stamp, TimeSource};
use uuid::Uuid;

use crate::material::{Plan, text};
use crate::tally::{ITERATIONS, Tally};

const DATES: [&str; 10] = [
    "Mon, 05 Oct 2026 09:30:00 GMT",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "Thu, 01 Jan 1970 00:00:00 -2359",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Sat, 01 Jan 0000 00:00:00 GMT",
    "5 Oct 99 9:30:60 EST",
    "1500",
    "4294967295",
    "-1",
    "1e3",
];

#[test]
fn stamps() {
    let tally = Tally::of("stamps");
    check!().with_iterations(ITERATIONS).with_type::<(i64, i64, i64, u32)>().for_each(
        |(deadline, now, lead, request)| {
            let (deadline, now) = (moment(*deadline), moment(*now));
            let stamp = TimeSource::DispatchDeadline.stamp("seed", *request, deadline, now);
            check_stamp(&stamp);
            let time: Timestamp = stamp.time.parse().unwrap();
            // The gateway accepts it for 15 minutes, and so not after the deadline. The exception is a deadline near
            // the earliest possible time.
            let last = time + SignedDuration::from_mins(15);
            assert!(
                last <= deadline || deadline < Timestamp::MIN + SignedDuration::from_mins(16),
                "{stamp:?} {deadline}"
            );
            let gateway_lead = SignedDuration::from_secs(*lead);
            check_stamp(&TimeSource::CurrentTime { gateway_lead }.stamp("seed", *request, deadline, now));
            check_stamp(&Stamp::of_read(gateway_lead, now, Uuid::from_u128((*request).into())));
            tally.count(now < deadline);
        },
    );
    tally.assert_both();
}

#[test]
fn date_and_retry_headers() {
    let tally = Tally::of("date and retry headers");
    check!().with_iterations(ITERATIONS).with_type::<(u8, u8, u8, Plan)>().for_each(|(number, at, byte, plan)| {
        let mut header = DATES[usize::from(*number) % DATES.len()].to_owned();
        if number % 4 != 0 {
            let at = usize::from(*at) % header.len();
            header.replace_range(at..=at, &char::from(*byte).to_string());
        }
        let header = if plan.base == 0 { text(plan) } else { header };
        let time = clock::date(&header);
        tally.count(time.is_some());
        if let Some(time) = time {
            let now = moment(i64::from(*byte));
            check_stamp(&Stamp::of_read(time.duration_since(now), now, Uuid::nil()));
        }
        assert!(retry_after(&header).is_none_or(|pause| pause.is_positive()));
    });
    tally.assert_both();
}

/// A time between the years 71 and 9999.
fn moment(seconds: i64) -> Timestamp {
    let (first, last) = (Timestamp::UNIX_EPOCH - SignedDuration::from_hours(24 * 365 * 1900), Timestamp::MAX);
    let seconds = seconds.rem_euclid(last.as_second() - first.as_second());
    first + SignedDuration::from_secs(seconds)
}

fn check_stamp(stamp: &Stamp) {
    assert!(stamp.time.ends_with('Z') && (20..=23).contains(&stamp.time.len()), "{stamp:?}");
    assert!(stamp.nonce.len() == 32 && stamp.nonce.bytes().all(|byte| byte.is_ascii_hexdigit()), "{stamp:?}");
}
