//! What the gateway's ledger says of STS. Pure.

use jiff::Timestamp;

use crate::gateway::CallRecord;

/// The action by which keys are issued here.
pub(super) const ACTION: &str = "AssumeRoleWithOIDC";

/// Whether it is a call of STS.
pub(super) fn is_of_sts(call: &CallRecord) -> bool {
    call.action.as_deref() == Some(ACTION)
}

/// The times of the calls of STS: from when to when each was under way.
pub(super) fn times(calls: &[CallRecord]) -> Vec<(Timestamp, Timestamp)> {
    let time = |call: &CallRecord| (call.received_time, call.answered_time.unwrap_or(Timestamp::MAX));
    calls.iter().filter(|call| is_of_sts(call)).map(time).collect()
}

/// The most of them that were under way at one time.
pub(super) fn at_once(times: &[(Timestamp, Timestamp)]) -> u32 {
    let mut steps: Vec<(Timestamp, i32)> = times.iter().flat_map(|(from, to)| [(*from, 1), (*to, -1)]).collect();
    // At the same time, ends come first: whoever asks may ask again at once.
    steps.sort_unstable();
    let under_way = steps.into_iter().scan(0, |sum, (_, step)| {
        *sum += step;
        Some(*sum)
    });
    u32::try_from(under_way.max().unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_at_once_while_they_overlap() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let times = |all: &[(i64, i64)]| all.iter().map(|(from, to)| (at(*from), at(*to))).collect::<Vec<_>>();
        assert_eq!(at_once(&[]), 0);
        assert_eq!(at_once(&times(&[(0, 2), (2, 4), (4, 6)])), 1, "one after the other");
        assert_eq!(at_once(&times(&[(0, 5), (1, 3), (2, 4), (3, 6)])), 3);
        assert_eq!(at_once(&[(at(0), Timestamp::MAX), (at(7), at(8))]), 2, "one that was never answered");
    }
}
