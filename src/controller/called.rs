//! What a call came to: its answer is verified, settled and recorded. One that was not executed is left to `released`, unless
//! its refusal is the end of its requests. Does I/O.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::audit;
use super::claim::{Claim, Claims};
use super::context::Context;
use super::dispatch::{dispatch, row, target, tenant};
use super::live_claims::LiveReceipt;
use super::released::{Meaning, Refused};
use super::request::Request;
use super::route::Route;
use super::settle::{Settled, record};
use super::spans;
use super::tenant::TenantKey;
use super::verify::verify;
use super::writes::write_each;
use crate::api::{Operation, SessionKillReceiptStatus, SessionOutcome, SessionReason, SessionStatus};
use crate::domain::conclusion::{Conclusion, dispatch as dispatch_of};
use crate::domain::outcome::{Row, for_sent, from_answer, rejected, target_mismatch};
use crate::domain::status::InVerification;
use crate::domain::verification::{followed_until, is_open};
use crate::metrics::labels::{Code, Stage};
use crate::oceanbase::{CallError, Called};
use crate::traces::Span;

/// The most records of one call that are on their way at once: one that is refused for long keeps no other from being written.
const RECORDS_OF_GROUP: usize = 4;

/// A request with its claim.
pub(super) struct Member {
    pub(super) request: Request,
    pub(super) claim: Claim,
}

/// A request whose call was made, on the way to its conclusion.
pub(super) struct Made {
    pub(super) request: Request,
    /// The receipt of its claim.
    pub(super) receipt: Arc<LiveReceipt>,
    /// The call, and how its sessions stand.
    pub(super) call: InVerification,
    /// Why an outcome that cannot be told cannot.
    pub(super) detail: String,
    /// The sessions, by their place, of which it was open after the call what became of them, and why.
    unknown: Vec<(usize, SessionReason)>,
}

