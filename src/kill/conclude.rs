//! Steps 7 and 9: settles and records what a call came to for each of its requests. Does I/O.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::api::{Operation, SessionKillReceiptStatus, SessionOutcome, SessionReason, SessionStatus};
use crate::connections::route::Route;
use crate::domain::backend::CallError;
use crate::domain::kill::conclusion::{Conclusion, dispatch as dispatch_of};
use crate::domain::kill::outcome::{for_sent, from_answer, rejected, target_mismatch};
use crate::domain::kill::rows::rows_of;
use crate::domain::kill::status::InVerification;
use crate::domain::kill::verification::followed_until;
use crate::domain::session::Row;
use crate::domain::tenant::TenantKey;
use crate::kill::audit;
use crate::kill::context::Context;
use crate::kill::live_claims::LiveReceipt;
use crate::kill::request::Request;
use crate::kill::settle::{Settled, record};
use crate::metrics::labels::Stage;
use crate::traces::Span;

/// The most records of one call written at once, so that one that is refused for long does not block the others.
const RECORDS_OF_GROUP: usize = 4;

/// A request whose call was made, until its conclusion.
pub struct Made {
    pub request: Request,
    /// The receipt of its claim.
    pub receipt: Arc<LiveReceipt>,
    /// The call, and the state of its sessions.
    pub call: InVerification,
    /// Why an unknown outcome is unknown.
    pub detail: String,
    /// The index of each session whose outcome was unknown after the call, and the reason.
    unknown: Vec<(usize, SessionReason)>,
}

/// The answer to a call.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The operation that was called.
    pub operation: Operation,
    /// Whether it has a row for each session that was ended.
    pub answers_each_session: bool,
    pub request_id: &'a str,
    pub rows: &'a [Row],
}

/// Concludes `made`, all of the tenant of `key`, in their order: first the statuses that people wait for, then the
/// records. While one status is not stored, its record waits and the others do not.
pub async fn conclude_all(context: Arc<Context>, key: Arc<TenantKey>, made: Vec<Made>) {
    let (records, mut to_record) = mpsc::unbounded_channel();
    let turn = context.endings.in_order(TenantKey::clone(&key)).await;
    let settling = |made: Made| {
        let records = records.clone();
        async move {
            // The receiver lives as long as any sender.
            let _ = records.send(made.settle().await);
        }
    };
    context.write_slots.write_each(&key, made, settling).await;
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
    // A record means that its audit line is written, so write the line first.
    context.audit.written().await;
    let started = Instant::now();
    record(context, key, &receipt, &status).await;
    context.traces.add(&Span::part(&receipt.spec.session_kill_ref.uid, "record", started.elapsed()));
}

impl Made {
    /// After a call that was answered.
    pub fn answered(request: Request, receipt: Arc<LiveReceipt>, answer: &Answer<'_>, route: &Route) -> Self {
        let Answer { operation, answers_each_session, request_id, rows } = *answer;
        let (sessions, planned) = (&request.object.spec.sessions, &receipt.spec.sessions);
        let rows = &rows_of(&request.object, rows);
        let differing = target_mismatch(sessions, planned, rows);
        if let Some(named) = &differing {
            request.context.metrics.target_mismatch();
            request.context.events.target_mismatch(&request.object, named);
        }
        let policy = route.connection().spec().sql_text;
        let outcomes = from_answer(sessions, planned, (answers_each_session, rows), policy, Timestamp::now());
        let detail = if answers_each_session {
            "the answer has no row for them, or the process list could not be read"
        } else {
            "its answer names no session, and the process list could not be read"
        };
        // One that got no certain answer may still be executed.
        let is_answered = outcomes.iter().all(|session| session.reason != SessionReason::AnswerLost);
        let until = followed_until(&receipt, &request.object.spec.verification, is_answered, Timestamp::now());
        let mut made = Self::new(request, receipt, operation, outcomes, request_id, detail.to_owned());
        made.call.target_mismatch = differing;
        made.call.until = until;
        made
    }

    /// After a call without a conclusive answer: only the process list can tell what happened to its sessions.
    pub fn unanswered(request: Request, receipt: Arc<LiveReceipt>, operation: Operation, error: &CallError) -> Self {
        let sessions = for_sent(&receipt.spec.sessions, SessionOutcome::Unknown, SessionReason::AnswerLost);
        let detail =
            format!("the call was sent and no certain answer came ({error}), and the process list could not be read");
        let verification = &request.object.spec.verification;
        let until = followed_until(&receipt, verification, false, Timestamp::now());
        let mut made = Self::new(request, receipt, operation, sessions, &error.request_id, detail);
        made.call.until = until;
        made
    }

    /// After a call that the API refused before execution and would refuse again: the request ends with it.
    pub fn rejected(request: Request, receipt: Arc<LiveReceipt>, operation: Operation, error: &CallError) -> Self {
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

    /// Step 7: ends a request after its call. Returns what to record in its receipt.
    async fn settle(self) -> (Arc<LiveReceipt>, SessionKillReceiptStatus) {
        let Self { request, receipt, call, detail, unknown } = self;
        request.enters(Stage::Settling);
        for (place, cause) in unknown {
            request.context.metrics.unknown_resolved(cause, call.sessions[place].outcome);
        }
        let mut conclusion = Conclusion {
            target_mismatch: call.target_mismatch,
            ..Conclusion::called(call.sessions, call.dispatch, &detail).of_matched(receipt.spec.matched)
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
