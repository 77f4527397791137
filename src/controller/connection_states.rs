//! What is known of each connection's gateway, and its status. Does I/O off the path of the kill, on changes only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::call_size::Learnt;
use super::context::Context;
use super::gateway_clock::GatewayClock;
use super::pace::Origin;
use super::settle::Target;
use crate::api::{KillOperation, OceanBaseConnection, OceanBaseConnectionStatus, Operation, WaitReason};
use crate::domain::connection_status::{Facts, Learned, connection_status, rewords, says_more};
use crate::domain::rate::Rate;
use crate::metrics::Limits;
use crate::oceanbase::TimeSource;

/// After this time a connection that fell back to the current time tries the server-side fence again.
const FENCE_RETRY: Duration = Duration::from_hours(1);

#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    /// From when its time is counted.
    pub(super) origin: Origin,
    /// How fast calls may go.
    pub(super) rate: Rate,
    /// How many sessions it takes in one call.
    pub(super) call_size: Option<Learnt>,
    /// Held by whoever is next to have a turn.
    pub(super) line: Arc<tokio::sync::Mutex<()>>,
    /// The fallback in use, and since when.
    fallback: Option<(TimeSource, Instant)>,
    /// The operation that the gateway offers, as far as this process has seen.
    operation: Option<Operation>,
    /// No call could be made through it, and none has been since.
    is_failing: bool,
    /// Why those waited who wanted to call through it last.
    blocked: Option<Blockade>,
    /// When a request last waited for the Secret.
    pub(super) secret_awaited: Option<Instant>,
    /// The clock of the gateway.
    pub(super) clock: GatewayClock,
    /// What the status says, or will say: the watch cache may not know yet.
    pub(super) status: Option<OceanBaseConnectionStatus>,
    /// When it last changed.
    told: Option<Instant>,
    /// A task is writing it.
    pub(super) is_writing: bool,
}

/// What keeps all calls through a connection from being made.
#[derive(Debug)]
struct Blockade {
    at: Instant,
    generation: Option<i64>,
    reason: WaitReason,
    message: String,
}

/// The same reason is told in other words no sooner after it was told: whoever owns the gateway chooses the words.
const REWORDED_AFTER: Duration = Duration::from_secs(10);

/// For so long it is that of all who want to call through the connection: a thousand tenants that wait for one Secret
/// need not each read it in the same second.
const SHARED: Duration = Duration::from_secs(1);

/// What is known of each connection, by UID.
#[derive(Debug, Default)]
pub struct ConnectionStates(pub(super) Mutex<HashMap<String, ConnectionState>>);

impl ConnectionStates {
    /// Where the signed time stamps of calls through `connection` come from.
    pub fn time_source(&self, connection: &OceanBaseConnection) -> TimeSource {
        self.with(connection, ConnectionState::time_source)
    }

    /// Calls through `connection` use `source` from now on.
    pub fn use_time_source(&self, context: &Context, connection: &OceanBaseConnection, source: TimeSource) {
        tracing::warn!(
            connection = connection.name_any(),
            namespace = connection.namespace(),
            endpoint = connection.spec.endpoint.as_deref().unwrap_or(&connection.spec.region_id),
            holder = context.holder_identity,
            "gateway refused the time stamp of a call inside its deadline: using the current time by its clock"
        );
        self.with(connection, |state| state.fallback = Some((source, Instant::now())));
    }

    /// The operation that ends sessions through `connection`.
    pub fn operation(&self, connection: &OceanBaseConnection) -> Operation {
        self.with(connection, |state| state.operation(connection))
    }

    /// Calls through `connection` use `operation` from now on, if it leaves the choice.
    pub fn use_operation(&self, connection: &OceanBaseConnection, operation: Operation) {
        let before = self.with(connection, |state| state.operation.replace(operation));
        if before != Some(operation) {
            let (name, namespace) = (connection.name_any(), connection.namespace());
            tracing::info!(connection = name, namespace, operation = operation.as_str(), "operation in use");
        }
    }

    /// All who want to call through `connection`, as it is now, wait for this.
    pub fn block(&self, connection: &OceanBaseConnection, reason: WaitReason, message: &str) {
        let generation = connection.metadata.generation;
        let blockade = Blockade { at: Instant::now(), generation, reason, message: message.to_owned() };
        self.with(connection, |state| state.blocked = Some(blockade));
    }

    /// What kept calls through `connection` from being made may be gone.
    pub fn unblock(&self, connection: &OceanBaseConnection) {
        self.with(connection, |state| state.blocked = None);
    }

    /// What those wait for who wanted to call through `connection`, as it is now, within the last second.
    pub fn blocked_just_now(&self, connection: &OceanBaseConnection) -> Option<(WaitReason, String)> {
        self.with(connection, |state| {
            let blockade = state.blocked.as_ref()?;
            let holds = blockade.at.elapsed() < SHARED && blockade.generation == connection.metadata.generation;
            holds.then(|| (blockade.reason, blockade.message.clone()))
        })
    }

    /// The gateway answered a list as it should: those who wait for the connection need not wait for their next try.
    pub fn works(&self, context: &Arc<Context>, connection: &OceanBaseConnection) {
        if self.with(connection, |state| state.is_failing) {
            self.answered(context, connection);
        }
    }

