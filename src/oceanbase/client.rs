//! The client, and the call that ends sessions: one HTTP request. Does I/O; the controller's dispatch consumes it.
//!
//! A kill is called with a permit, fenced by its dispatch deadline and never repeated here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::addresses::Addresses;
use super::answer::{KillAnswer, MAX_ANSWER_BYTES, RawAnswer};
use super::budget::{AnswerBudget, DEFAULT_BYTES};
use super::credentials::AccessKey;
use super::endpoint::Endpoint;
use super::error::{CallError, ErrorKind};
use super::receive::{ReadKill, receive};
use super::signed::SignedRequest;
use super::stamp::TimeSource;
use super::transport::{CONNECT_TIMEOUT, Receiving, Transport};
use crate::clock::ServerClock;

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
    pub(super) transport: Transport,
    pub(super) request_timeout: Duration,
    pub(super) budget: Arc<AnswerBudget>,
    pub(super) account: Arc<str>,
    clock: Arc<ServerClock>,
}

impl Client {
    /// Builds a client with memory for answers of its own. Fails when the proxy's URL or the system's certificates cannot be
    /// read.
    pub fn new(options: &ClientOptions) -> Result<Self, reqwest::Error> {
        Ok(Self {
            transport: Transport::new(options.addresses, options.proxy.as_deref())?,
            request_timeout: options.request_timeout,
            budget: AnswerBudget::new(DEFAULT_BYTES),
            account: "".into(),
            clock: Arc::default(),
        })
    }

    /// The same client for those who wait `request_timeout` for an answer, and take memory for it out of `budget` on
    /// `account`. `clock` hears of the date of each answer.
    #[must_use]
    pub fn sharing(
        &self,
        request_timeout: Duration,
        (budget, account): (&Arc<AnswerBudget>, &str),
        clock: Arc<ServerClock>,
    ) -> Self {
        let transport = self.transport.clone();
        Self { transport, request_timeout, budget: budget.clone(), account: account.into(), clock }
    }

    /// Ends sessions by one request, if the permit's deadline has not passed.
    pub async fn kill<P: KillPermit>(&self, permit: P, call: &KillCall, access: &Access) -> Called<P> {
        let now = Timestamp::now();
        let stamp = call.time_source.stamp(permit.nonce_seed(), call.request, permit.dispatch_deadline(), now);
        let form = kill_parameters(call.operation, &call.target);
        let request = SignedRequest::new(call.operation.as_str(), &form, &stamp, access);
        let request = match request.and_then(|request| self.transport.prepare(request)) {
            Ok(request) => request,
            Err(error) => return Called::NotExecuted(permit, error),
        };
        if permit.time_left().is_none_or(|left| left <= connect_margin(call.time_source)) {
            let message = "the dispatch deadline passed before the call could be sent";
            return Called::NotExecuted(permit, CallError::local(ErrorKind::DeadlinePassed, "DeadlinePassed", message));
        }
        let named: HashSet<i64> = call.target.sessions.iter().map(|(_, id)| *id).collect();
        let wanted = move |id| named.contains(&id);
        match self.answer_to_kill(request, self.request_timeout, call.operation, access, wanted).await {
            Ok(answer) => Called::Answered(answer),
            Err(error) if error.kind.is_not_executed() => Called::NotExecuted(permit, error),
            Err(error) => Called::Ambiguous(error),
        }
    }

    /// Sends `request` once.
    pub(super) async fn exchange(
        &self,
        request: reqwest::Request,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<RawAnswer<Receiving>, CallError> {
        let asked = Instant::now();
        let answer = self.transport.exchange(request, timeout, max_bytes).await?;
        if let Some(date) = answer.gateway_time {
            self.clock.answered(date, asked);
        }
        Ok(answer)
    }

    /// What `operation` answers of the sessions with `wanted` IDs.
    pub(super) async fn answer_to_kill(
        &self,
        request: reqwest::Request,
        timeout: Duration,
        operation: KillOperation,
        access: &Access,
        wanted: impl Fn(i64) -> bool + Send + 'static,
    ) -> Result<KillAnswer, CallError> {
        let answer = self.exchange(request, timeout, MAX_ANSWER_BYTES).await?;
        let read = ReadKill { operation, access_key: access.access_key.clone(), wanted };
        // What was executed is not asked for again.
        let read = receive(answer, read, async || Some(self.budget.large(&self.account).await)).await?;
        read.ok_or_else(|| CallError::local(ErrorKind::Ambiguous, "NotRead", "there is no memory for the answer"))
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
