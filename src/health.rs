//! How the watches fare. Ready means that their caches are synced, not that requests succeed, nor that this process leads; live
//! means that none has been failing, nor withholding anything, for minutes. No I/O.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A watch that is silent for longer than so many times its length may be dead.
const SILENT_AFTER: u32 = 2;

/// One that fails, or has been out of step, for longer than so many times its length does not recover by itself.
const DEAD_AFTER: u32 = 5;

/// The watches of the operator: a closed set for each place, which is a namespace, or all of them. Places have numbers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Unfinished `SessionKill`s of a place.
    Requests(usize),
    /// All `OceanBaseConnection`s of a place.
    Connections(usize),
}

impl Watch {
    /// One of each kind.
    pub const KINDS: [Self; 2] = [Self::Requests(0), Self::Connections(0)];

    /// For logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests(_) => "sessionkills",
            Self::Connections(_) => "oceanbaseconnections",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Requests(place) => 2 * place,
            Self::Connections(place) => 2 * place + 1,
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct WatchState {
    synced: bool,
    failing_since: Option<Instant>,
    /// When its objects were last known to be those of the API server; none if the watch has not begun.
    in_step: Option<Instant>,
    /// The API server has something since that the watch has yet to deliver.
    owing_since: Option<Instant>,
}

impl WatchState {
    fn works(&mut self) {
        (self.failing_since, self.in_step) = (None, Some(Instant::now()));
    }
}

/// How the watches fare.
#[derive(Debug)]
pub struct Health {
    watches: Mutex<Vec<WatchState>>,
    changed: Notify,
    /// How long each lasts.
    length: Duration,
}

impl Health {
    /// Of the watches of so many places, none of which has begun. Each is ended, and goes on, after `length`.
    #[must_use]
    pub fn new(places: usize, length: Duration) -> Self {
        let watches = Mutex::new(vec![WatchState::default(); 2 * places]);
        Self { watches, changed: Notify::new(), length }
    }

    /// The watch begins.
    pub fn watch_begins(&self, watch: Watch) {
        self.set(watch, |state| state.in_step = Some(Instant::now()));
    }

    /// The list that begins the watch is complete.
    pub fn watch_synced(&self, watch: Watch) {
        self.set(watch, |state| {
            state.synced = true;
            state.works();
        });
        self.changed.notify_waiters();
    }

    /// A list goes on, or nothing can come.
    pub fn watch_works(&self, watch: Watch) {
        self.set(watch, WatchState::works);
    }

    /// The watch has delivered an event.
    pub fn watch_delivers(&self, watch: Watch) {
        self.set(watch, |state| {
            state.works();
            state.owing_since = None;
        });
    }

    /// The watch failed and will be tried again.
    pub fn watch_fails(&self, watch: Watch) {
        self.set(watch, |state| {
            state.failing_since.get_or_insert_with(Instant::now);
        });
    }

    /// Nothing was to be delivered: a list has nothing else than what the watch has delivered.
    pub fn watch_in_step(&self, watch: Watch) {
        self.set(watch, |state| state.in_step = Some(Instant::now()));
    }

    /// The API server has something that the watch has yet to deliver. Only an event settles that: a list that begins the watch
    /// anew tells what has happened, but not that the watch would tell.
    pub fn watch_owes(&self, watch: Watch) {
        self.set(watch, |state| state.owing_since = state.owing_since.or(state.in_step));
    }

    /// Whether nothing has come in `watch` for so long that it may be dead, or nothing happens: only a list can tell. Not so if
    /// one has told already, or if the watch itself says what is wrong.
    #[must_use]
    pub fn is_silent(&self, watch: Watch) -> bool {
        let state = self.states().get(watch.index()).copied().unwrap_or_default();
        let has_none = state.failing_since.is_none() && state.owing_since.is_none();
        has_none && state.in_step.is_some_and(|at| at.elapsed() >= self.length * SILENT_AFTER)
    }

    /// Waits until `watch` has been synced once.
    pub async fn synced(&self, watch: Watch) {
        loop {
            let changed = self.changed.notified();
            if self.states().get(watch.index()).is_some_and(|state| state.synced) {
                return;
            }
            changed.await;
        }
    }

