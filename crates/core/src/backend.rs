//! The port to whatever ends sessions: the types of a kill's request, answer and error. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::{ConnectionReason, ObservedSession, Operation};

use crate::selection::Selected;
use crate::session::{Meant, Row, Seen};
use crate::snapshot::Limits;

/// The least time that must be left for another request in the same attempt (5 s). Closer to the deadline a small difference of
/// the clocks is enough for a refusal, which says nothing about the other side.
pub const ROOM_TO_ASK_AGAIN: Duration = Duration::from_secs(5);

/// Permission to send one kill. A backend takes it by value and returns it only if nothing was executed. The caller
/// implements it for its claim alone, so that an unclaimed kill does not compile.
pub trait KillPermit {
    /// The attempt's ID, from which the call's nonces derive.
    fn nonce_seed(&self) -> &str;
    /// No call starts after this time.
    fn dispatch_deadline(&self) -> Timestamp;
    /// The earliest `notAfterTime` of the requests: nothing may be executed after it, by whichever clock.
    fn not_after(&self) -> Timestamp;
    /// The time left to send, by whichever of the wall and the monotonic clock has less; `None` after the deadline. A backend
    /// whose other side does not refuse late calls must also leave enough of it for connecting: what follows a call takes it
    /// that nothing is executed later than a few seconds after the deadline.
    fn time_left(&self) -> Option<Duration>;
}

/// The tenant whose sessions are listed or killed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The ID of the instance.
    pub instance_id: String,
    /// The ID of the tenant.
    pub tenant_id: String,
}

/// The sessions that one kill names.
#[derive(Clone, Debug)]
pub struct KillTarget {
    /// Their tenant.
    pub tenant: Tenant,
    /// The sessions.
    pub sessions: Vec<TargetSession>,
}

/// One session that a kill names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetSession {
    /// The address of its server.
    pub server_ip: String,
    /// Its ID.
    pub session_id: i64,
    /// What the request means by it.
    pub meant: Meant,
    /// As the process list showed it right before the kill; `None` if it was not seen.
    pub observed: Option<ObservedSession>,
}

impl From<(String, i64)> for TargetSession {
    /// Whatever session has this ID on this server.
    fn from((server_ip, session_id): (String, i64)) -> Self {
        Self { server_ip, session_id, ..Self::default() }
    }
}

/// What a backend guarantees about one of its operations. Whoever judges an answer or shows a connection asks for these, and
/// never which backend was called.
///
/// Whether a list may prove that a session is gone is told by each list: see [`ProcessList::complete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantees {
    /// Whether the other side itself refuses a call that arrives after the dispatch deadline; for the connection's condition.
    pub server_side_fence: Fence,
    /// Whether a successful answer has a row for each session that was ended. If not, only the process list can tell.
    pub answers_each_session: bool,
}

/// The most sessions that one call names, over all its requests. If its answer is lost, all of them stay unknown until the
/// process list is read.
pub const MAX_SESSIONS: usize = 500;

/// What calls of a backend cost, which decides how many requests share one and how soon a list is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// The most sessions that one call names, over all requests that share it: [`MAX_SESSIONS`] at most.
    pub sessions_of_shared_call: usize,
    /// The pause between the first two reads of the list after a call.
    pub pause_between_lists: Duration,
}

/// The state of the server-side fence, as the connection's condition shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Whether the next call has it.
    pub holds: bool,
    /// Why, or why not.
    pub reason: ConnectionReason,
    /// The same for people; if it does not hold, what to do.
    pub message: &'static str,
}

/// One request of a kill.
#[derive(Debug)]
pub struct Asked<P> {
    /// The operation that was called.
    pub operation: Operation,
    /// What came of it.
    pub called: Called<P>,
    /// How the same attempt may be sent once more after a refusal, for people; with [`ROOM_TO_ASK_AGAIN`] only. The caller
    /// takes each way at most once.
    pub retry_as: Option<&'static str>,
    /// What the backend has learned of the other side and does otherwise from now on, for the log.
    pub learned: Option<&'static str>,
}

/// The result of a kill.
#[derive(Debug)]
pub enum Called<P> {
    /// The backend answered.
    Answered(KillAnswer),
    /// Executed for some sessions: the others have the verdict [`NotSent`](crate::session::Verdict::NotSent). The permit may be
    /// used again for a request none of whose sessions was sent.
    InPart(P, KillAnswer, CallError),
    /// Provably not executed: the permit may be used again.
    NotExecuted(P, CallError),
    /// Possibly executed: the permit is used up.
    Ambiguous(CallError),
}

