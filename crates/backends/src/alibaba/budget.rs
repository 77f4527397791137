//! The memory that answers may take while they are read.

use std::sync::Arc;

use futures::FutureExt as _;

use super::shares::{Share, Shares};

/// The memory for answers that the chart's limit has room for.
pub const DEFAULT_BYTES: u32 = 64 * 1024 * 1024;

/// One large answer at a time.
pub const LEAST_BYTES: u32 = 16 * 1024 * 1024;

/// An answer up to this size is read in place; a larger one is read beside the others' work, as it comes in: a list of 10,000
/// sessions takes a tenth of a second, in which no other tenant's request would go on.
pub(super) const SMALL: usize = 256 * 1024;

/// What an answer that is read in place takes at most: its body, and what is read of it.
const BYTES_OF_A_SMALL_ONE: usize = 2 * SMALL;

/// What a larger one takes at most, whatever is in it: two pieces that were received, one text, what counts the sessions, and
/// the rows that are kept.
const BYTES_OF_A_LARGE_ONE: usize = 8 * 1024 * 1024;

/// The memory that answers may take while they are read, shared fairly between accounts: half of it for those that are small,
/// which all may be, and half of it for those that turn out to be large.
#[derive(Debug)]
pub struct AnswerBudget {
    small: Arc<Shares>,
    large: Arc<Shares>,
}

impl AnswerBudget {
    /// `bytes` in all.
    #[must_use]
    pub fn new(bytes: u32) -> Arc<Self> {
        let half = usize::try_from(bytes / 2).unwrap_or(usize::MAX);
        Arc::new(Self {
            small: Shares::new(half / BYTES_OF_A_SMALL_ONE),
            large: Shares::new(half / BYTES_OF_A_LARGE_ONE),
        })
    }

    /// Waits for room for an answer on `account`, to be held from before its request is sent.
    pub(super) async fn small(&self, account: &Arc<str>) -> Share {
        self.small.take(account).await
    }

    /// Waits for room for an answer that is large.
    pub(super) async fn large(&self, account: &Arc<str>) -> Share {
        self.large.take(account).await
    }

    /// The same if there is room now.
    pub(super) fn large_now(&self, account: &Arc<str>) -> Option<Share> {
        self.large.take(account).now_or_never()
    }
}
