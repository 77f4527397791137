//! The claims that this process has at work, and those that it gave up without knowing that they are gone. No I/O.
//!
//! A claim whose holder lives is nobody else's, so each must be moved on here: what is neither at work nor given up is
//! resolved by observation like that of a holder that is gone.

use std::collections::{HashSet, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::SessionKillReceipt;

/// The most claims that were given up and are kept in mind. One that is forgotten is resolved as if it might have been sent.
const MOST_GIVEN_UP: usize = 4096;

/// The claims of this process, by the IDs of their attempts.
#[derive(Clone, Debug, Default)]
pub struct LiveClaims(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    at_work: HashSet<String>,
    /// The oldest first.
    given_up: VecDeque<String>,
}

/// Keeps a claim at work until it is dropped.
#[derive(Debug)]
pub struct Live {
    of: LiveClaims,
    attempt_id: String,
}

/// A receipt as stored, whose claim is at work for as long as this is kept: until its outcome is recorded.
#[derive(Debug)]
pub struct LiveReceipt {
    receipt: SessionKillReceipt,
    _live: Live,
}

impl LiveClaims {
    /// An attempt makes its claim.
    pub fn begin(&self, attempt_id: &str) -> Live {
        self.known().at_work.insert(attempt_id.to_owned());
        Live { of: self.clone(), attempt_id: attempt_id.to_owned() }
    }

    /// Whether somebody in this process will move the claim of this attempt on.
    pub fn is_at_work(&self, attempt_id: &str) -> bool {
        self.known().at_work.contains(attempt_id)
    }

    /// Whether the claim of this attempt was given up: nothing was sent under it, nor will be.
    pub fn is_given_up(&self, attempt_id: &str) -> bool {
        self.known().given_up.iter().any(|given_up| given_up == attempt_id)
    }

    /// Nothing was sent under the claim of this attempt, nor will be: whoever finds its receipt deletes it.
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
    /// Of a receipt that is stored and carries the attempt of `live`.
    pub fn new(mut receipt: SessionKillReceipt, live: Live) -> Self {
        // It stays until its outcome is recorded, and these, which nobody reads, are larger than all the rest.
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
