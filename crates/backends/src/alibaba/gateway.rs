//! The gateway of one connection, as the backend of its kills: what is called, stamped how, and how it is asked otherwise
//! after a refusal. Does I/O.

use std::sync::Arc;

use jiff::Timestamp;
use sessionkill_api::{KillOperation, Operation, WaitReason};
use sessionkill_core::backend::{
    Asked, CallError, Called, ErrorKind, KillPermit, KillTarget, ROOM_TO_ASK_AGAIN, Tenant,
};

use super::access::Access;
use super::advice::{RefusedCall, refusal};
use super::client::Client;
use super::endpoint::Endpoint;
use super::kill_call::KillCall;
use super::known::Known;
use super::stamp::TimeSource;
use crate::listed::Listed;

/// The gateway of one connection.
#[derive(Debug)]
pub struct Gateway {
    /// The client, with the connection's time-out.
    pub client: Client,
    /// Where it is called, and with which access key.
    pub access: Access,
    /// Where the access key comes from, for people, such as `Secret db-key`.
    pub key_source: String,
    /// The operation that the connection asks for.
    pub kill_operation: KillOperation,
    /// The operation in use according to the connection's status.
    pub stored_operation: Option<Operation>,
    /// What has been learned of it.
    pub known: Arc<Known>,
}

impl Gateway {
    /// The operation that the next kill calls.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.known.operation(self.kill_operation, self.stored_operation)
    }

    /// The operations to probe, the preferred one first.
    #[must_use]
    pub const fn probed(&self) -> &'static [Operation] {
        match self.kill_operation {
            KillOperation::Auto => &[Operation::KillProcessList, Operation::BatchKillProcessList],
            KillOperation::KillProcessList => &[Operation::KillProcessList],
            KillOperation::BatchKillProcessList => &[Operation::BatchKillProcessList],
        }
    }

    /// Where it is called.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.access.endpoint
    }

    /// See [`crate::Backend::kill`].
    pub async fn kill<P: KillPermit>(&self, permit: P, target: &KillTarget, request: u32) -> Asked<P> {
        let operation = self.operation();
        let time_source = self.time_source(permit.not_after());
        let call = KillCall { operation, target: target.clone(), time_source, request };
        let called = self.client.kill(permit, &call, &self.access).await;
        let otherwise = match &called {
            Called::NotExecuted(permit, error) => self.otherwise(&call, permit, error),
            Called::Answered(_) | Called::Ambiguous(_) => None,
        };
        Asked { operation, called, otherwise }
    }

    /// See [`crate::Backend::list`].
    pub async fn list<W>(&self, tenant: &Tenant, wanted: W) -> Result<Listed, CallError>
    where
        W: Fn(i64) -> bool + Clone + Send + 'static,
    {
        self.reads(self.client.list_sessions(tenant, wanted, self.known.lead(), &self.access).await)
    }

    /// See [`crate::Backend::probe`].
    pub async fn probe(&self, operation: Operation) -> Result<(), CallError> {
        self.reads(self.client.probe(operation, self.known.lead(), &self.access).await)
    }

    /// See [`crate::Backend::refusal`].
    #[must_use]
    pub fn refusal(&self, action: &str, on: &str, error: &CallError) -> Option<(WaitReason, String)> {
        let Self { access, key_source, kill_operation, .. } = self;
        let call = RefusedCall { action, on, endpoint: &access.endpoint, key_source, kill_operation: *kill_operation };
        refusal(&call, error)
    }

    /// The source of the time stamp of a kill; nothing may be executed after `not_after`. A gateway that refused the fence
    /// gets the current time only while `not_after` has not passed by its clock, as ours may be the wrong one.
    fn time_source(&self, not_after: Timestamp) -> TimeSource {
        let source = self.known.time_source();
        // With this stamp, the gateway itself decides.
        if is_over(source, not_after) { TimeSource::DispatchDeadline } else { source }
    }

    /// How the attempt may ask once more after `call` was refused with `error`. Each way is offered at most once, so that the
    /// attempt ends.
    ///
    /// * A time stamp refused before the deadline: from now on the current time by the gateway's clock, unless `notAfterTime`
    ///   has passed by that.
    /// * An answer that proves that KillProcessList does not exist: `Auto` calls BatchKillProcessList.
    fn otherwise(&self, call: &KillCall, permit: &impl KillPermit, error: &CallError) -> Option<&'static str> {
        permit.time_left().filter(|left| *left >= ROOM_TO_ASK_AGAIN)?;
        match error.kind {
            ErrorKind::ClockRefused { server_time } => {
                let current_time = self.known.refused_fence(server_time);
                let is_first = call.time_source == TimeSource::DispatchDeadline;
                let goes = is_first && !is_over(current_time, permit.not_after());
                goes.then_some("with the current time by the gateway's clock as time stamp")
            }
            ErrorKind::OperationNotFound
                if self.kill_operation == KillOperation::Auto && call.operation == Operation::KillProcessList =>
            {
                self.known.offers(Operation::BatchKillProcessList);
                Some("by BatchKillProcessList")
            }
            _ => None,
        }
    }

    /// Learns the gateway's clock from the result of a read.
    fn reads<T>(&self, answer: Result<T, CallError>) -> Result<T, CallError> {
        if let Err(CallError { kind: ErrorKind::ClockRefused { server_time: Some(time) }, .. }) = &answer {
            self.known.shows(*time);
        }
        answer
    }
}

/// Whether `not_after` has passed by the clock of `source`.
fn is_over(source: TimeSource, not_after: Timestamp) -> bool {
    match source {
        TimeSource::DispatchDeadline => false,
        TimeSource::CurrentTime { gateway_lead } => not_after.duration_since(Timestamp::now()) <= gateway_lead,
    }
}
