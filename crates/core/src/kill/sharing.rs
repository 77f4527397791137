//! How many requests and sessions share one call. A refusal of a shared call does not say which of its requests caused
//! it. Pure.

pub use crate::backend::MAX_SESSIONS;

/// The most requests in a call with this request, itself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sharing(usize);

impl Default for Sharing {
    /// No limit.
    fn default() -> Self {
        Self(usize::MAX)
    }
}

impl Sharing {
    /// The limit for each of `requests` after a refusal of their shared call before its execution: half as many share
    /// the next. `None` for a single request: the refusal is its own.
    #[must_use]
    pub const fn after_refusal(requests: usize) -> Option<Self> {
        if requests > 1 { Some(Self(requests.div_ceil(2))) } else { None }
    }

    /// The most requests in one call.
    #[must_use]
    pub const fn requests(self) -> usize {
        self.0
    }

    /// Whether a shared call with this request was refused.
    #[must_use]
    pub const fn is_narrowed(self) -> bool {
        self.0 < usize::MAX
    }
}

/// How many sessions a gateway accepts in one call, as learned from its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallSize {
    /// The most that it accepted.
    taken: usize,
    /// The fewest that it refused in a shared call, unless the size was not the cause; `None` if it refused none.
    refused: Option<usize>,
}

impl CallSize {
    /// The most sessions to put into a shared call.
    #[must_use]
    pub fn most(self) -> usize {
        self.refused.map_or(MAX_SESSIONS, |refused| self.taken.max(refused.div_ceil(2)).max(1))
    }

    /// Records an answered call for `sessions` sessions.
    pub fn took(&mut self, sessions: usize) {
        self.taken = self.taken.max(sessions);
        self.refused = self.refused.filter(|refused| sessions < *refused);
    }

    /// Records a shared call refused before execution. Its size is not the cause if as many were accepted before.
    pub fn refused(&mut self, sessions: usize) {
        if sessions > self.taken {
            self.refused = Some(self.refused.map_or(sessions, |refused| refused.min(sessions)));
        }
    }

    /// Records that a request was refused alone too: it caused the refusals of its shared calls, not their size.
    pub fn explained(&mut self) {
        self.refused = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Simulates a gateway that takes `limit` sessions per call and refuses the `odd` requests, of one session each.
    /// Returns the requests refused for good, the number of refused calls, and the call size learned.
    fn narrowed(requests: usize, odd: &[usize], limit: usize) -> (Vec<usize>, usize, CallSize) {
        let (mut size, mut refused, mut refusals, mut calls) = (CallSize::default(), vec![], 0, 0);
        let mut waiting: VecDeque<(usize, Sharing)> = (0..requests).map(|it| (it, Sharing::default())).collect();
        while let Some((_, sharing)) = waiting.front().copied() {
            calls += 1;
            assert!(calls <= 3 * requests, "it has no end");
            let most = size.most().min(sharing.requests());
            let count = waiting.iter().take_while(|(_, it)| *it == sharing).count().min(most);
            let call: Vec<_> = waiting.drain(..count).collect();
            if call.len() <= limit && !call.iter().any(|(request, _)| odd.contains(request)) {
                size.took(call.len());
                continue;
            }
            refusals += 1;
            if let Some(sharing) = Sharing::after_refusal(call.len()) {
                size.refused(call.len());
                waiting.extend(call.into_iter().map(|(request, _)| (request, sharing)));
            } else {
                size.explained();
                refused.push(call[0].0);
            }
        }
        (refused, refusals, size)
    }

    #[test]
    fn only_what_is_refused_alone_ends_so_and_it_takes_few_calls_to_tell() {
        for requests in 1..=40 {
            for odd in 0..requests {
                let (refused, refusals, size) = narrowed(requests, &[odd], MAX_SESSIONS);
                assert_eq!(refused, [odd], "{odd} of {requests}");
                assert!(refusals <= requests.next_power_of_two().ilog2() as usize + 1, "{refusals} for {requests}");
                assert_eq!(size.most(), MAX_SESSIONS, "the size was not the cause");
            }
            let all: Vec<usize> = (0..requests).collect();
            let (mut refused, refusals, _) = narrowed(requests, &all, MAX_SESSIONS);
            refused.sort_unstable();
            assert_eq!(refused, all);
            assert!(refusals < 2 * requests, "{refusals} for {requests}");
        }
    }

    #[test]
    fn a_size_that_is_refused_is_learnt() {
        for (limit, learnt) in [(100, 63), (250, 250), (499, 250), (1, 1), (2, 2)] {
            let (refused, refusals, size) = narrowed(MAX_SESSIONS, &[], limit);
            assert!(refused.is_empty(), "of {limit}");
            assert!(size.most() <= limit && size.most() >= learnt, "{size:?} of {limit}");
            assert!(refusals <= MAX_SESSIONS.next_power_of_two().ilog2() as usize, "{refusals} of {limit}");
            let (mut later, mut taken) = (size, size);
            later.took(size.most());
            taken.refused(size.most());
            assert_eq!(
                (later, taken),
                (size, size),
                "later calls start with it, and a refusal of as many is for another cause"
            );
        }
    }

    #[test]
    fn a_size_that_is_taken_after_all_was_not_the_cause() {
        let mut size = CallSize::default();
        size.refused(2);
        assert_eq!(size.most(), 1);
        // A single request may have more sessions than a shared call may.
        size.took(100);
        assert_eq!(size.most(), MAX_SESSIONS);
        size.refused(50);
        assert_eq!(size.most(), MAX_SESSIONS);
        size.refused(400);
        assert_eq!(size.most(), 200);
    }

    #[test]
    fn whose_shared_call_was_refused_is_told_from_the_others() {
        assert!(!Sharing::default().is_narrowed());
        assert!(Sharing::after_refusal(1000).unwrap().is_narrowed());
        assert_eq!(Sharing::after_refusal(1), None);
    }

    #[test]
    fn a_call_of_the_size_that_was_refused_clears_the_size_once_it_is_taken() {
        let mut size = CallSize::default();
        size.refused(100);
        size.took(100);
        assert_eq!(size.most(), MAX_SESSIONS);
    }
}
