//! Reads process lists. Does I/O; one read of a tenant's list serves all who wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;

use crate::backends::{Listed, costs};
use crate::connections::allowed_use::{Allowances, NotAllowed};
use crate::connections::call_permits::{CallPermits, Lane};
use crate::connections::connection::Connection;
use crate::connections::route::{Purpose, Route, Routes};
use crate::connections::states::ConnectionStates;
use crate::domain::backend::{CallError, ErrorKind};
use crate::domain::selection::Wanted;
use crate::domain::snapshot::Snapshot;
use crate::domain::tenant::TenantKey;
use crate::metrics::labels::Call;
use crate::queue::permits::Permit;

/// When a read began, and its result.
type Read = (Instant, Result<Arc<Snapshot>, CallError>);
/// The longest that a reader waits for a throttled list.
const PATIENCE: Duration = Duration::from_secs(10);

/// The UID of a connection, a tenant of it in a namespace, and a lane: reads for recovery may wait long, and must not make a
/// kill wait. Nor must the reads of one namespace make those of another wait.
type Of = (String, Arc<TenantKey>, Lane);

/// The readers that wait for the list of one tenant.
#[derive(Default)]
struct Slot {
    /// The sessions that they ask about, collected until the next read begins.
    asked_for: Mutex<Wanted>,
    /// The last read.
    last: tokio::sync::Mutex<Option<Read>>,
}

/// Reads the process lists of all tenants, on demand.
pub struct ProcessLists {
    routes: Arc<Routes>,
    allowances: Arc<Allowances>,
    states: Arc<ConnectionStates>,
    permits: Arc<CallPermits>,
    reads: Reads,
}

impl ProcessLists {
    /// Reads through `routes`, as `allowances` allow it, each call with one of `permits`.
    pub fn new(
        routes: Arc<Routes>,
        allowances: Arc<Allowances>,
        states: Arc<ConnectionStates>,
        permits: Arc<CallPermits>,
    ) -> Self {
        Self { routes, allowances, states, permits, reads: Reads::default() }
    }

    /// The `wanted` sessions in the process list of the tenant of `key`, by a read that begins after this call: an older list
    /// could miss a session of the request, or show one that has been killed since.
    ///
    /// Readers that come during a read wait, and share the next read, which the first of them makes. One read thus
    /// serves a tenant's next call and the verification of the one before. While the gateway throttles the reader, its
    /// slot is given back, as others may wait for it, and acquired again afterwards.
    pub async fn observe(
        &self,
        route: &Route,
        key: &Arc<TenantKey>,
        wanted: &Wanted,
        lane: Lane,
        slot: &mut Option<Permit>,
    ) -> Result<Arc<Snapshot>, CallError> {
        let of = (route.connection().uid().to_owned(), key.clone(), lane);
        self.reads.shared(of, wanted, |all| self.read(route, key, all, (lane, slot))).await
    }

    /// Like `observe` for the sessions with `ids`, through the connection that requests of `key` name, for callers that can only try again later: why the
    /// list cannot be read is logged. What a connection does not allow a namespace any more, it is not told either.
    pub async fn observe_by_name(
        &self,
        key: &Arc<TenantKey>,
        ids: &[i64],
        lane: Lane,
    ) -> Result<Arc<Snapshot>, NotRead> {
        let (connection, namespace) = (key.connection().name.as_str(), key.namespace());
        let not_read = |error: String, why| {
            tracing::info!(error, connection, namespace, "process list not read");
            why
        };
        let used = self.allowances.ask(key).await.map_err(|not_allowed| match not_allowed {
            NotAllowed::Refused(error) => not_read(error, NotRead::Refused),
            NotAllowed::Waits(_, error) => not_read(error, NotRead::Yet),
            NotAllowed::Unanswered(error) => not_read(error.to_string(), NotRead::Yet),
        })?;
        let route =
            self.routes.to(used, Purpose::Lists).await.map_err(|error| not_read(error.to_string(), NotRead::Yet))?;
        self.states.turn(route.connection(), key, 1).await;
        self.observe(&route, key, &Wanted::by_id(ids.iter().copied()), lane, &mut None).await.map_err(|error| {
            let why = match error.kind {
                ErrorKind::PermissionDenied
                | ErrorKind::OperationNotFound
                | ErrorKind::OperationUnavailable
                | ErrorKind::Rejected => NotRead::Refused,
                _ => NotRead::Yet,
            };
            not_read(error.to_string(), why)
        })
    }

    /// Reads the list, and retries while the gateway throttles, for `PATIENCE` at most.
    async fn read(
        &self,
        route: &Route,
        key: &Arc<TenantKey>,
        wanted: Arc<Wanted>,
        (lane, slot): (Lane, &mut Option<Permit>),
    ) -> Read {
        let (states, tenant, started) = (&self.states, key.tenant(), Instant::now());
        let mut renewed: Option<Route> = None;
        loop {
            let permit = match self.permits.acquire(key, lane, lane.patience()).await {
                Ok(permit) => permit,
                Err(error) => return (Instant::now(), Err(error)),
            };
            let began = Instant::now();
            let (route, is_renewed) = (renewed.as_ref().unwrap_or(route), renewed.is_some());
            let list = |server_time| route.backend.list(&tenant, wanted.clone(), server_time).boxed();
            let read = self.routes.read(route, Call::List(route.backend.list_action()), list).await;
            states.pace(route.connection(), read.as_ref().err());
            self.permits.heard(key, began.elapsed(), read.as_ref().err());
            drop(permit);
            if let (Err(error), false) = (&read, is_renewed) {
                let action = route.backend.list_action();
                if let Some(route) = self.routes.renewed(route, action, error).await {
                    renewed = Some(route);
                    continue;
                }
            }
            let is_throttled = read.as_ref().is_err_and(|error| matches!(error.kind, ErrorKind::Throttled { .. }));
            let read = match read {
                // The start of the request itself: a pause before it makes the list no older.
                Ok(listed) => (listed.began, Ok(Arc::new(snapshot(listed, wanted.clone())))),
                Err(error) => (began, Err(error)),
            };
            if !is_throttled {
                return read;
            }
            let wait = states.reserve(route.connection(), 1);
            if started.elapsed() + wait > PATIENCE {
                return read;
            }
            let had_slot = slot.take().is_some();
            tokio::time::sleep(wait).await;
            if had_slot {
                *slot = Some(self.permits.slots.acquire(key).await);
            }
        }
    }
}

