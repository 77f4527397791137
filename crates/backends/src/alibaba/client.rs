//! The HTTP client shared by all calls. Does I/O.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sessionkill_api::Operation;
use sessionkill_core::backend::{CallError, ErrorKind, KillAnswer};

use super::access::Access;
use super::answer::MAX_ANSWER_BYTES;
use super::budget::{AnswerBudget, DEFAULT_BYTES};
use super::raw_answer::RawAnswer;
use super::receive::{ReadKill, receive};
use super::transport::{Receiving, Transport};
use crate::addresses::Addresses;

/// Options of the HTTP client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The longest that a call may take in total.
    pub request_timeout: Duration,
    /// The addresses that may be called. It cannot be enforced with a proxy, which resolves names itself.
    pub addresses: Addresses,
    /// The proxy to use; the environment's proxy is ignored.
    pub proxy: Option<String>,
}

/// Receives the date of each answer, to track the gateway's clock.
pub trait Dates: std::fmt::Debug + Send + Sync {
    /// Records an answer with `date`, received just now, to a request sent at `asked`.
    fn answered(&self, date: Timestamp, asked: Instant);
}

/// Ignores the dates.
impl Dates for () {
    fn answered(&self, _: Timestamp, _: Instant) {}
}

/// The client of the API; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) transport: Transport,
    pub(super) request_timeout: Duration,
    pub(super) budget: Arc<AnswerBudget>,
    pub(super) account: Arc<str>,
    dates: Arc<dyn Dates>,
}

impl Client {
    /// A client with its own memory budget for answers. Fails if the proxy's URL or the system's certificates cannot be
    /// read.
    pub fn new(options: &ClientOptions) -> Result<Self, reqwest::Error> {
        Ok(Self {
            transport: Transport::new(options.addresses, options.proxy.as_deref())?,
            request_timeout: options.request_timeout,
            budget: AnswerBudget::new(DEFAULT_BYTES),
            account: "".into(),
            dates: Arc::new(()),
        })
    }

    /// A client that sends by `transport`, with this `request_timeout`, with memory for answers from `budget` on `account`,
    /// and with `dates` as the receiver of dates.
    #[must_use]
    pub fn over(
        transport: Transport,
        request_timeout: Duration,
        (budget, account): (&Arc<AnswerBudget>, &str),
        dates: Arc<dyn Dates>,
    ) -> Self {
        Self { transport, request_timeout, budget: budget.clone(), account: account.into(), dates }
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
            self.dates.answered(date, asked);
        }
        Ok(answer)
    }

    /// The answer of `operation` for the sessions with `wanted` IDs.
    pub(super) async fn answer_to_kill(
        &self,
        request: reqwest::Request,
        timeout: Duration,
        operation: Operation,
        access: &Access,
        wanted: impl Fn(i64) -> bool + Send + 'static,
    ) -> Result<KillAnswer, CallError> {
        let answer = self.exchange(request, timeout, MAX_ANSWER_BYTES).await?;
        let read = ReadKill { operation, access_key: access.access_key.clone(), wanted };
        // Waits for memory, as an executed call cannot be asked again.
        let read = receive(answer, read, async || Some(self.budget.large(&self.account).await)).await?;
        read.ok_or_else(|| CallError::local(ErrorKind::Ambiguous, "NotRead", "there is no memory for the answer"))
    }
}