    /// The gateway answered a call.
    pub fn answered(&self, context: &Arc<Context>, connection: &OceanBaseConnection) {
        self.recovers(context, connection);
        self.learn(context, connection, Learned::Answered, None);
    }

    fn recovers(&self, context: &Context, connection: &OceanBaseConnection) {
        if self.with(connection, |state| std::mem::take(&mut state.is_failing)) {
            self.unblock(connection);
            context.queue.wake(&connection.namespace().unwrap_or_default(), &connection.name_any());
        }
    }

    /// The gateway answered a probe for `operation`.
    pub fn probed(&self, context: &Arc<Context>, connection: &OceanBaseConnection, operation: Operation) {
        self.use_operation(connection, operation);
        self.recovers(context, connection);
        self.learn(context, connection, Learned::Answered, Some(Timestamp::now()));
    }

    /// A call or a probe could not be made or was refused.
    pub fn failed(&self, context: &Arc<Context>, connection: &OceanBaseConnection, reason: WaitReason, message: &str) {
        // Being throttled now and then is how a healthy connection is used to its limit.
        if reason != WaitReason::Throttled {
            // Not of what one access key may do with one instance: others may work, and would wake those for which it does not.
            if !matches!(reason, WaitReason::PermissionDenied | WaitReason::OperationUnavailable) {
                self.with(connection, |state| state.is_failing = true);
            }
            self.learn(context, connection, Learned::Failed(reason, message), None);
        }
    }

    /// A probe was made, and nothing certain came back.
    pub fn unanswered(&self, context: &Arc<Context>, connection: &OceanBaseConnection, message: &str) {
        self.learn(context, connection, Learned::Unanswered(message), None);
    }

    /// No probe could be made, as the API server did not give out the Secret.
    pub fn unread(&self, context: &Arc<Context>, connection: &OceanBaseConnection, message: &str) {
        self.learn(context, connection, Learned::Unread(message), None);
    }

    /// What the status says, or will say.
    pub fn status(&self, connection: &OceanBaseConnection) -> Option<OceanBaseConnectionStatus> {
        self.with(connection, |state| state.status.clone()).or_else(|| connection.status.clone())
    }

    /// The clock that differs most from the operator's, of all gateways: by how much the operator's is ahead.
    pub fn widest_lead(&self) -> SignedDuration {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let leads = states.values().filter_map(|state| state.clock.lead());
        leads.max_by_key(|lead| lead.abs()).unwrap_or_default()
    }

    /// How fast calls may go through the connections whose gateways have throttled them.
    pub fn limits(&self) -> Limits {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = states.values().filter_map(|state| state.rate.limit());
        limits.fold(Limits::default(), |all, limit| Limits {
            connections: all.connections + 1,
            lowest: all.lowest.min(limit),
        })
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, gone: &impl ResourceExt) {
        if let Some(uid) = gone.uid() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        }
    }

    /// Forgets connections for which `exists` is false.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| exists(uid));
    }

    fn learn(
        &self,
        context: &Arc<Context>,
        connection: &OceanBaseConnection,
        learned: Learned<'_>,
        probe: Option<Timestamp>,
    ) {
        let must_write = self.with(connection, |state| {
            let old = state.status.clone().or_else(|| connection.status.clone()).unwrap_or_default();
            let facts = Facts {
                generation: connection.metadata.generation.unwrap_or_default(),
                fenced: state.time_source() == TimeSource::DispatchDeadline,
                operation: state.operation(connection),
                probed: probe,
                clock_lead: state.clock.lead(),
            };
            let new = connection_status(&old, learned, &facts, Timestamp::now());
            let is_reworded = rewords(&old, &new) && state.told.is_none_or(|at| at.elapsed() >= REWORDED_AFTER);
            if !says_more(&old, &new) && !is_reworded {
                return false;
            }
            (state.status, state.told) = (Some(new), Some(Instant::now()));
            !std::mem::replace(&mut state.is_writing, true)
        });
        if must_write {
            let (task_context, target) = (context.clone(), Target::of(connection));
            context.tasks.spawn(async move { task_context.connection_states.write(&task_context, &target).await });
        }
    }

    pub(super) fn with<T>(&self, connection: &OceanBaseConnection, f: impl FnOnce(&mut ConnectionState) -> T) -> T {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(states.entry(connection.uid().unwrap_or_default()).or_default())
    }
}

impl ConnectionState {
    fn time_source(&mut self) -> TimeSource {
        self.fallback = self.fallback.filter(|(_, since)| since.elapsed() < FENCE_RETRY);
        self.fallback.map_or(TimeSource::DispatchDeadline, |(source, _)| source)
    }

    fn operation(&self, connection: &OceanBaseConnection) -> Operation {
        match connection.spec.kill_operation {
            KillOperation::KillProcessList => Operation::KillProcessList,
            KillOperation::BatchKillProcessList => Operation::BatchKillProcessList,
            KillOperation::Auto => {
                let stored = connection.status.as_ref().and_then(|status| status.operation);
                self.operation.or(stored).unwrap_or_default()
            }
        }
    }
}
