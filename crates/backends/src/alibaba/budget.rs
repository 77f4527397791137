//! The memory budget for answers while they are parsed. No I/O.

use std::sync::Arc;

use futures::FutureExt as _;

use super::shares::{Share, Shares};

/// The memory for answers, in bytes, that fits into the chart's memory limit.
pub const DEFAULT_BYTES: u32 = 64 * 1024 * 1024;

/// The smallest budget, in bytes: room for one large answer at a time.
pub const LEAST_BYTES: u32 = 16 * 1024 * 1024;

/// An answer up to this size, in bytes, is parsed in place. A larger one is parsed on another thread as it arrives,
/// because a list of 10,000 sessions takes 0.1 s, in which no other tenant's request would progress.
pub(super) const SMALL: usize = 256 * 1024;

/// The most memory for an answer parsed in place: its body, and the parsed result.
const BYTES_OF_A_SMALL_ONE: usize = 2 * SMALL;

/// The most memory for a larger answer, whatever its content: two received pieces, one text, the session counts, and
/// the kept rows.
const BYTES_OF_A_LARGE_ONE: usize = 8 * 1024 * 1024;

/// The memory for answers while they are parsed, shared fairly between accounts: one half for small answers, the other
/// half for large ones.
#[derive(Debug)]
pub struct AnswerBudget {
    small: Arc<Shares>,
    large: Arc<Shares>,
}

impl AnswerBudget {
    /// A budget of `bytes` in total.
    #[must_use]
    pub fn new(bytes: u32) -> Arc<Self> {
        let half = usize::try_from(bytes / 2).unwrap_or(usize::MAX);
        Arc::new(Self {
            small: Shares::new(half / BYTES_OF_A_SMALL_ONE),
            large: Shares::new(half / BYTES_OF_A_LARGE_ONE),
        })
    }

    /// Waits for memory for a small answer on `account`; take it before the request is sent.
    pub(super) async fn small(&self, account: &Arc<str>) -> Share {
        self.small.take(account).await
    }

    /// Waits for memory for a large answer.
    pub(super) async fn large(&self, account: &Arc<str>) -> Share {
        self.large.take(account).await
    }

    /// Takes memory for a large answer, if there is some now.
    pub(super) fn large_now(&self, account: &Arc<str>) -> Option<Share> {
        self.large.take(account).now_or_never()
    }
}
