//! The gateway of one connection, as the backend of its kills: what is called, with which time stamp. Does I/O.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::{KillOperation, Operation, WaitReason};
use sessionkill_core::backend::{Asked, CallError, Called, KillPermit, KillTarget, Tenant};

use super::access::Access;
use super::advice::{RefusedCall, refusal};
use super::client::Client;
use super::endpoint::Endpoint;
use super::error_codes::may_mean_expired;
use super::kill_call::KillCall;
use super::known::{Known, Refusal};
use super::reads::LIST_ACTION;
use crate::access_key::AccessKey;
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
    /// Who lists sessions, if not with the same access key.
    pub observer: Option<Observer>,
    /// The operation that the connection asks for.
    pub kill_operation: KillOperation,
    /// The operation in use according to the connection's status.
    pub stored_operation: Option<Operation>,
    /// What has been learned of it.
    pub known: Arc<Known>,
}

/// Who lists the sessions of a gateway, with an access key that need not end any.
#[derive(Debug)]
pub struct Observer {
    /// Where it is called, and with which access key.
    pub access: Access,
    /// Where that access key comes from, for people.
    pub key_source: String,
}

impl Gateway {
    /// The operation that the next kill calls.
    pub(crate) fn operation(&self) -> Operation {
        self.known.operation(self.kill_operation, self.stored_operation)
    }

    /// See [`crate::Backend::probed`].
    pub(crate) const fn probed(&self) -> (Operation, Option<Operation>) {
        match self.kill_operation {
            KillOperation::Auto => (Operation::KillProcessList, Some(Operation::BatchKillProcessList)),
            KillOperation::KillProcessList => (Operation::KillProcessList, None),
            KillOperation::BatchKillProcessList => (Operation::BatchKillProcessList, None),
        }
    }

    /// Where it is called.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.access.endpoint
    }

    /// See [`crate::Backend::kill`].
    pub(crate) async fn kill<P: KillPermit>(&self, permit: P, target: &KillTarget, request: u32) -> Asked<P> {
        let operation = self.operation();
        let time_source = self.known.time_source(permit.not_after());
        let call = KillCall { operation, target: target.clone(), time_source, request };
        let called = self.client.kill(permit, &call, &self.access).await;
        let Refusal { retry_as, learned } = match &called {
            Called::NotExecuted(permit, error) => self.known.refused(&call, self.kill_operation, permit, error),
            Called::Answered(_) | Called::InPart(..) | Called::Ambiguous(_) => Refusal::default(),
        };
        Asked { operation, called, retry_as, learned }
    }

    /// See [`crate::Backend::list`].
    pub(crate) async fn list<W>(
        &self,
        tenant: &Tenant,
        wanted: W,
        server_time: Option<Timestamp>,
    ) -> Result<Listed, CallError>
    where
        W: Fn(i64) -> bool + Clone + Send + 'static,
    {
        let (access, _) = self.caller(LIST_ACTION);
        self.client.list_sessions(tenant, wanted, self.lead(server_time), access).await
    }

    /// See [`crate::Backend::probe`].
    pub(crate) async fn probe(&self, operation: Operation, server_time: Option<Timestamp>) -> Result<(), CallError> {
        self.client.probe(operation, self.lead(server_time), &self.access).await
    }

    /// See [`crate::Backend::refusal`].
    pub(crate) fn refusal(&self, action: &str, on: &str, error: &CallError) -> Option<(WaitReason, String)> {
        let (Access { endpoint, .. }, key_source) = self.caller(action);
        refusal(&RefusedCall { action, on, endpoint, key_source, kill_operation: self.kill_operation }, error)
    }

    /// The temporary access key that signed the call of `action`, if `error` may mean that it has expired.
    pub(crate) fn expired_key(&self, action: &str, error: &CallError) -> Option<&AccessKey> {
        let (access, _) = self.caller(action);
        Some(&access.access_key).filter(|key| may_mean_expired(error, key))
    }

    /// Who calls `action`: with which access, and where the access key comes from.
    fn caller(&self, action: &str) -> (&Access, &str) {
        match &self.observer {
            Some(observer) if action == LIST_ACTION => (&observer.access, &observer.key_source),
            _ => (&self.access, &self.key_source),
        }
    }

    /// The gateway's clock minus ours, for the time stamp of a read.
    fn lead(&self, server_time: Option<Timestamp>) -> SignedDuration {
        let told = server_time.map(|time| time.duration_since(Timestamp::now()));
        told.or_else(|| self.known.lead()).unwrap_or_default()
    }
}
