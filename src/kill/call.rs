//! Step 6: the call. Does I/O; takes the claims by value and returns them only if nothing was executed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::api::{KillOperation, Operation};
use crate::connections::call_permits::Lane;
use crate::connections::route::Route;
use crate::domain::backend::{CallError, Called, ErrorKind, KillPermit as _, KillTarget};
use crate::domain::tenant::TenantKey;
use crate::kill::claim::Claims;
use crate::kill::context::Context;
use crate::metrics::labels::{Call, Code};
use crate::oceanbase::{KillCall, TimeSource};

/// The least time that must be left for another request in the same attempt.
const ROOM_TO_FALL_BACK: Duration = Duration::from_secs(5);

/// Sends the call that `claims` permit, and returns the operation that was called last.
///
/// If the gateway refuses it before execution, the same attempt may ask in another way: see [`fall_back`].
pub async fn dispatch(
    context: &Context,
    key: &Arc<TenantKey>,
    route: &Route,
    mut claims: Claims,
    target: KillTarget,
) -> (Operation, Called<Claims>) {
    let trace_id = claims.first_uid().and_then(|uid| context.traces.trace_id(uid));
    let mut call = KillCall {
        operation: context.connection_states.operation(&route.connection),
        target,
        time_source: time_source(context, route, claims.not_after()),
        request: 0,
    };
    loop {
        // Waits for a permit only until the claims expire; without a permit nothing was sent.
        let limit = claims.time_left().unwrap_or_default();
        let permit = match context.call_permits.acquire(key, Lane::Kills, limit).await {
            Ok(permit) => permit,
            Err(error) => return (call.operation, Called::NotExecuted(claims, error)),
        };
        let started = Instant::now();
        let called = route.client.kill(claims, &call, &route.access).await;
        let error =
            if let Called::NotExecuted(_, error) | Called::Ambiguous(error) = &called { Some(error) } else { None };
        context.call_permits.heard(key, started.elapsed(), error);
        drop(permit);
        count(context, call.operation, &called, started.elapsed(), trace_id.clone());
        let (refused, error) = match called {
            Called::NotExecuted(claims, error) => (claims, error),
            called => {
                let lost = if let Called::Ambiguous(error) = &called { Some(error) } else { None };
                context.connection_states.pace(&route.connection, lost);
                return (call.operation, called);
            }
        };
        context.connection_states.pace(&route.connection, Some(&error));
        // Near the deadline a small clock difference is enough for a refusal, which says nothing about the gateway.
        let room = refused.time_left().and_then(|left| left.checked_sub(ROOM_TO_FALL_BACK));
        let goes_on = match (room, error.kind) {
            (None, _) => false,
            (Some(room), ErrorKind::Throttled { .. }) => waits_for_turn(context, route, room).await,
            (Some(_), _) => fall_back(context, route, &mut call, &error, refused.not_after()),
        };
        if !goes_on {
            return (call.operation, Called::NotExecuted(refused, error));
        }
        claims = refused;
        call.request += 1;
    }
}

fn count(context: &Context, operation: Operation, called: &Called<Claims>, took: Duration, trace_id: Option<String>) {
    let operation = match operation {
        Operation::KillProcessList => Call::KillProcessList,
        Operation::BatchKillProcessList => Call::BatchKillProcessList,
    };
    let code = match called {
        Called::Answered(_) => Some(Code::Ok),
        Called::NotExecuted(_, error) | Called::Ambiguous(error) => Code::of(error),
    };
    if let Some(code) = code {
        context.metrics.called(operation, code, took, trace_id);
    }
}

/// Waits for another slot of the rate limit while holding the claims, as releasing and claiming again costs each
/// request four writes. Returns false if the slot is too late.
async fn waits_for_turn(context: &Context, route: &Route, room: Duration) -> bool {
    let wait = context.connection_states.reserve(&route.connection, 1);
    if wait > room {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}

/// The source of the call's time stamp; nothing may be executed after `not_after`. A connection that fell back to the
/// current time uses it only while `not_after` has not passed by the gateway's clock, as ours may be the wrong one.
fn time_source(context: &Context, route: &Route, not_after: Timestamp) -> TimeSource {
    let source = context.connection_states.time_source(&route.connection);
    // With this stamp, the gateway itself decides.
    if is_over(source, not_after) { TimeSource::DispatchDeadline } else { source }
}

/// Whether `not_after` has passed by the clock of `source`.
fn is_over(source: TimeSource, not_after: Timestamp) -> bool {
    match source {
        TimeSource::DispatchDeadline => false,
        TimeSource::CurrentTime { gateway_lead } => not_after.duration_since(Timestamp::now()) <= gateway_lead,
    }
}

/// Changes `call` so that the gateway may accept it; false if there is nothing to change. Each change is made at most
/// once, so that the attempt ends.
///
/// * A time stamp refused before the deadline: the gateway's clock or rules differ from the documentation. The
///   connection falls back to the current time by the gateway's clock, unless `not_after` has passed by that.
/// * An answer that proves that KillProcessList does not exist: `Auto` falls back to BatchKillProcessList.
fn fall_back(context: &Context, route: &Route, call: &mut KillCall, error: &CallError, not_after: Timestamp) -> bool {
    let states = &context.connection_states;
    match error.kind {
        ErrorKind::TimeStampRefused { gateway_time } => {
            let gateway_lead = gateway_time.map_or_else(Default::default, |time| time.duration_since(Timestamp::now()));
            let current_time = TimeSource::CurrentTime { gateway_lead };
            let is_first = call.time_source == TimeSource::DispatchDeadline;
            states.use_time_source(&route.connection, current_time);
            call.time_source = current_time;
            is_first && !is_over(current_time, not_after)
        }
        ErrorKind::OperationNotFound
            if route.connection.spec.alibaba_cloud().kill_operation == KillOperation::Auto
                && call.operation == Operation::KillProcessList =>
        {
            states.use_operation(&route.connection, Operation::BatchKillProcessList);
            call.operation = Operation::BatchKillProcessList;
            true
        }
        _ => false,
    }
}
