//! What a call came to: its answer is verified, settled and recorded; its refusal ends the request or makes it wait. Does
//! I/O.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::audit;
use super::claim::{Claim, release};
use super::dispatch::{dispatch, row, target};
use super::queue::{Item, Next};
use super::refusal::refusal;
use super::request::{API_PAUSE, Request};
use super::route::Route;
use super::settle::record;
use super::verify::{Made, verify};
use crate::api::{Operation, Outcome, SessionKillReceipt, SessionOutcome, SessionReason, SessionStatus};
use crate::domain::conclusion::{Conclusion, dispatch as dispatch_of};
use crate::domain::outcome::{Row, for_sent, from_answer, target_mismatch};
use crate::domain::status::InVerification;
use crate::domain::verification::is_open;
use crate::oceanbase::answer::KillAnswer;
use crate::oceanbase::{CallError, Called, ErrorKind};

/// A call may reach its execution this long after its dispatch deadline: until then a session that is still there may
/// yet be killed by a call of which no answer came.
const EXECUTION_MARGIN: SignedDuration = SignedDuration::from_secs(2);

impl Request<'_> {
    /// Steps 6 to 8: the call, then what it left.
    pub(super) async fn call(&self, claim: Claim, route: Route, item: &Item) -> Next {
        let receipt = claim.receipt().clone();
        let target = target(&self.object.spec, &receipt.spec.sessions);
        let (operation, called) = dispatch(self.context, &route, claim, target).await;
        let made = match called {
            Called::Answered(answer) => self.answered(receipt, operation, answer, &route),
            Called::Ambiguous(error) => self.unanswered_call(receipt, operation, &error),
            Called::NotExecuted(claim, error) => {
                release(self.context, claim).await;
                return self.not_executed(&route, operation, &receipt.spec.sessions, &error).await;
            }
        };
        if !is_open(&made.call.sessions, self.object.spec.verification.policy) {
            let call = made.call;
            let target_mismatch = call.target_mismatch;
            let conclusion =
                Conclusion { target_mismatch, ..Conclusion::called(call.sessions, call.dispatch, &made.detail) };
            return self.conclude(&made.receipt, &conclusion).await;
        }
        // Off the tenant's queue: the next kill must not wait for the end of this one's verification.
        self.context.tasks.spawn(verify(self.context.clone(), self.object.clone(), item.clone(), made));
        Next::HandedOver
    }

    fn answered(&self, receipt: SessionKillReceipt, operation: Operation, answer: KillAnswer, route: &Route) -> Made {
        self.context.connection_states.answered(self.context, &route.connection);
        tracing::info!(receipt = receipt.name_any(), request_id = answer.request_id, "call answered");
        let rows: Vec<Row> = answer.rows.into_iter().map(row).collect();
        let (sessions, planned) = (&self.object.spec.sessions, &receipt.spec.sessions);
        let differing = target_mismatch(sessions, planned, &rows);
        if let Some(named) = &differing {
            self.context.metrics.target_mismatch();
            self.context.events.target_mismatch(self.object, named);
        }
        let policy = route.connection.spec.sql_text;
        let outcomes = from_answer(sessions, planned, (operation, &rows), policy, Timestamp::now());
        let detail = match operation {
            Operation::KillProcessList => "the answer has no row for them, or the process list could not be read",
            Operation::BatchKillProcessList => "its answer names no session, and the process list could not be read",
        };
        let made = self.made(receipt, operation, outcomes, &answer.request_id, detail.to_owned());
        Made { call: InVerification { target_mismatch: differing, ..made.call }, ..made }
    }

    /// The call was sent and no certain answer came: only an observation can tell what became of the sessions.
    fn unanswered_call(&self, receipt: SessionKillReceipt, operation: Operation, error: &CallError) -> Made {
        tracing::warn!(receipt = receipt.name_any(), %error, "call sent and not answered for certain");
        let sessions = for_sent(&receipt.spec.sessions, SessionOutcome::Unknown, SessionReason::AnswerLost);
        let detail =
            format!("the call was sent and no certain answer came ({error}), and the process list could not be read");
        let latest = receipt.spec.dispatch_deadline_time.0.saturating_add(EXECUTION_MARGIN).unwrap_or(Timestamp::MAX);
        let mut made = self.made(receipt, operation, sessions, &error.request_id, detail);
        made.call.until = made.call.until.max(latest);
        made
    }

    fn made(
        &self,
        receipt: SessionKillReceipt,
        operation: Operation,
        sessions: Vec<SessionStatus>,
        request_id: &str,
        detail: String,
    ) -> Made {
        let timeout = SignedDuration::from_secs(self.object.spec.verification.timeout_seconds.into());
        let call = InVerification {
            dispatch: dispatch_of(&receipt, operation, request_id),
            sessions,
            target_mismatch: None,
            until: Timestamp::now().saturating_add(timeout).unwrap_or(Timestamp::MAX),
        };
        Made { receipt, call, detail }
    }

    /// Step 7: the end of a request whose call was made.
    pub(super) async fn conclude(&self, receipt: &SessionKillReceipt, conclusion: &Conclusion) -> Next {
        audit::kill(receipt, conclusion, self.object.spec.reason.as_deref());
        let next = self.end(conclusion).await;
        record(self.context, receipt, conclusion.record(Timestamp::now()));
        next
    }

    /// The call was provably not executed and its claim is released: end, or wait and try again.
    async fn not_executed(
        &self,
        route: &Route,
        operation: Operation,
        planned: &[SessionStatus],
        error: &CallError,
    ) -> Next {
        match error.kind {
            ErrorKind::Rejected => return self.rejected(planned, error).await,
            ErrorKind::CredentialsRejected => route.forget_access_key(self.context),
            _ => {}
        }
        let Some((reason, message)) = refusal(route, operation.as_str(), &self.object.spec.instance_id, error) else {
            // Nothing is wrong with the connection: the next attempt has a new deadline.
            return Next::Later(Timestamp::now() + API_PAUSE);
        };
        self.context.connection_states.failed(self.context, &route.connection, reason, &message);
        let pause = match error.kind {
            ErrorKind::Throttled { retry_after } => retry_after,
            _ => None,
        };
        let connection = route.connection.name_any();
        self.wait(reason, format!("OceanBaseConnection {connection}: {message}"), pause).await
    }

    /// The same request would be refused again, so this is its end.
    async fn rejected(&self, planned: &[SessionStatus], error: &CallError) -> Next {
        let sessions = for_sent(planned, SessionOutcome::Failed, SessionReason::RequestRejected);
        let message = format!("refused by the API before execution, {error}: correct it in a new SessionKill");
        self.end(&Conclusion::uncalled(Outcome::KillFailed, message, sessions)).await
    }
}
