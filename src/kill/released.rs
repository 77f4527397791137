//! Handles a call that was provably not executed: releases its claims, and lets its requests wait or go out in smaller
//! calls. Does I/O.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::Operation;
use crate::connections::route::Route;
use crate::domain::backend::{CallError, ErrorKind};
use crate::domain::kill::sharing::{CallSize, Sharing};
use crate::domain::tenant::TenantKey;
use crate::kill::claim::{Claim, release};
use crate::kill::context::Context;
use crate::kill::request::{API_PAUSE, Request};
use crate::metrics::labels::ClaimResult;
use crate::queue::item::Next;

/// A call that was not executed.
pub struct Refused<'a> {
    pub context: &'a Arc<Context>,
    pub key: &'a Arc<TenantKey>,
    pub route: &'a Route,
    pub operation: Operation,
    pub error: &'a CallError,
}

/// What a refusal means for the requests of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The requests are fine: they wait.
    Waits,
    /// One of the requests, or their number, is the cause: they go out again in smaller calls.
    Narrows(Sharing),
    /// The same call would be refused again: they end.
    Ends,
}

impl Refused<'_> {
    /// What it means for `members`, whose call named `sessions` sessions. Also learns how many the gateway accepts.
    pub fn meaning(&self, members: &[(Request, Claim)], sessions: usize) -> Meaning {
        if self.error.kind != ErrorKind::Rejected {
            return Meaning::Waits;
        }
        if self.error.is_of_whole_call {
            return Meaning::Ends;
        }
        let states = &self.context.connection_states;
        let (connection, namespace) = (self.route.connection(), self.key.namespace());
        if let Some(sharing) = Sharing::after_refusal(members.len()) {
            states.call_size(connection, namespace, |known| known.refused(sessions));
            return Meaning::Narrows(sharing);
        }
        if members.iter().any(|(request, _)| request.item.sharing.is_narrowed()) {
            states.call_size(connection, namespace, CallSize::explained);
        }
        Meaning::Ends
    }

    /// Releases the claims and returns the requests, which from now on share calls by `sharing`.
    pub async fn narrow(&self, members: Vec<(Request, Claim)>, sharing: Sharing) -> Vec<Request> {
        let (error, requests) = (self.error, members.len());
        tracing::info!(%error, requests, "shared call refused before execution: its requests go out again in halves");
        let mut refused = self.released(members).await;
        for request in &mut refused {
            request.item.sharing = sharing;
        }
        refused
    }

    /// Releases the claims of requests for which nothing was sent, as the call ended before, and returns them.
    pub async fn go_on(&self, members: Vec<(Request, Claim)>) -> Vec<Request> {
        let (error, requests) = (self.error, members.len());
        tracing::info!(%error, requests, "nothing was sent for these requests: they go out again");
        self.released(members).await
    }

    /// Releases the claims and lets the requests wait; returns none to send again now.
    pub async fn wait(&self, members: Vec<(Request, Claim)>) -> Vec<Request> {
        let waiting = async |request: Request| {
            let next = request.not_executed(self.route, self.operation, self.error).await;
            request.done(next);
        };
        let released = self.released(members).await;
        self.context.write_slots.collect_each(released, waiting).await;
        vec![]
    }

    /// Releases the claims and returns the requests.
    async fn released(&self, members: Vec<(Request, Claim)>) -> Vec<Request> {
        let _slot = self.context.call_permits.slots.acquire(self.key).await;
        let releasing = async |(request, claim): (Request, Claim)| {
            release(self.context, claim).await;
            self.context.metrics.claim(ClaimResult::Released);
            request
        };
        self.context.write_slots.collect_each(members, releasing).await
    }
}

impl Request {
    /// After a call that was provably not executed, with its claim released: waits for the next try.
    async fn not_executed(&self, route: &Route, operation: Operation, error: &CallError) -> Next {
        if error.kind == ErrorKind::CredentialsRejected {
            self.context.routes.forget_credentials(route);
        }
        let Some((reason, message)) = route.backend.refusal(operation.as_str(), &self.object.spec.instance_id, error)
        else {
            // The connection is fine: the next attempt has a new deadline.
            return Next::Later(Timestamp::now() + API_PAUSE);
        };
        self.context.connection_reports.kill_failed(route.connection(), reason, &message);
        let pause = match error.kind {
            ErrorKind::Throttled { retry_after } => retry_after,
            _ => None,
        };
        self.wait(reason, format!("{}: {message}", route.connection()), pause).await
    }
}
