//! What a call came to: its answer is settled and recorded, its refusal ends the request or makes it wait. Does I/O.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::audit;
use super::claim::{Claim, release};
use super::dispatch::{Call, dispatch, row};
use super::queue::Next;
use super::request::{API_PAUSE, Request};
use super::settle::record;
use crate::api::{Outcome, SessionOutcome, SessionReason, WaitReason};
use crate::domain::outcome::{for_all, from_answer};
use crate::domain::status::{Conclusion, dispatch as dispatch_of};
use crate::oceanbase::{CallError, Called, ErrorKind};

impl Request<'_> {
    /// Steps 6 and 7: the call, then what it left.
    pub(super) async fn call(&self, claim: Claim, call: Call<'_>) -> Next {
        let receipt = claim.receipt().clone();
        let states = &self.context.connection_states;
        let conclusion = match dispatch(self.context, self.object, claim, &call).await {
            Called::Answered(answer) => {
                states.answered(self.context, call.connection);
                let rows: Vec<_> = answer.rows.into_iter().map(row).collect();
                let sessions = from_answer(&self.object.spec.sessions, &rows, Timestamp::now());
                let detail = "the answer has no row for them";
                Conclusion::called(sessions, dispatch_of(&receipt, &answer.request_id), detail)
            }
            Called::Ambiguous(error) => {
                let lost = SessionReason::AnswerLost;
                let sessions = for_all(&self.object.spec.sessions, SessionOutcome::Unknown, lost);
                let detail = format!("the call was sent and no certain answer came ({error})");
                Conclusion::called(sessions, dispatch_of(&receipt, &error.request_id), &detail)
            }
            Called::NotExecuted(claim, error) => {
                release(self.context, claim).await;
                return self.not_executed(&call, &error).await;
            }
        };
        audit::kill(&receipt, &conclusion, self.object.spec.reason.as_deref());
        let next = self.end(&conclusion).await;
        record(self.context, &receipt, conclusion.record(Timestamp::now()));
        next
    }

    /// The call was provably not executed and its claim is released: end, or wait and try again.
    async fn not_executed(&self, call: &Call<'_>, error: &CallError) -> Next {
        let secret = &call.connection.spec.credentials.secret_ref.name;
        let instance = &self.object.spec.instance_id;
        let (reason, advice) = match error.kind {
            ErrorKind::Rejected => return self.rejected(error).await,
            // Nothing is wrong with the connection: the next attempt has a new deadline.
            ErrorKind::DeadlinePassed | ErrorKind::Ambiguous => return Next::Later(Timestamp::now() + API_PAUSE),
            ErrorKind::Throttled { .. } => (WaitReason::Throttled, "trying again later".to_owned()),
            ErrorKind::Unreachable => {
                let advice = format!("check the endpoint {}, DNS, network policies and certificates", call.endpoint);
                (WaitReason::EndpointUnreachable, advice)
            }
            ErrorKind::CredentialsRejected => {
                self.context.credentials.forget(&self.object.namespace().unwrap_or_default(), secret);
                (WaitReason::CredentialsRejected, format!("correct the access key in Secret {secret}"))
            }
            ErrorKind::PermissionDenied => {
                let advice = format!("allow the access key of Secret {secret} to call KillProcessList on {instance}");
                (WaitReason::PermissionDenied, advice)
            }
            ErrorKind::TimeStampRefused { .. } => {
                (WaitReason::TimeStampRefused, "check the clock of the operator's node".to_owned())
            }
            ErrorKind::OperationNotFound | ErrorKind::OperationUnavailable => {
                (WaitReason::OperationUnavailable, format!("{} does not offer KillProcessList", call.endpoint))
            }
        };
        let message = format!("not executed, {error}: {advice}");
        self.context.connection_states.failed(self.context, call.connection, reason, &message);
        let pause = match error.kind {
            ErrorKind::Throttled { retry_after } => retry_after,
            _ => None,
        };
        let connection = call.connection.name_any();
        self.wait(reason, format!("OceanBaseConnection {connection}: {message}"), pause).await
    }

    /// The same request would be refused again, so this is its end.
    async fn rejected(&self, error: &CallError) -> Next {
        let sessions = for_all(&self.object.spec.sessions, SessionOutcome::Failed, SessionReason::RequestRejected);
        let message = format!("refused by the API before execution, {error}: correct it in a new SessionKill");
        self.end(&Conclusion { reason: Outcome::KillFailed, message, sessions, dispatch: None }).await
    }
}
