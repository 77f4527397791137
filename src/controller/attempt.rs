//! One attempt at one request, from the plan to the record: the kill path. Does I/O; called by the queue.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::api_calls::ApiError;
use super::claim::{Claim, Claimed, claim, find, release};
use super::context::Context;
use super::credentials::{CredentialsError, access_key};
use super::dispatch::{Call, dispatch, endpoint};
use super::queue::Item;
use super::settle::{Settled, Target, record, report, settle};
use super::sweep::resolve;
use super::{audit, poison};
use crate::api::{
    OceanBaseConnection, Outcome, SessionKill, SessionKillReceipt, SessionOutcome, SessionReason, WaitReason,
};
use crate::domain::admission::admit;
use crate::domain::backoff::next_attempt;
use crate::domain::claim::Standing;
use crate::domain::outcome::{for_all, from_answer};
use crate::domain::plan::{Step, plan};
use crate::domain::status::{Conclusion, Waiting, differs, dispatch as dispatch_of, finished, waiting};
use crate::oceanbase::{CallError, Called, ErrorKind};

/// What an attempt left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Ended,
    /// Look again then.
    Later(Timestamp),
}

/// How long to wait when the API server did not do as asked.
const API_PAUSE: SignedDuration = SignedDuration::from_secs(2);

/// Works on one request, as it is now.
pub async fn attempt(context: &Arc<Context>, item: &Item) -> Next {
    let Some(guarded) = context.requests.get(&item.object).filter(|object| object.uid().as_ref() == Some(&item.uid))
    else {
        return Next::Ended;
    };
    let object = match &guarded.0 {
        Ok(object) => object,
        Err(invalid) => return poison::finish(context, invalid).await,
    };
    let now = Timestamp::now();
    let request = Request { context, object, now };
    match plan(object, now) {
        Step::Rest => Next::Ended,
        Step::Wait { until, reason } => request.hold(until, reason).await,
        Step::Expire(outcome) => request.or_put_off(request.expire(outcome).await).await,
        Step::Attempt => request.or_put_off(request.attempt().await).await,
    }
}

/// One request during one attempt.
struct Request<'a> {
    context: &'a Arc<Context>,
    object: &'a SessionKill,
    /// When the attempt began.
    now: Timestamp,
}

