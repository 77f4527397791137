//! Step 6: the call. Does I/O; takes the claims by value and returns them only if nothing was executed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::Operation;
use crate::connections::call_permits::Lane;
use crate::connections::route::Route;
use crate::domain::backend::{Asked, CallError, Called, ErrorKind, KillPermit as _, KillTarget, ROOM_TO_ASK_AGAIN};
use crate::domain::tenant::TenantKey;
use crate::kill::claim::Claims;
use crate::kill::context::Context;
use crate::metrics::labels::{Call, Code};

/// Sends the call that `claims` permit, and returns the operation that was called last.
///
/// After a refusal before execution, the same attempt asks again if the backend knows another way, each at most once, or after
/// a pause if it was throttled.
pub async fn dispatch(
    context: &Context,
    key: &Arc<TenantKey>,
    route: &Route,
    mut claims: Claims,
    target: &KillTarget,
) -> (Operation, Called<Claims>) {
    let trace_id = claims.first_uid().and_then(|uid| context.traces.trace_id(uid));
    let (mut request, mut ways) = (0, vec![]);
    loop {
        // Waits for a permit only until the claims expire; without a permit nothing was sent.
        let limit = claims.time_left().unwrap_or_default();
        let permit = match context.call_permits.acquire(key, Lane::Kills, limit).await {
            Ok(permit) => permit,
            Err(error) => return (route.backend.operation(), Called::NotExecuted(claims, error)),
        };
        let started = Instant::now();
        let Asked { operation, called, retry_as, learned } = route.backend.kill(claims, target, request).await;
        let error =
            if let Called::NotExecuted(_, error) | Called::InPart(_, _, error) | Called::Ambiguous(error) = &called {
                Some(error)
            } else {
                None
            };
        context.call_permits.heard(key, started.elapsed(), error);
        drop(permit);
        count(context, operation, &called, started.elapsed(), trace_id.clone());
        context.connection_states.pace(route.connection(), error);
        if let (Some(learned), Some(error)) = (learned, error) {
            log_learned(route, learned, error);
        }
        let (refused, error) = match called {
            Called::NotExecuted(claims, error) => (claims, error),
            called => return (operation, called),
        };
        let goes_on = match retry_as {
            Some(way) if ways.contains(&way) => false,
            Some(way) => {
                ways.push(way);
                true
            }
            None if matches!(error.kind, ErrorKind::Throttled { .. }) => waits_for_turn(context, route, &refused).await,
            None => false,
        };
        if !goes_on {
            return (operation, Called::NotExecuted(refused, error));
        }
        claims = refused;
        request += 1;
    }
}

fn count(context: &Context, operation: Operation, called: &Called<Claims>, took: Duration, trace_id: Option<String>) {
    let code = match called {
        Called::Answered(_) => Some(Code::Ok),
        Called::NotExecuted(_, error) | Called::InPart(_, _, error) | Called::Ambiguous(error) => Code::of(error),
    };
    if let Some(code) = code {
        context.metrics.called(Call::Kill(operation), code, took, trace_id);
    }
}

fn log_learned(route: &Route, learned: &str, error: &CallError) {
    let (connection, namespace) = (route.connection().name(), route.used.namespace());
    let endpoint = route.backend.endpoint();
    tracing::warn!(%error, connection, endpoint, learned, namespace, "a refused call shows how to call from now on");
}

/// Waits for another slot of the rate limit while holding the claims, as releasing and claiming again costs each
/// request four writes. Returns false if the slot is too late.
async fn waits_for_turn(context: &Context, route: &Route, claims: &Claims) -> bool {
    let Some(room) = claims.time_left().and_then(|left| left.checked_sub(ROOM_TO_ASK_AGAIN)) else { return false };
    let wait = context.connection_states.reserve(route.connection(), 1);
    if wait > room {
        return false;
    }
    tokio::time::sleep(wait).await;
    true
}
