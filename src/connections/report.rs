//! Reports what a connection's calls and probes came to: wakes the requests that wait for it, and writes its status.
//! Does I/O on changes only, off the kill path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use tokio_util::task::TaskTracker;

use crate::api::{
    BackendSpec, ClusterOceanBaseConnection, ConnectionKind, OceanBaseConnection, OceanBaseConnectionStatus, Operation,
    SqlTlsMode, WaitReason,
};
use crate::connections::connection::Connection;
use crate::connections::state::ConnectionState;
use crate::connections::states::ConnectionStates;
use crate::connections::stored::UnreadableConnection;
use crate::domain::connection::status::{Facts, Learned, connection_status, rewords, says_more, unreadable};
use crate::domain::tenant::{ConnectionKey, TenantKey};
use crate::kubernetes::calls::{ApiError, Pauses};
use crate::kubernetes::lease::leadership::Leadership;
use crate::kubernetes::status_patch::{Target, write_status};
use crate::queue::lanes::Queue;
use crate::queue::permits::Permits;

/// The same reason in other words is written again after 10 s at the earliest: the gateway's owner chooses the words.
const REWORDED_AFTER: Duration = Duration::from_secs(10);

/// The report of an unreadable connection is tried again after a minute, as a probe of one that does not work.
const TRIED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Reports what is learned about connections. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionReports {
    states: Arc<ConnectionStates>,
    queue: Arc<Queue>,
    leadership: Arc<Leadership>,
    client: Client,
    /// One write at a time, as a connection may be large.
    permits: Arc<Permits>,
    tasks: TaskTracker,
}

impl ConnectionReports {
    /// Reports from `states` to the requests waiting in `queue`, and by `client` to the status while this process leads.
    pub fn new(
        states: Arc<ConnectionStates>,
        queue: Arc<Queue>,
        leadership: Arc<Leadership>,
        client: Client,
        tasks: TaskTracker,
    ) -> Self {
        Self { states, queue, leadership, client, permits: Permits::of_writes(1), tasks }
    }

    /// The gateway answered a list: requests that wait for the connection need not wait for their next try. Those whose kills
    /// fail must: each try begins with a list, and would wake itself.
    pub fn works(&self, connection: &Connection) {
        if self.states.with(connection, |state| state.is_failing && !state.fails_kills) {
            self.answered(connection);
        }
    }

    /// The gateway answered a call.
    pub fn answered(&self, connection: &Connection) {
        self.recovers(connection);
        self.learn(connection, Learned::Answered, None);
    }

    fn recovers(&self, connection: &Connection) {
        let was_failing = self.states.with(connection, |state| {
            state.fails_kills = false;
            std::mem::take(&mut state.is_failing)
        });
        if was_failing {
            self.states.unblock(connection);
            self.queue.wake(&connection.key());
        }
    }

    /// The gateway answered a probe for `operation`.
    pub fn probed(&self, connection: &Connection, operation: Operation) {
        self.states.offers(connection, operation);
        self.recovers(connection);
        self.learn(connection, Learned::Answered, Some(Timestamp::now()));
    }

    /// A call or a probe could not be made, or was refused.
    pub fn failed(&self, connection: &Connection, reason: WaitReason, message: &str) {
        // A healthy connection used to its limit is throttled now and then.
        if reason != WaitReason::Throttled {
            // These concern one access key and instance: other calls may succeed, and would wake the requests whose
            // calls do not.
            if !matches!(reason, WaitReason::PermissionDenied | WaitReason::OperationUnavailable) {
                self.states.with(connection, |state| state.is_failing = true);
            }
            self.learn(connection, Learned::Failed(reason, message), None);
        }
    }

    /// A kill could not be made, or was refused.
    pub fn kill_failed(&self, connection: &Connection, reason: WaitReason, message: &str) {
        self.states.with(connection, |state| state.fails_kills = true);
        self.failed(connection, reason, message);
    }

    /// A probe got no certain answer.
    pub fn unanswered(&self, connection: &Connection, message: &str) {
        self.learn(connection, Learned::Unanswered(message), None);
    }

    /// No probe was made, as the API server did not return the Secret.
    pub fn unread(&self, connection: &Connection, message: &str) {
        self.learn(connection, Learned::Unread(message), None);
    }

    /// Reports an unreadable stored object, unless its status says so already. Returns after how long to look again, if it
    /// was tried less than a minute ago: a status that the API server refuses must not be written with every event.
    pub fn unreadable(&self, connection: &UnreadableConnection) -> Option<Duration> {
        let invalid = &connection.invalid;
        if invalid.is_told {
            return None;
        }
        let generation = invalid.metadata.generation.unwrap_or_default();
        let tried = self.states.with_uid(connection.uid(), |state| {
            let is_new = state.status.as_ref().is_some_and(|status| status.observed_generation != generation);
            state.told.filter(|_| !is_new).map(|at| at.elapsed())
        });
        if let Some(wait) = tried.and_then(|since| TRIED_AGAIN_AFTER.checked_sub(since)) {
            return Some(wait);
        }
        let message = format!(
            "the stored object cannot be read ({}); nothing is sent through it: replace it by a valid one, or delete it",
            invalid.error
        );
        self.states.with_uid(connection.uid(), ConnectionState::forget_gateway);
        let is_news = self.tell((&connection.key, connection.target()), |state| {
            let old = state.status.clone().unwrap_or_default();
            let new = unreadable(&old, generation, &message, Timestamp::now());
            (old, new)
        });
        if is_news {
            let (name, namespace, error) = (connection.key.name(), connection.key.namespace(), &invalid.error);
            tracing::error!(connection = name, namespace, error, "connection cannot be read");
        }
        Some(TRIED_AGAIN_AFTER)
    }

