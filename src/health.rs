//! The health of the watches. Ready means that their caches are synced, not that requests succeed or this process
//! leads. Live means that no watch has failed, or withheld anything, for minutes. No I/O.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A watch that is silent for 2 times its length may be dead.
const SILENT_AFTER: u32 = 2;

/// A watch that fails, or is out of step, for 5 times its length does not recover by itself.
const DEAD_AFTER: u32 = 5;

/// The watches of the operator: one of each kind per place, which is a namespace or all of them. Places count from 0. The
/// last kind has no places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Unfinished `SessionKill`s of a place.
    Requests(usize),
    /// All `OceanBaseConnection`s of a place.
    Connections(usize),
    /// All `ClusterOceanBaseConnection`s, if requests may name them.
    ClusterConnections,
}

impl Watch {
    /// One of each kind.
    pub const KINDS: [Self; 3] = [Self::Requests(0), Self::Connections(0), Self::ClusterConnections];

    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests(_) => "sessionkills",
            Self::Connections(_) => "oceanbaseconnections",
            Self::ClusterConnections => "clusteroceanbaseconnections",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::ClusterConnections => 0,
            Self::Requests(place) => 2 * place + 1,
            Self::Connections(place) => 2 * place + 2,
        }
    }

    const fn has_places(self) -> bool {
        !matches!(self, Self::ClusterConnections)
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct WatchState {
    synced: bool,
    failing_since: Option<Instant>,
    /// When its cache was last known to match the API server; `None` before the watch begins.
    in_step: Option<Instant>,
    /// Since when the API server has something that the watch has not delivered.
    owing_since: Option<Instant>,
}

impl WatchState {
    fn works(&mut self) {
        (self.failing_since, self.in_step) = (None, Some(Instant::now()));
    }
}

/// The health of all watches.
#[derive(Debug)]
pub struct Health {
    watches: Mutex<Vec<WatchState>>,
    changed: Notify,
    /// The length of each watch.
    length: Duration,
}

impl Health {
    /// The health of the watches of `places` places, none begun yet. Each watch ends, and is resumed, after `length`. There is
    /// no watch of `ClusterOceanBaseConnection`s.
    #[must_use]
    pub fn new(places: usize, length: Duration) -> Self {
        let mut watches = vec![WatchState::default(); 2 * places + 1];
        watches[Watch::ClusterConnections.index()].synced = true;
        Self { watches: Mutex::new(watches), changed: Notify::new(), length }
    }

    /// The same with a watch of `ClusterOceanBaseConnection`s.
    #[must_use]
    pub fn with_cluster_connections(self) -> Self {
        self.set(Watch::ClusterConnections, |state| state.synced = false);
        self
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

    /// The watch works: a list goes on, or there is nothing that can come.
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

    /// The watch is in step: a list holds nothing that the watch has not delivered.
    pub fn watch_in_step(&self, watch: Watch) {
        self.set(watch, |state| state.in_step = Some(Instant::now()));
    }

    /// The API server has something that the watch has not delivered. Only an event settles that: a new list tells what
    /// happened, but not that the watch would tell it.
    pub fn watch_owes(&self, watch: Watch) {
        self.set(watch, |state| state.owing_since = state.owing_since.or(state.in_step));
    }

    /// Whether `watch` has been silent so long that only a relist can tell whether it is dead. False if a list has told
    /// already, or if the watch itself reports a failure.
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

    /// The time since the watches of each kind were last known to be in step: the longest over all places, zero for
    /// those that have not begun.
    #[must_use]
    pub fn watch_ages(&self) -> [(&'static str, Duration); 3] {
        let states = self.states();
        let age = |state: &WatchState| state.in_step.map(|at| at.elapsed()).unwrap_or_default();
        Watch::KINDS.map(|watch| {
            let of_kind = states.iter().skip(watch.index()).step_by(2);
            let of_kind = of_kind.take(if watch.has_places() { usize::MAX } else { 1 });
            (watch.as_str(), of_kind.map(age).max().unwrap_or_default())
        })
    }

    /// Whether all watches have been synced.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.states().iter().all(|state| state.synced)
    }

    /// Whether no watch has failed, been out of step or owed an event for long. The last two report no error: whatever
    /// lies between may keep the connection open and pass nothing on.
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
    async fn the_watch_of_a_kind_without_places_counts_only_if_there_is_one() {
        let (without, with) = (Health::new(1, WATCH), Health::new(1, WATCH).with_cluster_connections());
        for health in [&without, &with] {
            health.watch_synced(Watch::Requests(0));
            health.watch_synced(Watch::Connections(0));
        }
        assert!(without.is_ready() && !with.is_ready());
        with.watch_synced(Watch::ClusterConnections);
        assert!(with.is_ready());
        advance(WATCH).await;
        assert_eq!(with.watch_ages().map(|(_, age)| age), [WATCH; 3]);
        with.watch_works(Watch::ClusterConnections);
        assert_eq!(with.watch_ages().map(|(_, age)| age), [WATCH, WATCH, Duration::ZERO]);
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
        // A watch of another place works: that says nothing of this one.
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
        let ages = [(requests, WATCH * 5), (connections, WATCH * 5), (Watch::ClusterConnections, Duration::ZERO)];
        assert_eq!(health.watch_ages(), ages.map(|(watch, age)| (watch.as_str(), age)));
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
