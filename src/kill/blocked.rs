//! Step 2: the route to a batch's connection, or the reason why its requests cannot go on. Does I/O.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;

use crate::api::WaitReason;
use crate::connections::allowed_use::NotAllowed;
use crate::connections::call_permits::Lane;
use crate::connections::connection::Connection;
use crate::connections::probe::ask;
use crate::connections::route::{Purpose, Route, RouteError, lists_apart};
use crate::domain::backend::{CallError, ErrorKind, Tenant};
use crate::domain::kill::admission::admit;
use crate::domain::kill::plan::Intent;
use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::request::Request;
use crate::kubernetes::calls::ApiError;
use crate::metrics::labels::Call;
use crate::queue::permits::Permit;

/// Why a batch cannot go on.
pub enum Blocked {
    NotAllowed(String),
    Waits(WaitReason, String),
    Unanswered(ApiError),
}

impl From<NotAllowed> for Blocked {
    fn from(not_allowed: NotAllowed) -> Self {
        match not_allowed {
            NotAllowed::Refused(message) => Self::NotAllowed(message),
            NotAllowed::Waits(reason, message) => Self::Waits(reason, message),
            NotAllowed::Unanswered(error) => Self::Unanswered(error),
        }
    }
}

/// Step 2. All requests of a batch have the same connection, instance and tenant. Whoever may not use the connection is told
/// nothing else of it. What stops those that only list, with an access key of their own, need not stop the kills, nor the other
/// way round.
pub async fn route(context: &Arc<Context>, request: &Request, purpose: Purpose) -> Result<Route, Blocked> {
    let used = context.allowances.ask(&request.key).await?;
    let connection = used.connection().clone();
    admit(&request.object.spec, connection.spec()).map_err(Blocked::NotAllowed)?;
    let shares_fate = purpose == Purpose::Kills || !lists_apart(&connection);
    if shares_fate && let Some((reason, message)) = context.connection_states.blocked_just_now(&connection) {
        return Err(Blocked::Waits(reason, message));
    }
    context.routes.to(used, purpose).await.map_err(|error| match error {
        RouteError::Api(error) => Blocked::Unanswered(error),
        RouteError::Unavailable(reason, message) => {
            context.connection_reports.failed(&connection, reason, &message);
            if shares_fate {
                context.connection_states.block(&connection, reason, &message);
            }
            Blocked::Waits(reason, message)
        }
    })
}

/// Probes a connection that did not answer its last call, with a call that ends nothing: otherwise claims would be made
/// in vain. The waiting batches probe one after the other until it answers.
pub async fn answers(context: &Arc<Context>, key: &Arc<TenantKey>, route: &Route) -> Result<(), Blocked> {
    if !context.call_permits.is_silent(key) {
        return Ok(());
    }
    let blocked = |error: &CallError| {
        let (reason, message) = (WaitReason::EndpointUnreachable, format!("not executed, {error}"));
        let connection = route.connection();
        let advice = format!("check the endpoint {}, DNS, network policies and certificates", route.backend.endpoint());
        context.connection_reports.failed(connection, reason, &message);
        let message = format!("{connection}: {message}: {advice}");
        context.connection_states.block(connection, reason, &message);
        Blocked::Waits(reason, message)
    };
    let permit = permit(context, key, route).await?.map_err(|error| blocked(&error))?;
    if !context.call_permits.is_silent(key) {
        return Ok(());
    }
    let started = Instant::now();
    let (_, answer) = ask(&context.routes, route).await;
    let error = answer.err();
    context.call_permits.heard(key, started.elapsed(), error.as_ref());
    drop(permit);
    match error.filter(|_| context.call_permits.is_silent(key)) {
        Some(error) => Err(blocked(&error)),
        None => Ok(()),
    }
}

/// Opens the connection to a backend that has one, and finds out whether the other side is what the connection says: otherwise
/// claims would be made in vain.
pub async fn open(context: &Arc<Context>, key: &Arc<TenantKey>, route: &Route, of: &Tenant) -> Result<(), Blocked> {
    if route.backend.is_open(of) {
        return Ok(());
    }
    let blocked = |error: &CallError| {
        let connection = route.connection();
        if error.kind == ErrorKind::NotAllowed {
            return Blocked::NotAllowed(format!("{connection}: {}", error.message));
        }
        let refusal = route.backend.refusal(Call::Connect.as_str(), &of.instance_id, error);
        let (reason, message) =
            refusal.unwrap_or_else(|| (WaitReason::EndpointUnreachable, format!("not executed, {error}")));
        context.connection_reports.failed(connection, reason, &message);
        let message = format!("{connection}: {message}");
        context.connection_states.block(connection, reason, &message);
        Blocked::Waits(reason, message)
    };
    let permit = permit(context, key, route).await?.map_err(|error| blocked(&error))?;
    let started = Instant::now();
    let opened = context.routes.read(route, Call::Connect, |_| route.backend.open(of).boxed()).await;
    context.call_permits.heard(key, started.elapsed(), opened.as_ref().err());
    drop(permit);
    opened.map_err(|error| blocked(&error))
}

/// A permit for a call that ends nothing. That a namespace gets none, as it has too many calls under way, says nothing of a
/// connection which others use too: then only the requests of this namespace wait.
async fn permit(context: &Context, key: &Arc<TenantKey>, route: &Route) -> Result<Result<Permit, CallError>, Blocked> {
    let permit = context.call_permits.acquire(key, Lane::Kills, Lane::Kills.patience()).await;
    match (permit, route.connection()) {
        (Err(error), connection @ Connection::Cluster(..)) => {
            Err(Blocked::Waits(WaitReason::EndpointUnreachable, format!("{connection}: not executed, {error}")))
        }
        (permit, _) => Ok(permit),
    }
}

pub async fn block(context: &Context, attempts: Vec<(Request, Intent)>, blocked: &Blocked) {
    let blocking = async |(request, intent): (Request, Intent)| {
        let next = match blocked {
            Blocked::NotAllowed(refusal) => match request.end_not_allowed(&intent, refusal.clone()).await {
                Ok(next) => next,
                Err(error) => request.put_off(&error).await,
            },
            Blocked::Waits(reason, message) => request.wait(*reason, message.clone(), None).await,
            Blocked::Unanswered(error) => request.put_off(error).await,
        };
        request.done(next);
    };
    context.write_slots.collect_each(attempts, blocking).await;
}
