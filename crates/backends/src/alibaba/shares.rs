//! Shares of a scarce resource, by account: however many shares one account asks for, every other account soon gets
//! one. Waits; no I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A number of shares. An account may take another one only while more are free than it holds: one account alone leaves
/// half of them free, and several leave as many as each of them holds. So a new account rarely waits for another's
/// release, which may take long. Within an account the order is FIFO.
#[derive(Debug)]
pub struct Shares(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    held: HashMap<Arc<str>, usize>,
    waiting: VecDeque<(Arc<str>, oneshot::Sender<Share>)>,
}

/// A share, returned on drop.
#[derive(Debug)]
pub struct Share {
    of: Arc<Shares>,
    account: Arc<str>,
}

impl Shares {
    /// A pool of `number` shares, at least one.
    #[must_use]
    pub fn new(number: usize) -> Arc<Self> {
        let state = State { free: number.max(1), held: HashMap::new(), waiting: VecDeque::new() };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Waits for a share for `account`.
    pub async fn take(self: &Arc<Self>, account: &Arc<str>) -> Share {
        let (sender, given) = oneshot::channel();
        self.state().waiting.push_back((account.clone(), sender));
        self.give();
        // The sender is dropped only together with its share.
        given.await.unwrap_or_else(|_| Share { of: Self::new(1), account: account.clone() })
    }

    /// Grants shares to those who still wait.
    fn give(self: &Arc<Self>) {
        while let Some((account, sender)) = self.next() {
            // If the receiver has just gone, the share is returned by its drop.
            let _ = sender.send(Share { of: self.clone(), account });
        }
    }

    fn next(&self) -> Option<(Arc<str>, oneshot::Sender<Share>)> {
        let mut state = self.state();
        state.waiting.retain(|(_, sender)| !sender.is_closed());
        let place = state.waiting.iter().position(|(account, _)| state.may_take(account))?;
        let next = state.waiting.remove(place)?;
        state.free -= 1;
        *state.held.entry(next.0.clone()).or_default() += 1;
        Some(next)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may_take(&self, account: &Arc<str>) -> bool {
        self.held.get(account).copied().unwrap_or_default() < self.free
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.of.state();
        state.free += 1;
        if let Some(held) = state.held.get_mut(&self.account) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&self.account);
            }
        }
        drop(state);
        self.of.give();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn account(number: usize) -> Arc<str> {
        format!("account-{number}").into()
    }

    /// How many of `most` shares `account` gets at once.
    fn taken(shares: &Arc<Shares>, number: usize, most: usize) -> Vec<Share> {
        (0..most).map_while(|_| shares.take(&account(number)).now_or_never()).collect()
    }

    #[test]
    fn who_comes_anew_finds_one_whatever_the_others_ask_for() {
        let shares = Shares::new(16);
        let mut held: Vec<Vec<Share>> = vec![];
        for number in 0..4 {
            held.push(taken(&shares, number, 100));
            assert!(!held[number].is_empty(), "{number}");
        }
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [8, 4, 2, 1]);
        // As those with many shares return them, all end up with equally many.
        held[0].truncate(3);
        assert_eq!(taken(&shares, 4, 100).len(), 3);
    }

    #[tokio::test]
    async fn what_is_given_back_goes_to_those_who_wait_in_their_order_and_not_to_who_has_gone() {
        let shares = Shares::new(1);
        let first = shares.take(&account(0)).await;
        let mut waiting = [1, 2, 3].map(|number| {
            let shares = shares.clone();
            Box::pin(async move { shares.take(&account(number)).await })
        });
        assert!(waiting.iter_mut().all(|next| next.now_or_never().is_none()));
        let [gone, second, third] = waiting;
        drop(gone);
        drop(first);
        let second = second.await;
        let mut third = third;
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        drop(third.await);
        assert_eq!(shares.state().free, 1);
        assert!(shares.state().held.is_empty() && shares.state().waiting.is_empty());
    }
}