    fn learn(&self, connection: &Connection, learned: Learned<'_>, probe: Option<Timestamp>) {
        self.tell((&connection.key(), connection.target()), |state| {
            let old = state.status.clone().or_else(|| connection.status().cloned()).unwrap_or_default();
            let backend = &connection.spec().backend;
            let stored = connection.status().and_then(|status| status.operation);
            let operation = state.memory.operation(backend, stored);
            let facts = Facts {
                generation: connection.generation().unwrap_or_default(),
                backend: backend.name(),
                fence: state.memory.guarantees(backend, operation).server_side_fence,
                operation,
                is_encrypted: match backend {
                    BackendSpec::Sql(sql) => Some(sql.tls.mode != SqlTlsMode::Disabled),
                    BackendSpec::AlibabaCloud(_) => None,
                    #[cfg(feature = "scripted")]
                    BackendSpec::Scripted(_) => None,
                },
                probed: probe,
                clock_lead: state.clock.lead(),
                allowed_namespaces: connection.allowed_namespaces(),
            };
            let new = connection_status(&old, learned, &facts, Timestamp::now());
            (old, new)
        });
    }

    /// Schedules a write of the new one of `statuses` (old and new), if it says anything new; returns whether it does.
    fn tell(
        &self,
        (key, target): (&ConnectionKey, Target),
        statuses: impl FnOnce(&mut ConnectionState) -> (OceanBaseConnectionStatus, OceanBaseConnectionStatus),
    ) -> bool {
        let (is_news, must_write) = self.states.with_uid(&target.uid, |state| {
            let (old, new) = statuses(state);
            let is_reworded = rewords(&old, &new) && state.told.is_none_or(|at| at.elapsed() >= REWORDED_AFTER);
            if !says_more(&old, &new) && !is_reworded {
                return (false, false);
            }
            (state.status, state.told) = (Some(new), Some(Instant::now()));
            (true, !std::mem::replace(&mut state.is_writing, true))
        });
        if must_write {
            let (reports, key) = (self.clone(), key.clone());
            self.tasks.spawn(async move { reports.write(&key, &target).await });
        }
        is_news
    }

    /// Writes until the stored status is the newest; one task at a time per connection, so that no older status
    /// overwrites a newer one. Another replica that leads by now writes what it sees.
    async fn write(&self, connection: &ConnectionKey, target: &Target) {
        let mut pauses = Pauses::new();
        let key = Arc::new(TenantKey::of_connection(&target.namespace, connection));
        let mut written = None;
        while let Some(status) = self.unwritten(&target.uid, written.as_ref()) {
            let permit = self.permits.acquire(&key).await;
            if !self.leadership.leads() {
                return self.give_up(&target.uid);
            }
            let target = &target.clone().at(status.observed_generation);
            let stored = self.store(connection.kind(), target, &status).await;
            drop(permit);
            match stored {
                Ok(()) => written = Some(status),
                Err(error) if is_final(&error) => {
                    tracing::warn!(%error, connection = target.name, "status of the connection not written");
                    return self.give_up(&target.uid);
                }
                Err(error) => {
                    tracing::warn!(%error, connection = target.name, "status of the connection not written yet");
                    pauses.wait().await;
                }
            }
        }
    }

    async fn store(
        &self,
        kind: ConnectionKind,
        target: &Target,
        status: &OceanBaseConnectionStatus,
    ) -> Result<(), ApiError> {
        let client = &self.client;
        match kind {
            ConnectionKind::OceanBaseConnection => {
                write_status::<OceanBaseConnection>(client, target, "report OceanBaseConnection", status).await
            }
            ConnectionKind::ClusterOceanBaseConnection => {
                let call = "report ClusterOceanBaseConnection";
                write_status::<ClusterOceanBaseConnection>(client, target, call, status).await
            }
        }
    }

    /// The status still to be written after `written`; `None` ends the writing.
    fn unwritten(&self, uid: &str, written: Option<&OceanBaseConnectionStatus>) -> Option<OceanBaseConnectionStatus> {
        let unwritten = self.states.with_known(uid, |state| {
            state.is_writing = state.status.as_ref() != written;
            state.status.clone().filter(|_| state.is_writing)
        });
        unwritten.flatten()
    }

    /// Forgets the status that cannot be written: the next call tries again.
    fn give_up(&self, uid: &str) {
        self.states.with_known(uid, |state| (state.status, state.is_writing) = (None, false));
    }
}

/// Whether a retry is useless: the object is gone, or the API server refuses the write.
fn is_final(error: &ApiError) -> bool {
    error.is_not_found() || error.is_refused() || error.is_too_large()
}
