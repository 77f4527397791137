//! One attempt at one request, from the plan to the claim: the kill path. Does I/O; called by the queue.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::api_calls::ApiError;
use super::claim::{Claimed, claim, find};
use super::context::Context;
use super::credentials::{CredentialsError, access_key};
use super::dispatch::{Call, endpoint};
use super::poison;
use super::queue::{Item, Next};
use super::request::Request;
use super::sweep::resolve;
use crate::api::{OceanBaseConnection, Outcome, SessionKillReceipt, SessionReason, WaitReason};
use crate::domain::admission::admit;
use crate::domain::claim::Standing;
use crate::domain::plan::{Step, plan};
use crate::domain::status::Conclusion;

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

impl Request<'_> {
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