impl Request<'_> {
    /// Step 1: suspended or too early.
    async fn hold(&self, until: Option<Timestamp>, reason: Option<WaitReason>) -> Next {
        let until = until.unwrap_or(self.object.spec.not_after_time.0);
        let Some(reason) = reason else { return Next::Later(until) };
        let message = match reason {
            WaitReason::Suspended => "held back by spec.suspend: set it to false to go on".to_owned(),
            _ => format!("nothing is sent before {until}"),
        };
        let shown = waiting(self.object, &Waiting { reason, message, next_attempt: None }, self.now);
        self.write_waiting(&shown).await.unwrap_or(Next::Later(until))
    }

    /// Step 3: `notAfterTime` has passed. A claim made before it decides: its call may have been sent, and only if there is
    /// none can it be said that nothing was.
    async fn expire(&self, outcome: Outcome) -> Result<Next, ApiError> {
        let not_after = self.object.spec.not_after_time.0;
        let message = if outcome == Outcome::ExpiredOnArrival {
            format!("created after its own notAfterTime {not_after}; nothing was sent")
        } else {
            if let Some((receipt, standing)) = find(self.context, self.object).await? {
                return self.taken(&receipt, standing).await;
            }
            format!("notAfterTime {not_after} passed; nothing was sent{}", self.what_it_waited_for())
        };
        let why = SessionReason::DeadlineExceeded;
        Ok(self.end(&Conclusion::nothing_sent(self.object, outcome, why, message)).await)
    }

    /// Steps 2 to 7.
    async fn attempt(&self) -> Result<Next, ApiError> {
        let namespace = self.object.namespace().unwrap_or_default();
        let name = &self.object.spec.connection_ref.name;
        let connection = match self.connection(&namespace, name) {
            Ok(connection) => connection,
            Err(message) => return Ok(self.wait(WaitReason::ConnectionNotFound, message, None).await),
        };
        if let Err(refusal) = admit(&self.object.spec, &connection.spec) {
            let not_allowed = SessionReason::NotAllowed;
            return Ok(self
                .end(&Conclusion::nothing_sent(self.object, Outcome::NotAllowed, not_allowed, refusal))
                .await);
        }
        let endpoint = match endpoint(self.context, &connection.spec) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let message = format!("OceanBaseConnection {name}: {error}");
                return Ok(self.wait(WaitReason::EndpointNotAllowed, message, None).await);
            }
        };
        let keys = &connection.spec.credentials.secret_ref;
        let access_key = match access_key(self.context, &namespace, keys).await {
            Ok(access_key) => access_key,
            Err(CredentialsError::Api(error)) => return Err(error),
            Err(CredentialsError::Unavailable(message)) => {
                self.context.connection_states.failed(
                    self.context,
                    &connection,
                    WaitReason::CredentialsUnavailable,
                    &message,
                );
                return Ok(self.wait(WaitReason::CredentialsUnavailable, message, None).await);
            }
        };
        let request_timeout = i64::from(connection.spec.request_timeout_seconds);
        match claim(self.context, self.object, SignedDuration::from_secs(request_timeout)).await? {
            Claimed::Granted(claim) => {
                let call = Call { connection: &connection, endpoint, access_key };
                Ok(self.call(claim, call).await)
            }
            Claimed::Taken(receipt, standing) => self.taken(&receipt, standing).await,
        }
    }

    /// Step 5, when another claim for the same content exists.
    async fn taken(&self, receipt: &SessionKillReceipt, standing: Standing) -> Result<Next, ApiError> {
        let record = match standing {
            Standing::Recorded(record) => record,
            Standing::Orphaned => resolve(self.context, receipt).await?,
            // Another operator, or this one before a restart, may be about to settle it: writing now would only make the
            // status flicker.
            Standing::InFlight { until, own: true } => return Ok(Next::Later(until)),
            Standing::InFlight { own: false, .. } | Standing::Ours => {
                let other = &receipt.spec.session_kill_ref.name;
                let message = format!("SessionKill {other} is executing the same request: its outcome will be copied");
                return Ok(self.wait(WaitReason::Dispatching, message, None).await);
            }
        };
        let same_object = Some(&receipt.spec.session_kill_ref.uid) == self.object.uid().as_ref();
        Ok(self.end(&Conclusion::recorded(receipt, &record, same_object)).await)
    }

    /// Steps 6 and 7: the call, then what it left.
    async fn call(&self, claim: Claim, call: Call<'_>) -> Next {
        let receipt = claim.receipt().clone();
        let states = &self.context.connection_states;
        let conclusion = match dispatch(self.context, self.object, claim, &call).await {
            Called::Answered(answer) => {
                states.answered(self.context, call.connection);
                let rows: Vec<_> = answer.rows.into_iter().map(super::dispatch::row).collect();
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
            ErrorKind::OperationUnavailable => {
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

    /// Ends the request.
    async fn end(&self, conclusion: &Conclusion) -> Next {
        let status = finished(self.object, conclusion, Timestamp::now());
        if settle(self.context, &Target::of(self.object), &status).await == Settled::Written {
            self.context.events.ended(self.object, conclusion);
        }
        Next::Ended
    }

    /// Lets the request wait for another try, and says why.
    async fn wait(&self, reason: WaitReason, message: String, at_least: Option<SignedDuration>) -> Next {
        let now = Timestamp::now();
        let start = self.object.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or(now, |t| t.0);
        let until = next_attempt(start, now, at_least);
        let why = Waiting { reason, message, next_attempt: Some(until) };
        self.context.events.waiting(self.object, &why);
        let shown = waiting(self.object, &why, now);
        self.write_waiting(&shown).await.unwrap_or(Next::Later(until))
    }

    /// `Some` if the write failed and should be tried again soon.
    async fn write_waiting(&self, status: &crate::api::SessionKillStatus) -> Option<Next> {
        if !differs(self.object.status.as_ref(), status) {
            return None;
        }
        match report(self.context, &Target::of(self.object), status).await {
            Ok(()) => None,
            Err(error) => Some(self.unanswered(&error)),
        }
    }

    /// What is left to do when the API server did not do as asked: nothing was sent.
    async fn or_put_off(&self, result: Result<Next, ApiError>) -> Next {
        match result {
            Ok(next) => next,
            Err(error) if error.is_refused() => {
                let message = format!("the API server refuses what the operator needs: {error}");
                self.wait(WaitReason::Pending, message, None).await
            }
            Err(error) => self.unanswered(&error),
        }
    }

    /// The API server did not answer, and nothing was sent.
    fn unanswered(&self, error: &ApiError) -> Next {
        let (name, namespace) = (self.object.name_any(), self.object.namespace());
        tracing::warn!(%error, name, namespace, "attempt put off");
        Next::Later(Timestamp::now() + API_PAUSE)
    }

    fn connection(&self, namespace: &str, name: &str) -> Result<OceanBaseConnection, String> {
        let key = ObjectRef::new(name).within(namespace);
        match self.context.connections.get(&key).as_deref().map(|guarded| &guarded.0) {
            Some(Ok(connection)) => Ok(connection.clone()),
            Some(Err(invalid)) => Err(format!("OceanBaseConnection {name} cannot be read: {}", invalid.error)),
            None => Err(format!("OceanBaseConnection {name} does not exist in namespace {namespace}: create it")),
        }
    }

    /// What kept the request from going out, for its last message.
    fn what_it_waited_for(&self) -> String {
        let conditions = self.object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        conditions
            .iter()
            .find(|condition| condition.type_ == "Succeeded")
            .map(|condition| format!("; it waited for {}: {}", condition.reason, condition.message))
            .unwrap_or_default()
    }
}
