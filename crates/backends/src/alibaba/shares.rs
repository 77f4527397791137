//! Shares of what there is not enough of for all at once, by account: however many one account asks for, there is soon one
//! for each of the others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A number of shares. An account may take one more only while more are free than it holds. So one alone leaves half of
/// them, and many leave as many as each of them has: who comes anew, and holds none, need not wait until somebody gives
/// back, which may take long. Within an account they are given in the order in which they were asked for.
#[derive(Debug)]
pub struct Shares(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    held: HashMap<Arc<str>, usize>,
    waiting: VecDeque<(Arc<str>, oneshot::Sender<Share>)>,
}

/// A share, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Shares>,
    account: Arc<str>,
}

impl Shares {
    /// So many; at least one.
    #[must_use]
    pub fn new(number: usize) -> Arc<Self> {
        let state = State { free: number.max(1), held: HashMap::new(), waiting: VecDeque::new() };
        Arc::new(Self(Mutex::new(state)))
    }

    /// Takes one for `account` as soon as it may.
    pub async fn take(self: &Arc<Self>, account: &Arc<str>) -> Share {
        let (sender, given) = oneshot::channel();
        self.state().waiting.push_back((account.clone(), sender));
        self.give();
        // The sender is dropped only with its share.
        given.await.unwrap_or_else(|_| Share { of: Self::new(1), account: account.clone() })
    }

    /// Gives to those who wait, and still do.
    fn give(self: &Arc<Self>) {
        while let Some((account, sender)) = self.next() {
            // Who has gone away in this moment gives it back by dropping it.
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

    /// What `account` gets at once, if it asks for `most`.
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
        // As those with many give back, each gets what the others have.
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
