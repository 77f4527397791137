//! The three calls: a kill, the list of sessions, and a probe that can end nothing. Each is one HTTP request. Does I/O;
//! the controller's dispatch consumes it.
//!
//! A kill is called with a permit, fenced by its dispatch deadline and never repeated here. The others change nothing, so
//! they need no permit; they are not repeated here either.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::addresses::Addresses;
use super::answer::{KillAnswer, MAX_ANSWER_BYTES};
use super::credentials::AccessKey;
use super::endpoint::Endpoint;
use super::error::{CallError, ErrorKind};
use super::process_list::{MAX_LIST_BYTES, ProcessList};
use super::signed::SignedRequest;
use super::stamp::{Stamp, TimeSource};
use super::transport::{CONNECT_TIMEOUT, Transport};
use super::withheld::read;

/// The action that lists the sessions of a tenant.
pub const LIST_ACTION: &str = "DescribeProcessStatsComposition";

/// The longest that a call may take that changes nothing, if the time-out of all calls is not shorter: such a call goes
/// before or after a kill, and an API that lists slowly must not use up the time in which the kill may be sent.
pub const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A larger list is read beside the others' work: one of 10,000 sessions takes a tenth of a second, in which no other
/// tenant's request would go on.
const MAX_BYTES_READ_IN_PLACE: usize = 256 * 1024;

/// Permission to send one kill. The caller implements it for its claim and for nothing else, so that an unclaimed kill
/// does not compile: [`Client::kill`] takes it by value, and gives it back only if nothing was executed.
pub trait KillPermit {
    /// Unique to the attempt; nonces derive from it.
    fn nonce_seed(&self) -> &str;
    /// Nothing is sent after this time.
    fn dispatch_deadline(&self) -> Timestamp;
    /// The time left to send, by the wall clock and by the monotonic one, whichever is less; none if it has passed.
    fn time_left(&self) -> Option<Duration>;
}

/// Where sessions are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The ID of the instance.
    pub instance_id: String,
    /// The ID of the tenant.
    pub tenant_id: String,
}

/// What a kill names.
#[derive(Clone, Debug)]
pub struct KillTarget {
    /// Where the sessions are.
    pub tenant: Tenant,
    /// Server address and ID of each session.
    pub sessions: Vec<(String, i64)>,
}

/// How sessions are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillOperation {
    /// Answers for each session. Announced for removal.
    KillProcessList,
    /// Its successor: ends sessions after it has answered, and names none of them in its answer.
    BatchKillProcessList,
}

impl KillOperation {
    /// The name of the API's action.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillProcessList => "KillProcessList",
            Self::BatchKillProcessList => "BatchKillProcessList",
        }
    }
}

/// Where calls go and as whom.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where they go.
    pub endpoint: Endpoint,
    /// As whom.
    pub access_key: AccessKey,
    /// `HMAC-SHA1` (V1) instead of `ACS3-HMAC-SHA256` (V3).
    pub signature_v1: bool,
}

/// One request to end sessions.
#[derive(Clone, Debug)]
pub struct KillCall {
    /// How they are ended.
    pub operation: KillOperation,
    /// Which.
    pub target: KillTarget,
    /// Where the signed time stamp comes from.
    pub time_source: TimeSource,
    /// The number of this request within its attempt, from 0.
    pub request: u32,
}

/// What became of a kill.
#[derive(Debug)]
pub enum Called<P> {
    /// The API answered.
    Answered(KillAnswer),
    /// Provably not executed; the permit may be used again.
    NotExecuted(P, CallError),
    /// It may have been executed; the permit is gone.
    Ambiguous(CallError),
}

/// Options of the HTTP client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The longest a call may take in all.
    pub request_timeout: Duration,
    /// The addresses that may be called; with a proxy, which resolves names itself, this cannot be enforced.
    pub addresses: Addresses,
    /// The proxy to use; none is taken from the environment.
    pub proxy: Option<String>,
}

/// The client of the API; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    kills: Transport,
    reads: Transport,
}

impl Client {
    /// Builds a client. Fails when the proxy's URL or the system's certificates cannot be read.
    pub fn new(options: &ClientOptions) -> Result<Self, reqwest::Error> {
        let transport = |timeout| Transport::new(timeout, options.addresses, options.proxy.as_deref());
        Ok(Self {
            kills: transport(options.request_timeout)?,
            reads: transport(READ_TIMEOUT.min(options.request_timeout))?,
        })
    }

