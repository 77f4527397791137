//! The one seam between the operator and whatever ends sessions: one `match` per verb, so that a new backend must answer
//! each. Does I/O.

use std::sync::Arc;

use jiff::Timestamp;
use sessionkill_api::{BackendSpec, Operation, WaitReason};
use sessionkill_core::backend::{Asked, CallError, Costs, Guarantees, KillPermit, KillTarget, Tenant};
use sessionkill_core::selection::Wanted;

use super::access_key::AccessKey;
use super::alibaba::{self, Gateway, Known, LIST_ACTION};
use super::listed::Listed;
#[cfg(feature = "scripted")]
use super::scripted::{self, Script};
use super::sql::{self, Database};

/// How one connection ends and lists sessions: where it calls, with which credentials, and what is known of the other side.
#[derive(Debug)]
pub enum Backend {
    /// The API of ApsaraDB for OceanBase.
    AlibabaCloud(Gateway),
    /// The SQL of any OceanBase.
    Sql(Database),
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
            Self::Sql(_) => Operation::Kill,
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => scripted::OPERATION,
        }
    }

    /// What a call of `operation` guarantees now.
    #[must_use]
    pub fn guarantees(&self, operation: Operation) -> Guarantees {
        match self {
            Self::AlibabaCloud(gateway) => gateway.known.guarantees(operation),
            Self::Sql(database) => database.access.known.guarantees(),
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => scripted::GUARANTEES,
        }
    }

    /// Whether calls for `tenant` need no [`Self::open`] first.
    #[must_use]
    pub fn is_open(&self, tenant: &Tenant) -> bool {
        match self {
            Self::AlibabaCloud(_) => true,
            Self::Sql(database) => database.is_open(tenant),
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => true,
        }
    }

    /// Makes calls for `tenant` possible, and finds out whether the other side is what the connection says. Ends nothing.
    pub async fn open(&self, tenant: &Tenant) -> Result<(), CallError> {
        match self {
            Self::AlibabaCloud(_) => Ok(()),
            Self::Sql(database) => database.open(tenant).await,
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => Ok(()),
        }
    }

    /// Sends one request that ends the sessions of `target`, unless the permit's deadline has passed; never a second one.
    /// `request` is the number of this request within its attempt, from 0.
    pub async fn kill<P: KillPermit>(&self, permit: P, target: &KillTarget, request: u32) -> Asked<P> {
        match self {
            Self::AlibabaCloud(gateway) => gateway.kill(permit, target, request).await,
            Self::Sql(database) => database.kill(permit, target).await,
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.kill(permit, target).await,
        }
    }

    /// Lists the sessions of `tenant` that are `wanted`. `server_time` is what the other side told as its time when it refused
    /// the same list for its time just now.
    pub async fn list(
        &self,
        tenant: &Tenant,
        wanted: Arc<Wanted>,
        server_time: Option<Timestamp>,
    ) -> Result<Listed, CallError> {
        match self {
            Self::AlibabaCloud(gateway) => gateway.list(tenant, wanted, server_time).await,
            Self::Sql(database) => database.list(tenant, &wanted).await,
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.list(tenant, &wanted).await,
        }
    }

    /// Asks, by a call that cannot end a session, whether kills would be taken. `operation` is one of [`Self::probed`];
    /// `server_time` as for [`Self::list`].
    pub async fn probe(&self, operation: Operation, server_time: Option<Timestamp>) -> Result<(), CallError> {
        match self {
            Self::AlibabaCloud(gateway) => gateway.probe(operation, server_time).await,
            Self::Sql(database) => database.probe().await,
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.probe().await,
        }
    }

    /// The operation to probe, and the one to probe and use if that does not exist.
    #[must_use]
    pub const fn probed(&self) -> (Operation, Option<Operation>) {
        match self {
            Self::AlibabaCloud(gateway) => gateway.probed(),
            Self::Sql(_) => (Operation::Kill, None),
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => (scripted::OPERATION, None),
        }
    }

    /// The action that lists sessions, by its name at the other side.
    #[must_use]
    pub const fn list_action(&self) -> &'static str {
        match self {
            Self::AlibabaCloud(_) => LIST_ACTION,
            Self::Sql(_) => sql::LIST_ACTION,
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
            Self::Sql(database) => database.refusal(error),
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.refusal(error),
        }
    }

    /// The temporary access key that signed the call of `action`, if `error` may mean that it has expired: a new one is then
    /// worth one more attempt.
    #[must_use]
    pub fn expired_key(&self, action: &str, error: &CallError) -> Option<&AccessKey> {
        match self {
            Self::AlibabaCloud(gateway) => gateway.expired_key(action, error),
            Self::Sql(_) => None,
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => None,
        }
    }

    /// Where calls go, for people.
    #[must_use]
    pub fn endpoint(&self) -> String {
        match self {
            Self::AlibabaCloud(gateway) => gateway.endpoint().to_string(),
            Self::Sql(database) => database.access.server.to_string(),
            #[cfg(feature = "scripted")]
            Self::Scripted(script) => script.address.clone(),
        }
    }
}

/// What calls through a connection with this `spec` cost.
#[must_use]
pub const fn costs(spec: &BackendSpec) -> Costs {
    match spec {
        BackendSpec::AlibabaCloud(_) => alibaba::COSTS,
        BackendSpec::Sql(_) => sql::COSTS,
        #[cfg(feature = "scripted")]
        BackendSpec::Scripted(_) => scripted::COSTS,
    }
}

/// The actions that list sessions, of all backends that users have.
pub const LIST_ACTIONS: [&str; 2] = [LIST_ACTION, sql::LIST_ACTION];

/// What is known of the other side of one connection. The caller keeps it between the connection's routes, and hands it to
/// each; clones share it. A route may outlive it: what that learns then is lost.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What is known of a gateway of Alibaba Cloud.
    pub alibaba: Arc<Known>,
    /// What is known of a database, and its open sessions.
    pub sql: Arc<sql::Known>,
}

impl Memory {
    /// The operation that kills through a connection with this `spec` call. `stored` is the one in the connection's status.
    #[must_use]
    pub fn operation(&self, spec: &BackendSpec, stored: Option<Operation>) -> Operation {
        match spec {
            BackendSpec::AlibabaCloud(alibaba_cloud) => self.alibaba.operation(alibaba_cloud.kill_operation, stored),
            BackendSpec::Sql(_) => Operation::Kill,
            #[cfg(feature = "scripted")]
            BackendSpec::Scripted(_) => scripted::OPERATION,
        }
    }

    /// What a call of `operation` through a connection with this `spec` guarantees now.
    #[must_use]
    pub fn guarantees(&self, spec: &BackendSpec, operation: Operation) -> Guarantees {
        match spec {
            BackendSpec::AlibabaCloud(_) => self.alibaba.guarantees(operation),
            BackendSpec::Sql(_) => self.sql.guarantees(),
            #[cfg(feature = "scripted")]
            BackendSpec::Scripted(_) => scripted::GUARANTEES,
        }
    }

    /// A probe of a connection with this `spec` found that `operation` is offered: kills call it, if the spec leaves the choice.
    /// Returns whether that is news.
    #[expect(clippy::must_use_candidate, reason = "news matters only to whoever logs it")]
    pub fn offers(&self, spec: &BackendSpec, operation: Operation) -> bool {
        match spec {
            BackendSpec::AlibabaCloud(_) => self.alibaba.offers(operation),
            BackendSpec::Sql(_) => false,
            #[cfg(feature = "scripted")]
            BackendSpec::Scripted(_) => false,
        }
    }
}
