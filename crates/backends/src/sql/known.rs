//! What is kept between the calls of one connection: its open sessions, and whether its server has a fence. No I/O of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sessionkill_api::ConnectionReason;
use sessionkill_core::backend::{Fence, Guarantees};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::session::Session;

/// How long a session is kept without work.
const KEPT: Duration = Duration::from_secs(30);

/// The most sessions kept without work by one connection. Its requests may name tenants that somebody makes up.
const MOST_KEPT: usize = 8;

/// What is known of one connection's server.
#[derive(Debug, Default)]
pub struct Known {
    has_fence: Mutex<Option<bool>>,
    /// The session of each tenant, from its first call until it is closed.
    places: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Place>>>>,
}

/// The place for the one session of a tenant. Whoever holds its lock uses the session.
#[derive(Debug, Default)]
pub(super) struct Place {
    kept: Option<Kept>,
    /// Whether a task closes it when it has had no work.
    is_watched: bool,
}

#[derive(Debug)]
struct Kept {
    session: Session,
    /// What it was opened with.
    digest: [u8; 32],
    since: Instant,
}

/// The right to use the one session of a tenant.
pub(super) struct Turn {
    place: OwnedMutexGuard<Place>,
    known: Arc<Known>,
    tenant: String,
}

impl Known {
    /// What a call guarantees now.
    pub(crate) fn guarantees(&self) -> Guarantees {
        let holds = *self.has_fence.lock().unwrap_or_else(PoisonError::into_inner);
        let (holds, reason, message) = match holds {
            Some(true) => (
                true,
                ConnectionReason::DeadlineInStatement,
                "each KILL has a condition, by which the server itself ends nothing after the dispatch deadline",
            ),
            Some(false) => (
                false,
                ConnectionReason::ConditionNotSupported,
                "the server does not evaluate conditions in KILL: only the operator's own clock keeps calls from being late",
            ),
            None => (false, ConnectionReason::NotYetKnown, "no connection was made yet"),
        };
        Guarantees { server_side_fence: Fence { holds, reason, message }, answers_each_session: true }
    }

    /// Notes whether the server has a fence.
    pub(super) fn has_fence(&self, has_fence: bool) {
        *self.has_fence.lock().unwrap_or_else(PoisonError::into_inner) = Some(has_fence);
    }

    /// Waits until nobody else uses the session of `tenant`.
    pub(super) async fn turn(self: &Arc<Self>, tenant: &str) -> Turn {
        let place = self.places().entry(tenant.to_owned()).or_default().clone();
        Turn { place: place.lock_owned().await, known: self.clone(), tenant: tenant.to_owned() }
    }

    /// Whether a session of `tenant` is open that was opened with `digest`, or one is in use.
    pub(super) fn is_open(&self, tenant: &str, digest: [u8; 32]) -> bool {
        let place = self.places().get(tenant).cloned();
        let is_it = |place: &Place| place.kept.as_ref().is_some_and(|kept| kept.digest == digest);
        place.is_some_and(|place| place.try_lock().map_or(true, |place| is_it(&place)))
    }

    /// Forgets the places where no session is and for which nobody waits.
    fn tidy(&self) {
        self.places()
            .retain(|_, place| Arc::strong_count(place) > 1 || place.try_lock().is_ok_and(|it| it.kept.is_some()));
    }

