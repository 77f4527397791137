//! Step 2 of the kill path: how a group's connection is called, or why none of the group can go on. Does I/O.

use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt as _;

use super::api_calls::ApiError;
use super::calls::Lane;
use super::context::Context;
use super::probe::ask;
use super::request::Request;
use super::route::{Route, RouteError, connection};
use super::tenant::TenantKey;
use super::writes::collect_each;
use crate::api::{Outcome, SessionReason, WaitReason};
use crate::domain::admission::admit;
use crate::domain::conclusion::Conclusion;
use crate::domain::plan::Intent;
use crate::oceanbase::CallError;

/// Why none of a group can go on.
pub(super) enum Blocked {
    NotAllowed(String),
    Waits(WaitReason, String),
    Unanswered(ApiError),
}

/// Step 2. Connection, instance and tenant are the same for all of a group.
pub(super) async fn route(context: &Arc<Context>, request: &Request) -> Result<Route, Blocked> {
    let spec = &request.object.spec;
    let namespace = request.object.namespace().unwrap_or_default();
    let connection = connection(context, &namespace, &spec.connection_ref.name)
        .map_err(|message| Blocked::Waits(WaitReason::ConnectionNotFound, message))?;
    admit(spec, &connection.spec).map_err(Blocked::NotAllowed)?;
    if let Some((reason, message)) = context.connection_states.blocked_just_now(&connection) {
        return Err(Blocked::Waits(reason, message));
    }
    Route::of(context, connection.clone()).await.map_err(|error| match error {
        RouteError::Api(error) => Blocked::Unanswered(error),
        RouteError::Unavailable(reason, message) => {
            context.connection_states.failed(context, &connection, reason, &message);
            context.connection_states.block(&connection, reason, &message);
            Blocked::Waits(reason, message)
        }
    })
}

/// A connection that did not answer its last call is asked first, by a call that ends nothing: claims for one that does not
/// answer would be made for nothing. All that wait for it have their turns one after the other until it does.
pub(super) async fn answers(context: &Arc<Context>, key: &Arc<TenantKey>, route: &Route) -> Result<(), Blocked> {
    if !context.is_silent(key) {
        return Ok(());
    }
    let blocked = |error: &CallError| {
        let (reason, message) = (WaitReason::EndpointUnreachable, format!("not executed, {error}"));
        let connection = route.connection.name_any();
        let advice = format!("check the endpoint {}, DNS, network policies and certificates", route.access.endpoint);
        context.connection_states.failed(context, &route.connection, reason, &message);
        let message = format!("OceanBaseConnection {connection}: {message}: {advice}");
        context.connection_states.block(&route.connection, reason, &message);
        Blocked::Waits(reason, message)
    };
    let permit =
        context.call_permit(key, Lane::Kills, Lane::Kills.patience()).await.map_err(|error| blocked(&error))?;
    if !context.is_silent(key) {
        return Ok(());
    }
    let started = Instant::now();
    let (_, answer) = ask(context, route).await;
    let error = answer.err();
    context.heard(key, started.elapsed(), error.as_ref());
    drop(permit);
    match error.filter(|_| context.is_silent(key)) {
        Some(error) => Err(blocked(&error)),
        None => Ok(()),
    }
}

pub(super) async fn block(context: &Context, attempts: Vec<(Request, Intent)>, blocked: &Blocked) {
    let blocking = async |(request, _): (Request, Intent)| {
        let next = match blocked {
            Blocked::NotAllowed(refusal) => {
                let (outcome, why) = (Outcome::NotAllowed, SessionReason::NotAllowed);
                request.end(&Conclusion::nothing_sent(&request.object, outcome, why, refusal.clone())).await
            }
            Blocked::Waits(reason, message) => request.wait(*reason, message.clone(), None).await,
            Blocked::Unanswered(error) => request.put_off(error).await,
        };
        request.done(next);
    };
    collect_each(context, attempts, blocking).await;
}