/// The last read of each tenant for which somebody waits.
#[derive(Default)]
struct Reads(Mutex<HashMap<Of, Arc<Slot>>>);

impl Reads {
    /// The result of `read` for all who wait, or of another read that began after this call and covers what is `wanted`.
    async fn shared<F: Future<Output = Read>>(
        &self,
        of: Of,
        wanted: &Wanted,
        read: impl FnOnce(Arc<Wanted>) -> F,
    ) -> Result<Arc<Snapshot>, CallError> {
        let asked = Instant::now();
        let slot = self.slots().entry(of).or_default().clone();
        slot.asks_for().add(wanted);
        let mut kept = slot.last.lock().await;
        let is_for_this =
            |(began, list): &Read| *began >= asked && list.as_ref().map_or(true, |list| list.tells_of(wanted));
        let (began, list) = if let Some(shared) = kept.take().filter(is_for_this) {
            shared
        } else {
            // Let all tasks that are ready to ask do so first.
            tokio::task::yield_now().await;
            let mut all = std::mem::take(&mut *slot.asks_for());
            all.add(wanted);
            read(Arc::new(all)).await
        };
        *kept = Some((began, list.clone()));
        drop(kept);
        drop(slot);
        // Drop the reads that nobody waits for: nobody else would take them.
        self.slots().retain(|_, slot| Arc::strong_count(slot) > 1);
        list
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Of, Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn asks_for(&self) -> MutexGuard<'_, Wanted> {
        self.asked_for.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no process list now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// Another try may succeed.
    Yet,
    /// The gateway refuses this read until somebody changes something.
    Refused,
}

/// The pause between the first two reads of a list of `connection`.
pub fn pause_between_lists(connection: &Connection) -> Duration {
    costs(&connection.spec().backend).pause_between_lists
}

fn snapshot(Listed { list, time, .. }: Listed, wanted: Arc<Wanted>) -> Snapshot {
    let snapshot = Snapshot::new(list.sessions, list.complete, time).with_limits(list.limits);
    snapshot.of_those_asked_for(wanted, list.selected)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use jiff::Timestamp;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::domain::test_objects::{of_cluster, request};

    /// The key of requests of `namespace` through one connection.
    fn key(namespace: &str) -> Arc<TenantKey> {
        let mut object = of_cluster(request());
        object.metadata.namespace = Some(namespace.to_owned());
        Arc::new(TenantKey::of(&object))
    }

    fn nobody_there(wanted: Arc<Wanted>) -> Snapshot {
        Snapshot::new(vec![], true, Timestamp::UNIX_EPOCH).of_those_asked_for(wanted, vec![])
    }

    fn tells_of(list: &Snapshot, ids: &[i64]) -> bool {
        list.tells_of(&Wanted::by_id(ids.iter().copied()))
    }

    #[tokio::test]
    async fn one_read_serves_those_who_ask_before_it_begins_and_no_one_later() {
        let lists = Arc::new(Reads::default());
        let (reads, may_end) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let asking = |id: i64| {
            let (lists, reads, may_end) = (lists.clone(), reads.clone(), may_end.clone());
            tokio::spawn(async move {
                let read = async |wanted| {
                    let began = Instant::now();
                    reads.fetch_add(1, Ordering::Relaxed);
                    may_end.acquire().await.unwrap().forget();
                    (began, Ok(Arc::new(nobody_there(wanted))))
                };
                lists.shared(("one".to_owned(), key("dba"), Lane::Kills), &Wanted::by_id([id]), read).await.unwrap()
            })
        };
        let mut asked: Vec<_> = (0..3).map(asking).collect();
        while reads.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        asked.push(asking(3));
        tokio::task::yield_now().await;
        may_end.add_permits(asked.len());
        let lists = join_all(asked).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        assert!(Arc::ptr_eq(&lists[0], &lists[2]) && !Arc::ptr_eq(&lists[0], &lists[3]));
        assert!(
            tells_of(&lists[0], &[0, 1, 2]) && !tells_of(&lists[0], &[3]),
            "read for those who asked, and no others"
        );
        assert!(tells_of(&lists[3], &[3]) && !tells_of(&lists[3], &[0]));
    }

    #[tokio::test]
    async fn a_list_is_kept_only_as_long_as_somebody_waits_for_it() {
        let lists = Reads::default();
        let list = Arc::new(nobody_there(Arc::default()));
        let read = async |_| (Instant::now(), Ok(list.clone()));
        let read_by = async |namespace| {
            lists.shared(("one".to_owned(), key(namespace), Lane::Kills), &Wanted::default(), read).await
        };
        let (first, second, other) = tokio::join!(read_by("dba"), read_by("dba"), read_by("shop"));
        assert_eq!(Arc::strong_count(&list), 4, "kept by those who got it, and by nobody else");
        drop((first, second, other));
        assert_eq!(Arc::strong_count(&list), 1);
    }
}
