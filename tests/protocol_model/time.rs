//! Time: a few moments that matter, between which nobody's decision changes.

use jiff::{SignedDuration, Timestamp};

/// The moments of a run, in seconds from the start, by the slowest clock. Claims are made at the first two, which leave
/// deadlines before and at `notAfterTime`. Each of the others lies after one kind of deadline: the dispatch, the expiry, the
/// settling of a claim, the observation of an orphaned one with the keeping of its receipt. At the last everything has
/// passed, and nothing is begun any more.
pub(crate) const ALL_MOMENTS: &[i64] = &[8, 16, 20, 25, 50, 110, 200];

/// Fewer, for runs of two requests: a pause passes several deadlines at once.
pub(crate) const FEW_MOMENTS: &[i64] = &[8, 25, 50, 200];

/// A claim is made, and then it may be taken for orphaned.
pub(crate) const ORPHANED: &[i64] = &[8, 50, 200];

/// A deadline passes while there is time for another attempt.
pub(crate) const EARLY: &[i64] = &[8, 18, 50, 200];

/// For two requests that go together: at the second moment the claim of one may be late, and that of the other in time.
pub(crate) const GROUP_MOMENTS: &[i64] = &[8, 20, 50, 200];

/// Everything happens at once, and then no more.
pub(crate) const AT_ONCE: &[i64] = &[8, 200];

/// By how much any two clocks may differ, the gateway's among them.
pub(crate) const SKEW: i64 = 5;

/// `notAfterTime` of the first request.
pub(crate) const NOT_AFTER: i64 = 20;

/// For how long after its claim a call may be sent. Short, so that deadlines lie before and at `notAfterTime`.
pub(crate) const DISPATCH_WINDOW: SignedDuration = SignedDuration::from_secs(10);

/// How long a call may take.
pub(crate) const REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_secs(5);

/// What is created less than this after its `notAfterTime` was missed. The first moment after that lies within it, and the next
/// one beyond.
pub(crate) const MISSED_WITHIN: SignedDuration = SignedDuration::from_secs(20);

/// For how long a receipt is kept.
pub(crate) const RETENTION: SignedDuration = SignedDuration::from_secs(60);

/// The moment `seconds` after the start.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_791_194_400 + seconds).unwrap()
}

/// How many seconds after the start that is.
pub(crate) fn seconds(time: Timestamp) -> i64 {
    time.duration_since(at(0)).as_secs()
}
