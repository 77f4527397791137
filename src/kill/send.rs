//! Sends one call for a batch and passes its result on: to be verified, concluded or tried again. Does I/O.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::Operation;
use crate::connections::route::Route;
use crate::domain::backend::Called;
use crate::domain::kill::rows::is_sent;
use crate::domain::kill::verification::is_open;
use crate::domain::tenant::TenantKey;
use crate::kill::call::dispatch;
use crate::kill::claim::{Claim, Claims};
use crate::kill::conclude::{Answer, Made, conclude_all};
use crate::kill::context::Context;
use crate::kill::live_claims::LiveReceipt;
use crate::kill::released::{Meaning, Refused};
use crate::kill::request::Request;
use crate::kill::spans;
use crate::kill::target::{target, tenant};
use crate::kill::verify::verify;
use crate::metrics::labels::{Code, Stage};

/// A request with its claim.
pub struct Member {
    pub request: Request,
    pub claim: Claim,
}

/// Steps 6 to 8: one call for `members`, at least one, then what follows for each. Returns the requests that must go
/// out again in smaller calls, without their claims.
pub async fn call(context: &Arc<Context>, key: &Arc<TenantKey>, route: &Route, members: Vec<Member>) -> Vec<Request> {
    let (requests, claims): (Vec<Request>, Vec<Claim>) =
        members.into_iter().map(|member| (member.request, member.claim)).unzip();
    let receipts: Vec<Arc<LiveReceipt>> = claims.iter().map(|claim| claim.receipt().clone()).collect();
    let claimed = requests.iter().map(|request| request.object.as_ref()).zip(&receipts);
    let target = target(tenant(&requests[0].object.spec), claimed);
    let size = target.sessions.len();
    context.metrics.batch(requests.len(), size);
    for request in &requests {
        request.enters(Stage::Calling);
    }
    let started = Instant::now();
    let (operation, called) = dispatch(context, key, route, Claims::of(claims), &target).await;
    trace(context, &receipts, (operation, &called), started.elapsed());
    let called_for = requests.into_iter().zip(receipts);
    let answers_each_session = route.backend.guarantees(operation).answers_each_session;
    let mut again = vec![];
    let made: Vec<Made> = match called {
        Called::Answered(answer) => {
            context.connection_reports.answered(route.connection());
            context.connection_states.call_size(route.connection(), key.namespace(), |known| known.took(size));
            let requests = called_for.len();
            tracing::info!(request_id = answer.request_id, operation = operation.as_str(), requests, "call answered");
            let answer = Answer { operation, answers_each_session, request_id: &answer.request_id, rows: &answer.rows };
            let answered = |(request, receipt)| Made::answered(request, receipt, &answer, route);
            called_for.map(answered).collect()
        }
        Called::InPart(claims, answer, error) => {
            tracing::warn!(%error, requests = called_for.len(), "call ended before its last session");
            // The claim of a request stays with it if anything was sent under it: what was not sent is told in its outcome.
            let members = called_for.zip(claims.into_inner());
            let (sent, unsent): (Vec<_>, Vec<_>) =
                members.partition(|((request, _), _)| is_sent(&request.object, &answer.rows));
            let answer = Answer { operation, answers_each_session, request_id: &answer.request_id, rows: &answer.rows };
            let unsent: Vec<_> = unsent.into_iter().map(|((request, _), claim)| (request, claim)).collect();
            if !unsent.is_empty() {
                let refused = Refused { context, key, route, operation, error: &error };
                again = refused.go_on(unsent).await;
            }
            sent.into_iter().map(|((request, receipt), _)| Made::answered(request, receipt, &answer, route)).collect()
        }
        Called::Ambiguous(error) => {
            tracing::warn!(%error, requests = called_for.len(), "call sent and not answered for certain");
            called_for.map(|(request, receipt)| Made::unanswered(request, receipt, operation, &error)).collect()
        }
        Called::NotExecuted(claims, error) => {
            let members: Vec<_> = called_for.map(|(request, _)| request).zip(claims.into_inner()).collect();
            let refused = Refused { context, key, route, operation, error: &error };
            if context.routes.renews(route, operation.as_str(), &error) {
                return refused.go_on(members).await;
            }
            match refused.meaning(&members, size) {
                Meaning::Waits => return refused.wait(members).await,
                Meaning::Narrows(sharing) => return refused.narrow(members, sharing).await,
                // Keep the claim as the record: if it were released, an operator that has not seen the end could send
                // the request again.
                Meaning::Ends => {
                    let ends = |(request, claim): (Request, Claim)| {
                        Made::rejected(request, claim.receipt().clone(), operation, &error)
                    };
                    members.into_iter().map(ends).collect()
                }
            }
        }
    };
    let has_more = |made: &Made| is_open(&made.call.sessions, made.request.object.spec.verification.policy);
    let (open, told): (Vec<Made>, Vec<Made>) = made.into_iter().partition(has_more);
    // In other tasks: the tenant's next kill must not wait for the outcome of this one.
    if !told.is_empty() {
        context.tasks.spawn(conclude_all(context.clone(), key.clone(), told));
    }
    if !open.is_empty() {
        for made in &open {
            made.request.enters(Stage::Verifying);
        }
        context.tasks.spawn(verify(context.clone(), key.clone(), open));
    }
    again
}

/// Adds the call to the trace of each request.
fn trace(
    context: &Context,
    receipts: &[Arc<LiveReceipt>],
    (operation, called): (Operation, &Called<Claims>),
    took: Duration,
) {
    let (request_id, code) = match called {
        Called::Answered(answer) => (&answer.request_id, Some(Code::Ok)),
        Called::NotExecuted(_, error) | Called::InPart(_, _, error) | Called::Ambiguous(error) => {
            (&error.request_id, Code::of(error))
        }
    };
    let (Some(first), Some(code)) = (receipts.first(), code) else { return };
    for receipt in receipts.iter().filter(|receipt| context.traces.has(&receipt.spec.session_kill_ref.uid)) {
        context.traces.add(&spans::call(receipt, first, (operation, request_id, code), took));
    }
}
