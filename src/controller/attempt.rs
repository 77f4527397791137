//! One attempt at one request, from the plan to the claim: the kill path. Does I/O; called by the queue.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::api_calls::ApiError;
use super::claim::{Claimed, claim, find};
use super::context::Context;
use super::dispatch::tenant;
use super::orphan::resolve;
use super::poison;
use super::queue::{Item, Next};
use super::refusal::refusal;
use super::request::Request;
use super::route::{Route, RouteError, connection};
use crate::api::{
    Mode, Outcome, SessionKillReceipt, SessionOutcome, SessionReason, SessionStatus, VerificationPolicy, WaitReason,
};
use crate::domain::admission::admit;
use crate::domain::claim::Standing;
use crate::domain::conclusion::Conclusion;
use crate::domain::observation::precheck;
use crate::domain::plan::{Intent, KillIntent, Step, plan};
use crate::oceanbase::CallError;
use crate::oceanbase::client::LIST_ACTION;

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
        Step::Attempt(intent) => request.or_put_off(request.attempt(intent, item).await).await,
    }
}

impl Request<'_> {
    /// Step 3: `notAfterTime` has passed. A claim made before it decides: its call may have been sent, and only if there is
    /// none can it be said that nothing was.
    async fn expire(&self, outcome: Outcome) -> Result<Next, ApiError> {
        let not_after = self.object.spec.not_after_time.0;
        let message = if outcome == Outcome::ExpiredOnArrival {
            format!("created after its own notAfterTime {not_after}; nothing was sent")
        } else {
            if self.object.spec.mode == Mode::Kill
                && let Some((receipt, standing)) = find(self.context, self.object).await?
            {
                return self.taken(&receipt, standing).await;
            }
            format!("notAfterTime {not_after} passed; nothing was sent{}", self.what_it_waited_for())
        };
        let why = SessionReason::DeadlineExceeded;
        Ok(self.end(&Conclusion::nothing_sent(self.object, outcome, why, message)).await)
    }

    /// Steps 2 to 6.
    async fn attempt(&self, intent: Intent, item: &Item) -> Result<Next, ApiError> {
        let namespace = self.object.namespace().unwrap_or_default();
        let connection = match connection(self.context, &namespace, &self.object.spec.connection_ref.name) {
            Ok(connection) => connection,
            Err(message) => return Ok(self.wait(WaitReason::ConnectionNotFound, message, None).await),
        };
        if let Err(refusal) = admit(&self.object.spec, &connection.spec) {
            let why = SessionReason::NotAllowed;
            return Ok(self.end(&Conclusion::nothing_sent(self.object, Outcome::NotAllowed, why, refusal)).await);
        }
        let route = match Route::of(self.context, connection.clone()).await {
            Ok(route) => route,
            Err(RouteError::Api(error)) => return Err(error),
            Err(RouteError::Unavailable(reason, message)) => {
                self.context.connection_states.failed(self.context, &connection, reason, &message);
                return Ok(self.wait(reason, message, None).await);
            }
        };
        let planned = match self.observe(&route, &intent).await {
            Ok(planned) => planned,
            Err(message) => return self.unobserved(&intent, message).await,
        };
        match intent {
            Intent::DryRun => {
                let executed =
                    find(self.context, self.object).await?.map(|(receipt, _)| receipt.spec.session_kill_ref.name);
                Ok(self.end(&Conclusion::dry_run(&planned, executed.as_deref())).await)
            }
            Intent::Kill(_) if planned.iter().all(|session| session.outcome != SessionOutcome::Pending) => {
                self.nothing_left(planned).await
            }
            Intent::Kill(intent) => self.kill(intent, route, planned, item).await,
        }
    }

    /// Step 4: how each session stands right before the kill. The error says why that cannot be told although it must.
    async fn observe(&self, route: &Route, intent: &Intent) -> Result<Vec<SessionStatus>, String> {
        let spec = &self.object.spec;
        let policy = route.connection.spec.sql_text;
        let is_expected = spec.sessions.iter().any(|session| session.expect.is_some());
        let is_needed = is_expected || *intent == Intent::DryRun;
        if !is_needed && spec.verification.policy == VerificationPolicy::None {
            return precheck(&spec.sessions, None, policy).map_err(|_| String::new());
        }
        let why = match self.context.observer.observe(self.context, route, &tenant(spec)).await {
            Ok(snapshot) => match precheck(&spec.sessions, Some(&snapshot), policy) {
                Ok(planned) => return Ok(planned),
                Err(_) => "it is not complete".to_owned(),
            },
            Err(error) if !is_needed => {
                tracing::info!(%error, name = self.object.name_any(), "process list not read, and nothing is expected");
                return precheck(&spec.sessions, None, policy).map_err(|_| String::new());
            }
            Err(error) => self.not_read(route, &error),
        };
        let connection = route.connection.name_any();
        Err(format!(
            "OceanBaseConnection {connection}: the process list of tenant {} cannot be read ({why}), and without it a \
             session could be the wrong one: nothing was sent; trying again until {}",
            spec.tenant_id, spec.not_after_time.0
        ))
    }

    /// Why the list could not be read. What keeps it from being read keeps every call through the connection from being made
    /// if it is the access key or the way to the gateway: then the connection says so too.
    fn not_read(&self, route: &Route, error: &CallError) -> String {
        let instance = &self.object.spec.instance_id;
        let Some((reason, message)) = refusal(route, LIST_ACTION, instance, error) else { return error.to_string() };
        if matches!(reason, WaitReason::CredentialsRejected | WaitReason::EndpointUnreachable) {
            self.context.connection_states.failed(self.context, &route.connection, reason, &message);
        }
        message
    }

    /// Nothing is sent blindly; but the same content may have been executed before.
    async fn unobserved(&self, intent: &Intent, message: String) -> Result<Next, ApiError> {
        if let (Intent::Kill(_), Some((receipt, standing))) = (intent, find(self.context, self.object).await?) {
            return self.taken(&receipt, standing).await;
        }
        Ok(self.wait(WaitReason::ObservationFailed, message, None).await)
    }

    /// None of the sessions is there any more, or is the one that was meant; perhaps because this very request was executed
    /// before.
    async fn nothing_left(&self, planned: Vec<SessionStatus>) -> Result<Next, ApiError> {
        if let Some((receipt, standing)) = find(self.context, self.object).await? {
            return self.taken(&receipt, standing).await;
        }
        Ok(self.end(&Conclusion::nothing_left(planned)).await)
    }

    /// Step 5, then the call.
    async fn kill(
        &self,
        intent: KillIntent,
        route: Route,
        planned: Vec<SessionStatus>,
        item: &Item,
    ) -> Result<Next, ApiError> {
        match claim(self.context, intent, self.object, &route.connection, planned).await? {
            Claimed::Granted(claim) => Ok(self.call(claim, route, item).await),
            Claimed::Taken(receipt, standing) => self.taken(&receipt, standing).await,
        }
    }

    /// When another claim for the same content exists.
    async fn taken(&self, receipt: &SessionKillReceipt, standing: Standing) -> Result<Next, ApiError> {
        let record = match standing {
            Standing::Recorded(record) => record,
            Standing::Orphaned => {
                let Some(record) = resolve(self.context, receipt).await? else {
                    let holder = &receipt.spec.holder_identity;
                    let message = format!(
                        "operator {holder} claimed the call and is gone: nothing is sent again, and the process list is \
                         read to see what came of it"
                    );
                    return Ok(self.wait(WaitReason::Verifying, message, None).await);
                };
                record
            }
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
