//! The one seam between the operator and whatever ends sessions: one `match` per verb, so that a new backend must answer
//! each. Does I/O.

use std::sync::Arc;

use sessionkill_api::{Backend as Spec, Operation, WaitReason};
use sessionkill_core::backend::{Asked, CallError, Guarantees, KillPermit, KillTarget, Tenant};

use super::alibaba::{Gateway, Known, LIST_ACTION};
use super::listed::Listed;
#[cfg(feature = "scripted")]
use super::scripted::{self, Script};

/// How one connection ends and lists sessions: where it calls, with which credentials, and what is known of the other side.
#[derive(Debug)]
pub enum Backend {
    /// The API of ApsaraDB for OceanBase.
    AlibabaCloud(Gateway),
    /// A server that a test answers for.
    #[cfg(feature = "scripted")]
    Scripted(Script),
}

impl Backend {
    /// The operation that the next kill calls.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::AlibabaCloud(gateway) => gateway.operation(),
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => scripted::OPERATION,
        }
    }

    /// What a call of `operation` guarantees now.
    #[must_use]
    pub fn guarantees(&self, operation: Operation) -> Guarantees {
        match self {
            Self::AlibabaCloud(gateway) => gateway.known.guarantees(operation),
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => scripted::GUARANTEES,
        }
    }

    /// Sends one request that ends the sessions of `target`, unless the permit's deadline has passed; never a second one.
    /// `request` is the number of this request within its attempt, from 0.
    pub async fn kill<P: KillPermit>(&self, permit: P, target: &KillTarget, request: u32) -> Asked<P> {
        match self {
            Self::AlibabaCloud(gateway) => gateway.kill(permit, target, request).await,
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.kill(permit, target).await,
        }
    }

    /// Lists the sessions of `tenant` with `wanted` IDs.
    ///
    /// After an error of the kind `ClockRefused` with a `server_time`, the next read is made by that time.
    pub async fn list<W>(&self, tenant: &Tenant, wanted: W) -> Result<Listed, CallError>
    where
        W: Fn(i64) -> bool + Clone + Send + 'static,
    {
        match self {
            Self::AlibabaCloud(gateway) => gateway.list(tenant, wanted).await,
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.list(tenant, wanted).await,
        }
    }

    /// Asks, by a call that cannot end a session, whether kills would be taken. `operation` is one of [`Self::probed`].
    ///
    /// After an error of the kind `ClockRefused` with a `server_time`, the next read is made by that time.
    pub async fn probe(&self, operation: Operation) -> Result<(), CallError> {
        match self {
            Self::AlibabaCloud(gateway) => gateway.probe(operation).await,
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.probe().await,
        }
    }

    /// The operations to probe: the first that exists is the one to use.
    #[must_use]
    pub const fn probed(&self) -> &'static [Operation] {
        match self {
            Self::AlibabaCloud(gateway) => gateway.probed(),
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => &[scripted::OPERATION],
        }
    }

    /// The action that lists sessions, by its name at the other side.
    #[must_use]
    pub const fn list_action(&self) -> &'static str {
        match self {
            Self::AlibabaCloud(_) => LIST_ACTION,
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => scripted::LIST_ACTION,
        }
    }

    /// Why requests wait after `error`, and what to do about it; `None` if it says nothing about the connection. `action` is
    /// what was called, and `on` the instance that it was called for.
    #[must_use]
    pub fn refusal(&self, action: &str, on: &str, error: &CallError) -> Option<(WaitReason, String)> {
        match self {
            Self::AlibabaCloud(gateway) => gateway.refusal(action, on, error),
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.refusal(error),
        }
    }

    /// Where calls go, for people.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match self {
            Self::AlibabaCloud(gateway) => gateway.endpoint().to_string(),
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.address.clone(),
        }
    }
}

/// The actions that list sessions, of all backends.
pub const LIST_ACTIONS: [&str; 1] = [LIST_ACTION];

/// What is known of the other side of one connection. The caller keeps it between the connection's routes, and hands it to
/// each; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What is known of a gateway of Alibaba Cloud.
    pub alibaba: Arc<Known>,
}

impl Memory {
    /// The operation that kills through a connection with this `spec` call. `stored` is the one in the connection's status.
    #[must_use]
    pub fn operation(&self, spec: &Spec, stored: Option<Operation>) -> Operation {
        match spec {
            Spec::AlibabaCloud(alibaba_cloud) => self.alibaba.operation(alibaba_cloud.kill_operation, stored),
            #[cfg(feature = "scripted")]
            Spec::Scripted(_) => scripted::OPERATION,
        }
    }

    /// What a call of `operation` through a connection with this `spec` guarantees now.
    #[must_use]
    pub fn guarantees(&self, spec: &Spec, operation: Operation) -> Guarantees {
        match spec {
            Spec::AlibabaCloud(_) => self.alibaba.guarantees(operation),
            #[cfg(feature = "scripted")]
            Spec::Scripted(_) => scripted::GUARANTEES,
        }
    }

    /// A probe found that `operation` is offered: kills call it, if the connection's spec leaves the choice. Returns whether
    /// that is news.
    #[expect(clippy::must_use_candidate, reason = "news matters only to whoever logs it")]
    pub fn offers(&self, operation: Operation) -> bool {
        self.alibaba.offers(operation)
    }
}