    /// Ends sessions by one request, if the permit's deadline has not passed.
    pub async fn kill<P: KillPermit>(&self, permit: P, call: &KillCall, access: &Access) -> Called<P> {
        let now = Timestamp::now();
        let stamp = call.time_source.stamp(permit.nonce_seed(), call.request, permit.dispatch_deadline(), now);
        let form = kill_parameters(call.operation, &call.target);
        let request = SignedRequest::new(call.operation.as_str(), &form, &stamp, access);
        let request = match request.and_then(|request| self.kills.prepare(request)) {
            Ok(request) => request,
            Err(error) => return Called::NotExecuted(permit, error),
        };
        if permit.time_left().is_none_or(|left| left <= connect_margin(call.time_source)) {
            let message = "the dispatch deadline passed before the call could be sent";
            return Called::NotExecuted(permit, CallError::local(ErrorKind::DeadlinePassed, "DeadlinePassed", message));
        }
        let answer = self.kills.exchange(request, MAX_ANSWER_BYTES).await;
        match answer.and_then(|raw| read(&raw, &access.access_key, |raw| KillAnswer::read(raw, call.operation))) {
            Ok(answer) => Called::Answered(answer),
            Err(error) if error.kind.is_not_executed() => Called::NotExecuted(permit, error),
            Err(error) => Called::Ambiguous(error),
        }
    }

    /// Lists the sessions of a tenant (DescribeProcessStatsComposition). `gateway_lead` is the gateway's clock less ours.
    pub async fn list_sessions(
        &self,
        tenant: &Tenant,
        gateway_lead: SignedDuration,
        access: &Access,
    ) -> Result<ProcessList, CallError> {
        let form = [("InstanceId", tenant.instance_id.clone()), ("TenantId", tenant.tenant_id.clone())];
        let request = self.read_request(LIST_ACTION, &form, gateway_lead, access)?;
        let raw = self.reads.exchange(request, MAX_LIST_BYTES).await?;
        if raw.body.len() <= MAX_BYTES_READ_IN_PLACE {
            return read(&raw, &access.access_key, ProcessList::read);
        }
        let access_key = access.access_key.clone();
        let list = tokio::task::spawn_blocking(move || read(&raw, &access_key, ProcessList::read)).await;
        // It fails only when the process ends.
        list.unwrap_or_else(|error| Err(CallError::local(ErrorKind::Ambiguous, "NotRead", error.to_string())))
    }

    /// Asks whether the gateway offers `operation` to this key, by calling it without the parameters that it requires:
    /// it cannot end anything. Being told that one of them is missing proves that the operation exists; where it does not,
    /// the error is [`ErrorKind::OperationNotFound`]. `gateway_lead` is the gateway's clock less ours.
    pub async fn probe(
        &self,
        operation: KillOperation,
        gateway_lead: SignedDuration,
        access: &Access,
    ) -> Result<(), CallError> {
        // An error up to here is ours, and `Rejected` would prove nothing.
        let request = self.read_request(operation.as_str(), &[], gateway_lead, access)?;
        let raw = self.reads.exchange(request, MAX_ANSWER_BYTES).await?;
        match read(&raw, &access.access_key, |raw| KillAnswer::read(raw, operation)) {
            Err(error) if error.kind != ErrorKind::Rejected => Err(error),
            _ => Ok(()),
        }
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
        self.reads.prepare(SignedRequest::new(action, form, &stamp, access)?)
    }
}

/// Without the gateway's own fence, the last look at the clock must leave room for connecting.
fn connect_margin(source: TimeSource) -> Duration {
    match source {
        TimeSource::DispatchDeadline => Duration::ZERO,
        TimeSource::CurrentTime { .. } => CONNECT_TIMEOUT,
    }
}

/// The business parameters of a kill, session IDs in the type of the API's own examples: strings in one, numbers in the
/// other.
fn kill_parameters(operation: KillOperation, target: &KillTarget) -> Vec<(&'static str, String)> {
    let sessions: Vec<_> = match operation {
        KillOperation::KillProcessList => {
            target.sessions.iter().map(|(ip, id)| json!({"ServerIp": ip, "SessionId": id.to_string()})).collect()
        }
        KillOperation::BatchKillProcessList => {
            target.sessions.iter().map(|(ip, id)| json!({"ServerIp": ip, "SessionId": id})).collect()
        }
    };
    let mut form = vec![
        ("InstanceId", target.tenant.instance_id.clone()),
        ("SessionList", serde_json::Value::from(sessions).to_string()),
        ("TenantId", target.tenant.tenant_id.clone()),
    ];
    if operation == KillOperation::BatchKillProcessList {
        // Without it every session behind the same proxy session would end.
        form.push(("ByObSessionId", "true".to_owned()));
    }
    form
}