/// Steps 6 to 8: one call for all `members`, of which there is at least one, then what it left for each. Returns those that are
/// to go out again in smaller calls, without their claims.
pub(super) async fn call(
    context: &Arc<Context>,
    key: &Arc<TenantKey>,
    route: &Route,
    members: Vec<Member>,
) -> Vec<Request> {
    let (requests, claims): (Vec<Request>, Vec<Claim>) =
        members.into_iter().map(|member| (member.request, member.claim)).unzip();
    let receipts: Vec<Arc<LiveReceipt>> = claims.iter().map(|claim| claim.receipt().clone()).collect();
    let target = target(tenant(&requests[0].object.spec), &receipts);
    let size = target.sessions.len();
    context.metrics.batch(requests.len(), size);
    for request in &requests {
        request.enters(Stage::Calling);
    }
    let started = Instant::now();
    let (operation, called) = dispatch(context, key, route, Claims::of(claims), target).await;
    trace(context, &receipts, (operation, &called), started.elapsed());
    let called_for = requests.into_iter().zip(receipts);
    let made: Vec<Made> = match called {
        Called::Answered(answer) => {
            context.connection_states.answered(context, &route.connection);
            context.connection_states.call_size(&route.connection, |known| known.took(size));
            let requests = called_for.len();
            tracing::info!(request_id = answer.request_id, operation = operation.as_str(), requests, "call answered");
            let rows: Vec<Row> = answer.rows.into_iter().map(row).collect();
            let answered =
                |(request, receipt)| Made::answered(request, receipt, operation, (&answer.request_id, &rows), route);
            called_for.map(answered).collect()
        }
        Called::Ambiguous(error) => {
            tracing::warn!(%error, requests = called_for.len(), "call sent and not answered for certain");
            called_for.map(|(request, receipt)| Made::unanswered(request, receipt, operation, &error)).collect()
        }
        Called::NotExecuted(claims, error) => {
            let members: Vec<_> = called_for.map(|(request, _)| request).zip(claims.into_inner()).collect();
            let refused = Refused { context, key, route, operation, error: &error };
            match refused.meaning(&members, size) {
                Meaning::Waits => return refused.wait(members).await,
                Meaning::Narrows(sharing) => return refused.narrow(members, sharing).await,
                // Its claim becomes the record: released, it would let an operator that has not seen the end send the request
                // again.
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
    // Off the tenant's queue: the next kill must not wait for what becomes of this one.
    if !told.is_empty() {
        context.tasks.spawn(conclude_all(context.clone(), key.clone(), told));
    }
    if !open.is_empty() {
        for made in &open {
            made.request.enters(Stage::Verifying);
        }
        context.tasks.spawn(verify(context.clone(), key.clone(), open));
    }
    vec![]
}

/// Each request has the call in its own trace.
fn trace(
    context: &Context,
    receipts: &[Arc<LiveReceipt>],
    (operation, called): (Operation, &Called<Claims>),
    took: Duration,
) {
    let (request_id, code) = match called {
        Called::Answered(answer) => (&answer.request_id, Some(Code::Ok)),
        Called::NotExecuted(_, error) | Called::Ambiguous(error) => (&error.request_id, Code::of(error)),
    };
    let (Some(first), Some(code)) = (receipts.first(), code) else { return };
    for receipt in receipts.iter().filter(|receipt| context.traces.has(&receipt.spec.session_kill_ref.uid)) {
        context.traces.add(&spans::call(receipt, first, (operation, request_id, code), took));
    }
}

/// Concludes all of `made`, which are of the tenant of `key`, in their order: first what people wait for, then the records. One
/// whose status is not stored is recorded when that is given up, and holds up none of the others.
pub(super) async fn conclude_all(context: Arc<Context>, key: Arc<TenantKey>, made: Vec<Made>) {
    let (records, mut to_record) = mpsc::unbounded_channel();
    let turn = context.endings.in_order(TenantKey::clone(&key)).await;
    let settling = |made: Made| {
        let records = records.clone();
        async move {
            // The receiver is there for as long as any of these is.
            let _ = records.send(made.settle().await);
        }
    };
    write_each(&context, &key, made, settling).await;
    drop((turn, records));
    let mut recording = FuturesUnordered::new();
    loop {
        tokio::select! {
            record = to_record.recv(), if recording.len() < RECORDS_OF_GROUP => match record {
                Some((receipt, status)) => recording.push(record_one(&context, &key, receipt, status)),
                None => break,
            },
            Some(()) = recording.next() => {}
        }
    }
    while let Some(()) = recording.next().await {}
}

async fn record_one(
    context: &Context,
    key: &Arc<TenantKey>,
    receipt: Arc<LiveReceipt>,
    status: SessionKillReceiptStatus,
) {
    // Whoever finds a record takes its line for written.
    context.audit.written().await;
    let started = Instant::now();
    record(context, key, &receipt, &status).await;
    context.traces.add(&Span::part(&receipt.spec.session_kill_ref.uid, "record", started.elapsed()));
}

impl Made {
    fn answered(
        request: Request,
        receipt: Arc<LiveReceipt>,
        operation: Operation,
        (request_id, rows): (&str, &[Row]),
        route: &Route,
    ) -> Self {
        let (sessions, planned) = (&request.object.spec.sessions, &receipt.spec.sessions);
        let differing = target_mismatch(sessions, planned, rows);
        if let Some(named) = &differing {
            request.context.metrics.target_mismatch();
            request.context.events.target_mismatch(&request.object, named);
        }
        let policy = route.connection.spec.sql_text;
        let outcomes = from_answer(sessions, planned, (operation, rows), policy, Timestamp::now());
        let detail = match operation {
            Operation::KillProcessList => "the answer has no row for them, or the process list could not be read",
            Operation::BatchKillProcessList => "its answer names no session, and the process list could not be read",
        };
        let mut made = Self::new(request, receipt, operation, outcomes, request_id, detail.to_owned());
        made.call.target_mismatch = differing;
        made
    }

    /// The call was sent and no certain answer came: only an observation can tell what became of the sessions.
    fn unanswered(request: Request, receipt: Arc<LiveReceipt>, operation: Operation, error: &CallError) -> Self {
        let sessions = for_sent(&receipt.spec.sessions, SessionOutcome::Unknown, SessionReason::AnswerLost);
        let detail =
            format!("the call was sent and no certain answer came ({error}), and the process list could not be read");
        let verification = &request.object.spec.verification;
        let until = followed_until(&receipt, verification, false, Timestamp::now());
        let mut made = Self::new(request, receipt, operation, sessions, &error.request_id, detail);
        made.call.until = until;
        made
    }

    /// The API refused the call before execution and would refuse it again, so this is its end.
    fn rejected(request: Request, receipt: Arc<LiveReceipt>, operation: Operation, error: &CallError) -> Self {
        let sessions = rejected(&receipt.spec.sessions, &error.to_string());
        Self::new(request, receipt, operation, sessions, &error.request_id, String::new())
    }

    fn new(
        request: Request,
        receipt: Arc<LiveReceipt>,
        operation: Operation,
        sessions: Vec<SessionStatus>,
        request_id: &str,
        detail: String,
    ) -> Self {
        let is_unknown = |(_, session): &(usize, &SessionStatus)| session.outcome == SessionOutcome::Unknown;
        let unknown = sessions.iter().enumerate().filter(is_unknown).map(|(place, session)| (place, session.reason));
        let unknown: Vec<_> = unknown.inspect(|(_, cause)| request.context.metrics.unknown(*cause)).collect();
        let call = InVerification {
            dispatch: dispatch_of(&receipt, operation, request_id),
            sessions,
            target_mismatch: None,
            until: followed_until(&receipt, &request.object.spec.verification, true, Timestamp::now()),
        };
        Self { request, receipt, call, detail, unknown }
    }

    /// Step 7: the end of a request whose call was made. Returns what is to be recorded in its receipt.
    async fn settle(self) -> (Arc<LiveReceipt>, SessionKillReceiptStatus) {
        let Self { request, receipt, call, detail, unknown } = self;
        request.enters(Stage::Settling);
        for (place, cause) in unknown {
            request.context.metrics.unknown_resolved(cause, call.sessions[place].outcome);
        }
        let mut conclusion = Conclusion {
            target_mismatch: call.target_mismatch,
            ..Conclusion::called(call.sessions, call.dispatch, &detail)
        };
        let trace_id = request.context.traces.trace_id(&request.item.uid);
        let why = request.object.spec.reason.as_deref();
        conclusion.is_unaudited = !audit::kill(&request.context.audit, &receipt, &conclusion, why, trace_id);
        let (next, settled) = request.end_called(&conclusion).await;
        if settled == Settled::Refused {
            audit::not_stored(&request.context.audit, &receipt, &conclusion, why);
        }
        request.done(next);
        (receipt, conclusion.record(Timestamp::now()))
    }
}