/// A successful answer to a kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillAnswer {
    /// The ID that the backend gave the request.
    pub request_id: String,
    /// The answered sessions, each as it was at the kill: its state does not prove that it ended. Empty if none is
    /// named.
    pub rows: Vec<Row>,
}

/// The wanted sessions of a tenant at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessList {
    /// Each session with a wanted ID once, in the order of the answer.
    pub sessions: Vec<Seen>,
    /// What each wanted filter has selected, in their order.
    pub selected: Vec<Selected>,
    /// Whether `sessions` has every wanted session, and `selected` every one that matches. False if the answer counts more sessions than it lists or if any
    /// row is unreadable: a missing session may then still exist.
    pub complete: bool,
    /// Of what it tells nothing.
    pub limits: Limits,
}

/// A call without a usable answer. Its texts never contain keys, tokens, strings to sign or SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The backend's error code, or one of ours if there was no usable answer, such as [`ANSWER_LOST`].
    pub code: String,
    /// For people: 256 characters at most, and empty where the backend's text may echo what was signed.
    pub message: String,
    /// The ID that the backend gave the request; empty if no answer came.
    pub request_id: String,
    /// Whether the refused part, such as the tenant, is common to all sessions: a smaller call would be refused too.
    pub is_of_whole_call: bool,
}

/// What went wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Name resolution, connecting or TLS failed, so nothing was sent.
    Unreachable,
    /// Refused for the call rate, before execution.
    Throttled {
        /// The pause that was asked for.
        retry_after: Option<SignedDuration>,
    },
    /// The credentials were refused.
    CredentialsRejected,
    /// The credentials do not give the right to do this.
    PermissionDenied,
    /// The time of the call was refused: the clocks differ.
    ClockRefused {
        /// The other side's clock, if its answer told it.
        server_time: Option<Timestamp>,
    },
    /// The operation does not exist (any more).
    OperationNotFound,
    /// The operation is not offered in this form.
    OperationUnavailable,
    /// The request itself was refused (parameters, instance or tenant); the same request would be refused again.
    Rejected,
    /// The dispatch deadline passed before the call could be sent.
    DeadlinePassed,
    /// The other side is a proxy, which knows sessions by other IDs than the servers behind it.
    ProxyNotSupported,
    /// The other side is not what the connection says it is, so that nothing may be asked of it for the request.
    NotAllowed,
    /// Sent, but without a conclusive answer: it may have been executed.
    Ambiguous,
}

/// The code of a call that was sent, but timed out or lost its connection.
pub const ANSWER_LOST: &str = "AnswerLost";

impl ErrorKind {
    /// Whether the call was provably not executed, so that it may be sent again.
    #[must_use]
    pub const fn is_not_executed(self) -> bool {
        !matches!(self, Self::Ambiguous)
    }
}

impl CallError {
    /// An error found by the operator itself, not returned by the backend.
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

/// Bounds a text whose length the other side chooses (error messages, names in a refused certificate): keeps 256
/// characters and drops invisible ones, such as direction marks.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_without_a_conclusive_answer_may_have_been_executed() {
        assert!(!ErrorKind::Ambiguous.is_not_executed());
        for kind in [
            ErrorKind::Unreachable,
            ErrorKind::Throttled { retry_after: None },
            ErrorKind::CredentialsRejected,
            ErrorKind::PermissionDenied,
            ErrorKind::ClockRefused { server_time: None },
            ErrorKind::OperationNotFound,
            ErrorKind::OperationUnavailable,
            ErrorKind::Rejected,
            ErrorKind::DeadlinePassed,
        ] {
            assert!(kind.is_not_executed(), "{kind:?}");
        }
    }

    #[test]
    fn a_text_of_the_other_side_is_cut_and_loses_what_cannot_be_seen() {
        assert_eq!(bounded("it's \"a\\b\" of 数据库"), "it's \"a\\b\" of 数据库");
        assert_eq!(bounded("\u{202e}no\u{200b}\n\x1b such host"), "no such host");
        assert_eq!(bounded(&"数".repeat(300)), "数".repeat(256));
    }

    #[test]
    fn an_error_tells_its_code_and_what_else_is_known_of_it() {
        let mut error = CallError::local(ErrorKind::Ambiguous, ANSWER_LOST, "");
        assert_eq!(error.to_string(), "AnswerLost");
        error.message = "timed out".to_owned();
        assert_eq!(error.to_string(), "AnswerLost: timed out");
        error.request_id = "R".to_owned();
        assert_eq!(error.to_string(), "AnswerLost: timed out (request R)");
    }
}
