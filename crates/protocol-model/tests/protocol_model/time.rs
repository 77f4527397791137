//! Time: a few moments. No decision changes between two of them.

use jiff::{SignedDuration, Timestamp};

/// The moments of a run, in seconds from the start, by the slowest clock. Claims are made at the first two, so that
/// dispatch deadlines are before `notAfterTime` and at it. Each of the others is after one kind of deadline: the
/// dispatch, the expiry, the settling of a claim, and the observation of an orphaned one together with the retention of
/// its receipt. At the last one every deadline has passed, and nothing new begins.
pub(crate) const ALL_MOMENTS: &[i64] = &[8, 16, 20, 25, 50, 110, 200];

/// Fewer moments, for runs of two requests. One step of time passes several deadlines.
pub(crate) const FEW_MOMENTS: &[i64] = &[8, 25, 50, 200];

/// A claim is made, and at the next moment it may count as orphaned.
pub(crate) const ORPHANED: &[i64] = &[8, 50, 200];

/// A deadline passes while there is time for another attempt.
pub(crate) const EARLY: &[i64] = &[8, 18, 50, 200];

/// A call that is on its way may still be executed at the second moment.
pub(crate) const ON_ITS_WAY: &[i64] = &[8, 16, 50, 200];

/// For two requests that share a call. At the second moment the claim of one may be late while that of the other is
/// not.
pub(crate) const GROUP_MOMENTS: &[i64] = &[8, 20, 50, 200];

/// Everything happens at the first moment.
pub(crate) const AT_ONCE: &[i64] = &[8, 200];

/// The most seconds by which any two clocks may differ, including the gateway's.
pub(crate) const SKEW: i64 = 5;

/// `notAfterTime` of the first request, in seconds from the start.
pub(crate) const NOT_AFTER: i64 = 20;

/// How long after its claim a call may be sent. It is short, so that deadlines are before `notAfterTime` and at it.
pub(crate) const DISPATCH_WINDOW: SignedDuration = SignedDuration::from_secs(10);

/// The time-out of a call.
pub(crate) const REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_secs(5);

/// A request that is created less than this after its `notAfterTime` counts as missed. The first moment after that time
/// is within this limit, and the next one is beyond it.
pub(crate) const MISSED_WITHIN: SignedDuration = SignedDuration::from_secs(20);

/// How long a receipt is kept.
pub(crate) const RETENTION: SignedDuration = SignedDuration::from_secs(60);

/// The time `seconds` after the start.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_791_194_400 + seconds).unwrap()
}

/// The number of seconds between the start and `time`.
pub(crate) fn seconds(time: Timestamp) -> i64 {
    time.duration_since(at(0)).as_secs()
}