    /// For how long the watches of each kind have not been known to be in step; of several places, the longest. Zero for those
    /// that have not begun.
    #[must_use]
    pub fn watch_ages(&self) -> [(&'static str, Duration); 2] {
        let states = self.states();
        let age = |state: &WatchState| state.in_step.map(|at| at.elapsed()).unwrap_or_default();
        Watch::KINDS.map(|watch| {
            let of_kind = states.iter().skip(watch.index()).step_by(2);
            (watch.as_str(), of_kind.map(age).max().unwrap_or_default())
        })
    }

    /// Whether all watches have been synced.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.states().iter().all(|state| state.synced)
    }

    /// Whether no watch has been failing, out of step or owing something for long. The last two report no error: whatever lies
    /// between may keep the connection open and pass nothing on.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let lately = |since: Instant| since.elapsed() < self.length * DEAD_AFTER;
        let is_live =
            |it: &WatchState| [it.failing_since, it.in_step, it.owing_since].into_iter().flatten().all(lately);
        self.states().iter().all(is_live)
    }

    fn set(&self, watch: Watch, change: impl FnOnce(&mut WatchState)) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = watches.get_mut(watch.index()) {
            change(state);
        }
    }

    fn states(&self) -> Vec<WatchState> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const WATCH: Duration = Duration::from_mins(1);

    #[test]
    fn ready_means_that_all_caches_are_synced() {
        let health = Health::new(2, WATCH);
        for watch in [Watch::Requests(0), Watch::Connections(0), Watch::Requests(1), Watch::Connections(1)] {
            assert!(!health.is_ready());
            health.watch_synced(watch);
        }
        assert!(health.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_watch_is_live_for_a_while_and_forgiven_when_it_works() {
        let health = Health::new(2, WATCH);
        health.watch_fails(Watch::Requests(1));
        advance(WATCH * 4).await;
        // Still the same failure.
        health.watch_fails(Watch::Requests(1));
        assert!(health.is_live());
        advance(WATCH).await;
        assert!(!health.is_live());
        // That of another place says nothing of it.
        health.watch_works(Watch::Requests(0));
        assert!(!health.is_live());
        health.watch_works(Watch::Requests(1));
        assert!(health.is_live());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_of_which_nothing_is_known_for_long_is_dead_though_it_reports_no_error() {
        let health = Health::new(1, WATCH);
        let (requests, connections) = (Watch::Requests(0), Watch::Connections(0));
        advance(WATCH * 10).await;
        assert!(health.is_live() && !health.is_silent(requests), "what has not begun is not silent");
        for watch in [requests, connections] {
            health.watch_begins(watch);
            health.watch_synced(watch);
        }
        advance(WATCH).await;
        assert!(!health.is_silent(connections));
        advance(WATCH).await;
        assert!(health.is_silent(connections) && health.is_live());
        advance(WATCH * 3).await;
        assert!(health.is_ready() && !health.is_live());
        assert_eq!(health.watch_ages(), [requests, connections].map(|watch| (watch.as_str(), WATCH * 5)));
        health.watch_works(requests);
        assert!(!health.is_live(), "of another watch");
        health.watch_in_step(connections);
        assert!(health.is_live() && !health.is_silent(connections));
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_event_settles_what_a_watch_owes() {
        let health = Health::new(1, WATCH);
        let requests = Watch::Requests(0);
        health.watch_synced(requests);
        advance(WATCH * 2).await;
        health.watch_owes(requests);
        advance(WATCH * 2).await;
        assert!(!health.is_silent(requests), "no list could excuse it");
        health.watch_in_step(requests);
        health.watch_synced(requests);
        assert!(health.is_live(), "not for long yet");
        advance(WATCH).await;
        assert!(!health.is_live(), "that another list has it says nothing of the watch");
        health.watch_delivers(requests);
        advance(WATCH * 4).await;
        assert!(health.is_live(), "it was settled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_says_what_is_wrong_is_not_asked_about() {
        let health = Health::new(1, WATCH);
        let requests = Watch::Requests(0);
        health.watch_synced(requests);
        advance(WATCH * 2).await;
        health.watch_fails(requests);
        assert!(!health.is_silent(requests));
        health.watch_works(requests);
        advance(WATCH * 2).await;
        assert!(health.is_silent(requests));
    }
}
