//! Reserves file descriptors for calls: clients that open many connections could use them all up. No I/O.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the API server, the log, the event loops and all else that is open at rest, with as much again.
const AT_REST: u64 = 64;
/// A call in flight uses one, an older idle connection may use another, and the read beside it as many again.
const FOR_EACH_CALL: u64 = 4;

/// Raises the soft limit of this process to the hard one: the soft one is for programs that cannot handle more than
/// 1,024 descriptors. Returns the limit in force, or the largest number if there is none.
#[must_use]
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let holds = if raised.is_ok() { limit.maximum } else { limit.current };
    holds.unwrap_or(u64::MAX)
}

/// The number of `limit` descriptors that `calls` calls at once leave to others.
#[must_use]
pub fn left_by(limit: u64, calls: u16) -> usize {
    let needed = AT_REST + FOR_EACH_CALL * u64::from(calls);
    usize::try_from(limit.saturating_sub(needed)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_limit();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit, now.maximum.unwrap_or(u64::MAX));
    }

    #[test]
    fn what_calls_need_is_left_to_them() {
        assert_eq!(left_by(1024, 32), 832);
        assert_eq!(left_by(100, 32), 0);
        assert!(left_by(u64::MAX, 1024) > 1_000_000);
    }
}
