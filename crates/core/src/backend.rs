//! What a kill asks of whatever ends the sessions: the types that go there and come back. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::session::{Row, Seen};

/// Permission to send one kill. The caller implements it for its claim and for nothing else, so that an unclaimed kill
/// does not compile: a call takes it by value, and gives it back only if nothing was executed.
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

/// What became of a kill.
#[derive(Debug)]
pub enum Called<P> {
    /// It was answered.
    Answered(KillAnswer),
    /// Provably not executed; the permit may be used again.
    NotExecuted(P, CallError),
    /// It may have been executed; the permit is gone.
    Ambiguous(CallError),
}

/// A successful answer to a kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillAnswer {
    /// The ID that the other side gave the request.
    pub request_id: String,
    /// What is said of sessions that were asked for, each as it was at the kill: its state is no proof of its end. Empty if
    /// the answer names no session.
    pub rows: Vec<Row>,
}

/// The sessions of a tenant at one moment, as far as they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessList {
    /// Each session that was asked for once, in the order of the answer.
    pub sessions: Vec<Seen>,
    /// Whether all sessions that were asked for are in `sessions`. False when more are counted than listed, or when a
    /// row, of whichever session, could not be read: then the absence of a session proves nothing.
    pub complete: bool,
}

/// A call without a usable answer. Its texts never carry keys, tokens, strings to sign or SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The other side's error code, or a word of ours for what is no answer of it.
    pub code: String,
    /// For people; bounded, and empty where the text may echo what was signed.
    pub message: String,
    /// The ID that the other side gave the request; empty when no answer came.
    pub request_id: String,
    /// Whether what was refused is common to all sessions of the call, such as its tenant: none of them could go without it.
    pub is_of_whole_call: bool,
}

/// What went wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Name resolution, connecting or TLS failed: nothing was sent.
    Unreachable,
    /// Refused for its rate, before execution.
    Throttled {
        /// The pause that the gateway asked for (`x-acs-retry-after`).
        retry_after: Option<SignedDuration>,
    },
    /// The access key, its token or its signature was refused.
    CredentialsRejected,
    /// The access key may not do this.
    PermissionDenied,
    /// The time stamp was refused.
    TimeStampRefused {
        /// The gateway's clock, by the answer's Date header.
        gateway_time: Option<Timestamp>,
    },
    /// There is no such operation: it never was, or was removed.
    OperationNotFound,
    /// The gateway does not offer the operation in this form.
    OperationUnavailable,
    /// The request itself was refused (parameters, instance, tenant): the same request will be refused again.
    Rejected,
    /// The dispatch deadline passed before the call could be sent.
    DeadlinePassed,
    /// Sent, and nothing certain came back. It may have been executed.
    Ambiguous,
}

/// The code of a call that was sent and not answered in time, or whose connection broke.
pub const ANSWER_LOST: &str = "AnswerLost";

impl ErrorKind {
    /// Whether the call was provably not executed, so that it may be made again.
    #[must_use]
    pub const fn is_not_executed(self) -> bool {
        !matches!(self, Self::Ambiguous)
    }
}

impl CallError {
    /// An error of ours, not of the other side.
    #[must_use]
    pub fn local(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.to_owned(),
            message: bounded(&message.into()),
            request_id: String::new(),
            is_of_whole_call: false,
        }
    }
}

/// A text of the other side, which chooses its length: that of its messages, and of the names in a certificate that is refused. What cannot be
/// seen, such as a mark of direction, goes.
#[must_use]
pub fn bounded(text: &str) -> String {
    let is_seen = |c: &char| matches!(c, ' '..='~') || c.escape_debug().len() == 1;
    text.chars().filter(is_seen).take(256).collect()
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if !self.request_id.is_empty() {
            write!(f, " (request {})", self.request_id)?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}
