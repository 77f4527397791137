//! The registry of this process's claims: those at work, and those given up that may still be stored. No I/O.
//!
//! Nobody else resolves a claim whose holder still runs, so this process must. A claim that is neither at work nor
//! given up is resolved like one whose holder is gone.

use std::collections::{HashSet, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::SessionKillReceipt;

/// The most given-up claims remembered. A forgotten one is resolved as if its call might have been sent.
const MOST_GIVEN_UP: usize = 4096;

/// The claims of this process, by attempt ID.
#[derive(Clone, Debug, Default)]
pub struct LiveClaims(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    at_work: HashSet<String>,
    /// The oldest comes first.
    given_up: VecDeque<String>,
}

/// Keeps a claim at work until dropped.
#[derive(Debug)]
pub struct Live {
    of: LiveClaims,
    attempt_id: String,
}

/// A stored receipt whose claim counts as at work while this is kept: until its outcome is recorded.
#[derive(Debug)]
pub struct LiveReceipt {
    receipt: SessionKillReceipt,
    _live: Live,
}

impl LiveClaims {
    /// Registers the claim of a new attempt.
    pub fn begin(&self, attempt_id: &str) -> Live {
        self.known().at_work.insert(attempt_id.to_owned());
        Live { of: self.clone(), attempt_id: attempt_id.to_owned() }
    }

    /// Whether this process will resolve the claim of this attempt.
    pub fn is_at_work(&self, attempt_id: &str) -> bool {
        self.known().at_work.contains(attempt_id)
    }

    /// Whether the claim of this attempt was given up: nothing was or will be sent under it.
    pub fn is_given_up(&self, attempt_id: &str) -> bool {
        self.known().given_up.iter().any(|given_up| given_up == attempt_id)
    }

    /// Gives up the claim of this attempt: nothing was or will be sent under it, so its finder deletes the receipt.
    pub fn give_up(&self, attempt_id: &str) {
        let mut known = self.known();
        known.at_work.remove(attempt_id);
        if known.given_up.len() >= MOST_GIVEN_UP {
            known.given_up.pop_front();
        }
        known.given_up.push_back(attempt_id.to_owned());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.of.known().at_work.remove(&self.attempt_id);
    }
}

impl LiveReceipt {
    /// Combines a stored receipt with `live`, which has the same attempt.
    pub fn new(mut receipt: SessionKillReceipt, live: Live) -> Self {
        // The receipt stays in memory until its outcome is recorded, and its `managedFields` would be its largest part.
        receipt.metadata.managed_fields = None;
        receipt.spec.sessions.shrink_to_fit();
        Self { receipt, _live: live }
    }
}

impl Deref for LiveReceipt {
    type Target = SessionKillReceipt;

    fn deref(&self) -> &SessionKillReceipt {
        &self.receipt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_at_work_until_it_is_dropped_or_given_up() {
        let claims = LiveClaims::default();
        let (first, second) = (claims.begin("1"), claims.begin("2"));
        assert!(claims.is_at_work("1") && claims.is_at_work("2") && !claims.is_at_work("3"));
        drop(first);
        claims.give_up("2");
        assert!(!claims.is_at_work("1") && !claims.is_at_work("2"));
        assert!(!claims.is_given_up("1") && claims.is_given_up("2"));
        drop(second);
        assert!(claims.known().at_work.is_empty());
    }

    #[test]
    fn the_oldest_that_was_given_up_is_forgotten_first() {
        let claims = LiveClaims::default();
        for number in 0..=MOST_GIVEN_UP {
            claims.give_up(&number.to_string());
        }
        assert!(!claims.is_given_up("0") && claims.is_given_up("1"));
        assert_eq!(claims.known().given_up.len(), MOST_GIVEN_UP);
    }
}
