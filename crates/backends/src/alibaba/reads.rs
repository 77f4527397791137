//! The calls that change nothing: the list of sessions, and a probe that can end nothing. They need no permit. Does I/O; the
//! controller consumes it.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::Operation;
use sessionkill_core::backend::{CallError, ErrorKind, ProcessList, Tenant};

use super::access::Access;
use super::client::Client;
use super::process_list::MAX_LIST_BYTES;
use super::receive::{ReadList, receive};
use super::shares::Share;
use super::signed_request::SignedRequest;
use super::stamp::Stamp;

/// The action that lists the sessions of a tenant.
pub const LIST_ACTION: &str = "DescribeProcessStatsComposition";

/// The longest that a call may take that changes nothing, if the time-out of all calls is not shorter: such a call goes
/// before or after a kill, and an API that lists slowly must not use up the time in which the kill may be sent.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A list, and when it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// The list.
    pub list: ProcessList,
    /// By the monotonic clock.
    pub began: Instant,
    /// By the wall clock.
    pub time: Timestamp,
}

impl Client {
    /// Lists the sessions of a tenant (DescribeProcessStatsComposition) with `wanted` IDs. `gateway_lead` is the gateway's
    /// clock less ours.
    ///
    /// A large list is asked for once more if there is no memory for it at once: to let it wait would make it old, and it
    /// is the one who lists much who waits.
    pub async fn list_sessions<W>(
        &self,
        tenant: &Tenant,
        wanted: W,
        gateway_lead: SignedDuration,
        access: &Access,
    ) -> Result<Listed, CallError>
    where
        W: Fn(i64) -> bool + Clone + Send + 'static,
    {
        let _room = self.budget.small(&self.account).await;
        let ask = async |room: Option<Share>| {
            let asked = (Instant::now(), Timestamp::now());
            let form = [("InstanceId", tenant.instance_id.clone()), ("TenantId", tenant.tenant_id.clone())];
            let request = self.read_request(LIST_ACTION, &form, gateway_lead, access)?;
            let answer = self.exchange(request, self.read_timeout(), MAX_LIST_BYTES).await?;
            let read = ReadList { access_key: access.access_key.clone(), wanted: wanted.clone() };
            let room = async || room.or_else(|| self.budget.large_now(&self.account));
            let list = receive(answer, read, room).await?;
            Ok(list.map(|list| Listed { list, began: asked.0, time: asked.1 }))
        };
        if let Some(listed) = ask(None).await? {
            return Ok(listed);
        }
        let room = self.budget.large(&self.account).await;
        let listed: Option<Listed> = ask(Some(room)).await?;
        listed.ok_or_else(|| CallError::local(ErrorKind::Ambiguous, "NotRead", "there is no memory for the list"))
    }

    /// Asks whether the gateway offers `operation` to this key, by calling it without the parameters that it requires:
    /// it cannot end anything. Being told that one of them is missing proves that the operation exists; where it does not,
    /// the error is [`ErrorKind::OperationNotFound`]. `gateway_lead` is the gateway's clock less ours.
    pub async fn probe(
        &self,
        operation: Operation,
        gateway_lead: SignedDuration,
        access: &Access,
    ) -> Result<(), CallError> {
        let _room = self.budget.small(&self.account).await;
        // An error up to here is ours, and `Rejected` would prove nothing.
        let request = self.read_request(operation.as_str(), &[], gateway_lead, access)?;
        match self.answer_to_kill(request, self.read_timeout(), operation, access, |_| false).await {
            Err(error) if error.kind != ErrorKind::Rejected => Err(error),
            _ => Ok(()),
        }
    }

    fn read_timeout(&self) -> Duration {
        READ_TIMEOUT.min(self.request_timeout)
    }

    /// A request that changes nothing, stamped with the current time by the gateway's clock.
    fn read_request(
        &self,
        action: &str,
        form: &[(&str, String)],
        gateway_lead: SignedDuration,
        access: &Access,
    ) -> Result<reqwest::Request, CallError> {
        let stamp = Stamp::of_read(gateway_lead, Timestamp::now(), uuid::Uuid::new_v4());
        self.transport.prepare(SignedRequest::new(action, form, &stamp, access)?)
    }
}
