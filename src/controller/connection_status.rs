//! What is known of each connection's gateway, and its status. Does I/O off the path of the kill, on changes only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Api, ResourceExt as _};

use super::context::Context;
use super::settle::{Target, write_status};
use crate::api::{ConditionType, ConnectionReason, OceanBaseConnection, OceanBaseConnectionStatus, WaitReason};
use crate::domain::status::condition;
use crate::domain::text::clamp;
use crate::oceanbase::TimeSource;

/// After this time a connection that fell back to the current time tries the server-side fence again.
const FENCE_RETRY: Duration = Duration::from_hours(1);

#[derive(Clone, Debug, Default)]
struct ConnectionState {
    /// The fallback in use, and since when.
    fallback: Option<(TimeSource, Instant)>,
    /// What the status says, or will say: the watch cache may not know yet.
    shown: Option<Shown>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    generation: i64,
    ready: Ready,
    fenced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ready {
    Yes,
    No(&'static str),
}

/// What is known of each connection, by UID.
#[derive(Debug, Default)]
pub struct ConnectionStates(Mutex<HashMap<String, ConnectionState>>);

impl ConnectionStates {
    /// Where the signed time stamps of calls through `connection` come from.
    pub fn time_source(&self, connection: &OceanBaseConnection) -> TimeSource {
        self.with(connection, |state| {
            state.fallback = state.fallback.filter(|(_, since)| since.elapsed() < FENCE_RETRY);
            state.fallback.map_or(TimeSource::DispatchDeadline, |(source, _)| source)
        })
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

    /// The gateway answered a call.
    pub fn answered(&self, context: &Arc<Context>, connection: &OceanBaseConnection) {
        self.show(context, connection, Ready::Yes, "the gateway answered the last call");
    }

    /// A call could not be made or was refused.
    pub fn failed(&self, context: &Arc<Context>, connection: &OceanBaseConnection, reason: WaitReason, message: &str) {
        // Being throttled now and then is how a healthy connection is used to its limit.
        if reason != WaitReason::Throttled {
            self.show(context, connection, Ready::No(reason.as_str()), message);
        }
    }

    fn show(&self, context: &Arc<Context>, connection: &OceanBaseConnection, ready: Ready, message: &str) {
        let generation = connection.metadata.generation.unwrap_or_default();
        let fenced = self.time_source(connection) == TimeSource::DispatchDeadline;
        let now_shown = Shown { generation, ready, fenced };
        let before = self.with(connection, |state| state.shown.replace(now_shown.clone()));
        if before.or_else(|| shown_by(connection)) == Some(now_shown.clone()) {
            return;
        }
        let status = status(connection, &now_shown, message, Timestamp::now());
        let (task_context, target) = (context.clone(), Target::of(connection));
        context.tasks.spawn(async move {
            let api: Api<OceanBaseConnection> = Api::namespaced(task_context.client.clone(), &target.namespace);
            if let Err(error) = write_status(&api, &target, "report OceanBaseConnection", &status).await {
                tracing::warn!(%error, connection = target.name, "status of the connection not written");
                task_context.connection_states.forget(&target.uid);
            }
        });
    }

    /// The status was not written: the next call writes it again.
    fn forget(&self, uid: &str) {
        if let Some(state) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(uid) {
            state.shown = None;
        }
    }

    fn with<T>(&self, connection: &OceanBaseConnection, f: impl FnOnce(&mut ConnectionState) -> T) -> T {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(states.entry(connection.uid().unwrap_or_default()).or_default())
    }
}

fn status(connection: &OceanBaseConnection, shown: &Shown, message: &str, now: Timestamp) -> OceanBaseConnectionStatus {
    let old = connection.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let new = |kind: ConditionType, holds: bool, reason: &str, message: &str| {
        condition(
            old,
            Condition {
                type_: kind.as_str().to_owned(),
                status: if holds { "True" } else { "False" }.to_owned(),
                reason: reason.to_owned(),
                message: clamp(message, 1024),
                last_transition_time: Time(now),
                observed_generation: Some(shown.generation),
            },
        )
    };
    let ready = match shown.ready {
        Ready::Yes => new(ConditionType::Ready, true, ConnectionReason::CallAnswered.as_str(), message),
        Ready::No(reason) => new(ConditionType::Ready, false, reason, message),
    };
    let (reason, message) = if shown.fenced {
        (ConnectionReason::DeadlineTimeStamp, "the gateway itself refuses a call that arrives after its deadline")
    } else {
        (
            ConnectionReason::TimeStampRefused,
            "the gateway refused the time stamp of a call inside its deadline: calls carry the current time by the \
             gateway's clock, and only the operator keeps them from being late; check the clocks of both",
        )
    };
    let fence = new(ConditionType::ServerSideFence, shown.fenced, reason.as_str(), message);
    OceanBaseConnectionStatus { observed_generation: shown.generation, conditions: vec![ready, fence] }
}

/// What the stored status says.
fn shown_by(connection: &OceanBaseConnection) -> Option<Shown> {
    let status = connection.status.as_ref()?;
    let find = |kind: ConditionType| status.conditions.iter().find(|c| c.type_ == kind.as_str());
    let ready = find(ConditionType::Ready)?;
    // Other reasons than success are written again once after a restart.
    let ready = (ready.status == "True").then_some(Ready::Yes)?;
    let fenced = find(ConditionType::ServerSideFence)?.status == "True";
    Some(Shown { generation: status.observed_generation, ready, fenced })
}
