//! The calls that change nothing and need no permit: the process list, and a probe that cannot end a session. Does I/O.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::Operation;
use sessionkill_core::backend::{CallError, ErrorKind, Tenant};
use sessionkill_core::selection::Filter;

use super::access::Access;
use super::client::Client;
use super::process_list::MAX_LIST_BYTES;
use super::receive::{ReadList, receive};
use super::shares::Share;
use super::signed_request::SignedRequest;
use super::stamp::Stamp;
use crate::listed::Listed;

/// The action that lists the sessions of a tenant.
pub const LIST_ACTION: &str = "DescribeProcessStatsComposition";

/// The longest that a read may take, if the timeout of all calls is not shorter. A read comes before or after a kill,
/// and a slow list must not use up the time in which the kill may be sent.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl Client {
    /// Lists the sessions of a tenant (DescribeProcessStatsComposition) with `wanted` IDs, and selects for each of `filters`.
    /// `gateway_lead` is the gateway's clock minus ours.
    ///
    /// If there is no memory for a large list, it is requested again once there is: a list that waited would be stale.
    /// So the delay hits only accounts with large lists.
    pub async fn list_sessions<W>(
        &self,
        tenant: &Tenant,
        (wanted, filters): (W, &[Arc<Filter>]),
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
            let read =
                ReadList { access_key: access.access_key.clone(), wanted: wanted.clone(), filters: filters.to_vec() };
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

    /// Asks whether the gateway offers `operation` to this key: it calls the operation without its required parameters,
    /// which cannot end anything. A complaint about a missing parameter proves that the operation exists; if it does
    /// not, the error is [`ErrorKind::OperationNotFound`]. `gateway_lead` is the gateway's clock minus ours.
    pub async fn probe(
        &self,
        operation: Operation,
        gateway_lead: SignedDuration,
        access: &Access,
    ) -> Result<(), CallError> {
        let _room = self.budget.small(&self.account).await;
        // An error here is our own, and its `Rejected` would prove nothing.
        let request = self.read_request(operation.as_str(), &[], gateway_lead, access)?;
        match self.answer_to_kill(request, self.read_timeout(), operation, access, |_| false).await {
            Err(error) if error.kind != ErrorKind::Rejected => Err(error),
            _ => Ok(()),
        }
    }

    fn read_timeout(&self) -> Duration {
        READ_TIMEOUT.min(self.request_timeout)
    }

    /// A read request with the current time by the gateway's clock as its stamp.
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