    fn is_crowded(&self) -> bool {
        self.places().len() > MOST_KEPT
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Place>>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The open session, if it was opened with the same and is still usable.
    pub(super) fn take(&mut self, digest: [u8; 32]) -> Option<Session> {
        let kept = self.place.kept.take()?;
        let is_usable = kept.digest == digest && kept.session.connection.is_usable() && kept.since.elapsed() < KEPT;
        is_usable.then_some(kept.session)
    }

    /// Keeps `session` for the next call, for 30 s at most, unless it is not usable any more or too many are kept.
    pub(super) fn keep(mut self, session: Session, digest: [u8; 32]) {
        if session.connection.is_usable() && !self.known.is_crowded() {
            self.place.kept = Some(Kept { session, digest, since: Instant::now() });
            if !std::mem::replace(&mut self.place.is_watched, true) {
                tokio::spawn(close_when_idle(self.known.clone(), self.tenant.clone()));
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.place.kept.is_none() && !self.place.is_watched {
            // Who comes meanwhile takes the entry under the same lock, and then counts.
            let mut places = self.known.places();
            if Arc::strong_count(OwnedMutexGuard::mutex(&self.place)) == 2 {
                places.remove(&self.tenant);
            }
        }
    }
}

/// Closes the session of `tenant` once it has had no work for 30 s.
async fn close_when_idle(known: Arc<Known>, tenant: String) {
    loop {
        let Some(place) = known.places().get(&tenant).cloned() else { return };
        let mut place = place.lock_owned().await;
        let idle = place.kept.as_ref().map(|kept| kept.since.elapsed());
        match idle {
            Some(idle) if idle < KEPT => {
                drop(place);
                tokio::time::sleep(KEPT.saturating_sub(idle)).await;
            }
            _ => {
                place.kept = None;
                place.is_watched = false;
                drop(place);
                return known.tidy();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::task::JoinHandle;
    use tokio::time::{advance, pause};

    use super::super::columns::Columns;
    use super::super::statements::VIEWS;
    use super::super::wire::tests::peer::{Peer, connected};
    use super::*;

    const OPENED_WITH: [u8; 32] = [1; 32];

    /// An open session, and the server, whose end is that of the connection.
    async fn open() -> (Session, JoinHandle<()>) {
        let (connection, server) = connected(Peer::hears_nothing_more).await;
        let session = Session {
            connection,
            own_id: 7,
            server_ip: String::new(),
            view: VIEWS[0],
            columns: Columns::default(),
            sees_all: true,
            lists_some: true,
            has_fence: true,
        };
        (session, server)
    }

    #[tokio::test]
    async fn a_session_is_closed_after_30_s_without_work_and_not_before() {
        let known = Arc::<Known>::default();
        let (session, server) = open().await;
        known.turn("t1").await.keep(session, OPENED_WITH);
        pause();
        for _ in 0..3 {
            advance(KEPT.checked_sub(Duration::from_secs(1)).unwrap()).await;
            assert!(known.is_open("t1", OPENED_WITH) && !known.is_open("t2", OPENED_WITH));
            let mut turn = known.turn("t1").await;
            let session = turn.take(OPENED_WITH).unwrap();
            turn.keep(session, OPENED_WITH);
        }
        // Nobody asks for it any more.
        server.await.unwrap();
        assert!(!known.is_open("t1", OPENED_WITH) && known.places().is_empty());
    }

    #[tokio::test]
    async fn a_tenant_has_one_session_and_others_do_not_wait_for_it() {
        let known = Arc::<Known>::default();
        let first = known.turn("t1").await;
        assert!(known.is_open("t1", OPENED_WITH), "whoever has it opens it");
        assert!(known.turn("t1").now_or_never().is_none() && known.turn("t2").now_or_never().is_some());
        drop(first);
        assert!(known.turn("t1").now_or_never().is_some());
        assert!(known.places().is_empty(), "nothing is kept of a tenant without a session");
    }

    #[tokio::test]
    async fn a_session_that_was_opened_with_something_else_is_closed() {
        let known = Arc::<Known>::default();
        let (session, server) = open().await;
        known.turn("t1").await.keep(session, OPENED_WITH);
        assert!(known.is_open("t1", OPENED_WITH) && !known.is_open("t1", [2; 32]));
        assert!(known.turn("t1").await.take([2; 32]).is_none());
        server.await.unwrap();
        assert!(!known.is_open("t1", OPENED_WITH));
    }

    #[tokio::test]
    async fn tenants_that_somebody_makes_up_do_not_keep_any_number_of_sessions() {
        let known = Arc::<Known>::default();
        let mut servers = vec![];
        for number in 0..=MOST_KEPT {
            let (session, server) = open().await;
            known.turn(&format!("t{number}")).await.keep(session, OPENED_WITH);
            servers.push(server);
        }
        servers.pop().unwrap().await.unwrap();
        assert!(servers.iter().all(|server| !server.is_finished()));
        assert_eq!(known.places().len(), MOST_KEPT);
    }
}
