//! The gateway of one connection, as the backend of its kills: what is called, with which time stamp. Does I/O.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::{KillOperation, Operation, WaitReason};
use sessionkill_core::backend::{Asked, CallError, Called, ErrorKind, KillPermit, KillTarget, Tenant};
use sessionkill_core::selection::Wanted;

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
    /// Who calls it.
    pub callers: Callers,
    /// The operation that the connection asks for.
    pub kill_operation: KillOperation,
    /// The operation in use according to the connection's status.
    pub stored_operation: Option<Operation>,
    /// What has been learned of it.
    pub known: Arc<Known>,
}

/// Who calls a gateway.
#[derive(Debug)]
pub struct Caller {
    /// Where it is called, and with which access key.
    pub access: Access,
    /// Where the access key comes from, for people, such as `Secret db-key`.
    pub key_source: String,
}

/// Who calls a gateway for what.
#[derive(Debug)]
pub enum Callers {
    /// One for all calls.
    Same(Caller),
    /// Lists are signed by another access key, which need not end any session.
    Apart {
        /// Who ends sessions.
        kills: Caller,
        /// Who lists them.
        lists: Caller,
    },
    /// Who only lists sessions: the access key that ends them is not needed, and so it is not asked for.
    Lists(Caller),
}

impl Callers {
    /// Who calls `action`. What cannot end a session, such as a probe, is asked by whoever there is.
    fn of(&self, action: &str) -> &Caller {
        match self {
            Self::Same(caller) | Self::Lists(caller) => caller,
            Self::Apart { lists, .. } if action == LIST_ACTION => lists,
            Self::Apart { kills, .. } => kills,
        }
    }

    /// Who may end sessions, if anybody.
    const fn killer(&self) -> Option<&Caller> {
        match self {
            Self::Same(caller) | Self::Apart { kills: caller, .. } => Some(caller),
            Self::Lists(_) => None,
        }
    }
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
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.callers.of(LIST_ACTION).access.endpoint
    }

    /// See [`crate::Backend::kill`].
    pub(crate) async fn kill<P: KillPermit>(&self, permit: P, target: &KillTarget, request: u32) -> Asked<P> {
        let operation = self.operation();
        let Some(Caller { access, .. }) = self.callers.killer() else {
            let error = CallError::local(ErrorKind::PermissionDenied, "ListsOnly", "this key is for lists only");
            let called = Called::NotExecuted(permit, error);
            return Asked { operation, called, retry_as: None, learned: None };
        };
        let time_source = self.known.time_source(permit.not_after());
        let call = KillCall { operation, target: target.clone(), time_source, request };
        let called = self.client.kill(permit, &call, access).await;
        let Refusal { retry_as, learned } = match &called {
            Called::NotExecuted(permit, error) => self.known.refused(&call, self.kill_operation, permit, error),
            Called::Answered(_) | Called::InPart(..) | Called::Ambiguous(_) => Refusal::default(),
        };
        Asked { operation, called, retry_as, learned }
    }

    /// See [`crate::Backend::list`].
    pub(crate) async fn list(
        &self,
        tenant: &Tenant,
        wanted: Arc<Wanted>,
        server_time: Option<Timestamp>,
    ) -> Result<Listed, CallError> {
        let Caller { access, .. } = self.callers.of(LIST_ACTION);
        let ids = wanted.clone();
        let is_wanted = move |id| ids.ids.contains(&id);
        self.client.list_sessions(tenant, (is_wanted, &wanted.filters), self.lead(server_time), access).await
    }

    /// See [`crate::Backend::probe`].
    pub(crate) async fn probe(&self, operation: Operation, server_time: Option<Timestamp>) -> Result<(), CallError> {
        let Caller { access, .. } = self.callers.of(operation.as_str());
        self.client.probe(operation, self.lead(server_time), access).await
    }

    /// See [`crate::Backend::refusal`].
    pub(crate) fn refusal(&self, action: &str, on: &str, error: &CallError) -> Option<(WaitReason, String)> {
        let Caller { access: Access { endpoint, .. }, key_source } = self.callers.of(action);
        refusal(&RefusedCall { action, on, endpoint, key_source, kill_operation: self.kill_operation }, error)
    }

    /// The temporary access key that signed the call of `action`, if `error` may mean that it has expired.
    pub(crate) fn expired_key(&self, action: &str, error: &CallError) -> Option<&AccessKey> {
        Some(&self.callers.of(action).access.access_key).filter(|key| may_mean_expired(error, key))
    }

    /// The gateway's clock minus ours, for the time stamp of a read.
    fn lead(&self, server_time: Option<Timestamp>) -> SignedDuration {
        let told = server_time.map(|time| time.duration_since(Timestamp::now()));
        told.or_else(|| self.known.lead()).unwrap_or_default()
    }
}
