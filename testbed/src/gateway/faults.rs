//! Faults that a test can order from the gateway.

use std::time::Duration;

use http::StatusCode;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::errors::ApiError;

/// One fault, as `POST /_testbed/faults` takes it:
///
/// ```json
/// {"kind": "drop", "when": "after", "action": "KillProcessList", "count": 1}
/// ```
///
/// Faults wait in a queue. Each call takes the first one that fits its action. A fault that was taken `count` times
/// leaves the queue. `clockSkew`, `dateSkew`, `expireTokens` and `expiredCode` are states, not events: they apply
/// together, to all calls, until the faults are cleared.
///
/// STS takes its part in all this by its actions, `AssumeRole` and so on, and the metadata service by `PutMetadataToken`,
/// `GetInstanceRole` and `GetInstanceCredentials`. To let one of them hang, delay it for an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// Whether it happens instead of the execution or after it. For the default see the kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// Only calls of this action. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only calls that name sessions to end: no list, and no probe of an action. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kills_only: bool,
    /// Only calls that name a session with this ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<i64>,
    /// Only calls that name more sessions than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_than: Option<usize>,
    /// How many calls it applies to. Default: all until the faults are cleared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How long to wait before the fault. It can be combined with every kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Sent as `x-acs-retry-after` with an error answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Another error code than the kind's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Another HTTP status than the kind's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How far a clock is off. Negative means slow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
    /// How many rows are added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
    /// Where a redirect leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// What happens. If nothing else is said, it happens before, which means instead of the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// The error `Throttling.User`, status 400.
    Throttle,
    /// Only the delay `delayMs`. Before: the time stamp is checked after the delay, as if the request had been long on
    /// its way.
    Delay,
    /// The connection is closed without an answer.
    Drop,
    /// The error `ServiceUnavailable`, status 503.
    Status5xx,
    /// The error `InvalidAction.NotFound`, status 404.
    RemoveAction,
    /// Any error: give `code` and `status`. Default `Forbidden.RAM`, 403.
    Error,
    /// An error body (`InternalError`) under status 200.
    ErrorBody200,
    /// A page in HTML, status 502.
    Html,
    /// After, always: an answer of full length that is not JSON.
    Malformed,
    /// After, always: the connection is closed in the middle of the answer.
    Truncated,
    /// After, always: half of the rows are left out.
    Partial,
    /// After, always: the answer with a list has `rows` more sessions, of the list's tenant.
    Padded,
    /// A redirect to `location`, status 307.
    Redirect,
    /// After, always: the temporary key in the answer is said to have expired long ago.
    PastExpiration,
    /// After, always: the metadata service's answer has the `Code` `Failed`.
    CodeFailed,
    /// State: the header `Date` is off by `skewMs`.
    DateSkew,
    /// State: the gateway's clock, and the header `Date` with it, is off by `skewMs`.
    ClockSkew,
    /// State: every security token has expired.
    ExpireTokens,
    /// State: an expired token is refused with `code`, as `InvalidAccessKeyId.NotFound` or `InvalidParameter`.
    ExpiredCode,
}

/// Whether a fault happens instead of the execution or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// The call is not executed.
    Before,
    /// The call is executed.
    After,
}

impl Fault {
    /// A fault of this kind with all defaults.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            when: None,
            action: None,
            kills_only: false,
            session_id: None,
            more_than: None,
            count: None,
            delay_ms: None,
            retry_after_ms: None,
            code: None,
            status: None,
            skew_ms: None,
            rows: None,
            location: None,
        }
    }

    /// Makes it happen after the execution.
    #[must_use]
    pub fn after(self) -> Self {
        Self { when: Some(When::After), ..self }
    }

    /// Limits it to this action.
    #[must_use]
    pub fn on(self, action: &str) -> Self {
        Self { action: Some(action.to_owned()), ..self }
    }

    /// Limits it to calls that name sessions to end.
    #[must_use]
    pub fn on_kills(self) -> Self {
        Self { kills_only: true, ..self }
    }

    /// Limits it to calls that name a session with this ID.
    #[must_use]
    pub fn naming(self, session_id: i64) -> Self {
        Self { session_id: Some(session_id), ..self }
    }

    /// Limits it to calls that name more sessions than this.
    #[must_use]
    pub fn of_more_than(self, sessions: usize) -> Self {
        Self { more_than: Some(sessions), ..self }
    }

    /// Limits it to this number of calls.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Adds a delay.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay_ms: Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)), ..self }
    }

    /// Adds `x-acs-retry-after` to the answer.
    #[must_use]
    pub fn retry_after(self, pause: Duration) -> Self {
        Self { retry_after_ms: Some(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)), ..self }
    }

    /// Answers with this error code and status.
    #[must_use]
    pub fn answering(self, status: u16, code: &str) -> Self {
        Self { status: Some(status), code: Some(code.to_owned()), ..self }
    }

    /// Adds this number of rows.
    #[must_use]
    pub fn of_rows(self, rows: u32) -> Self {
        Self { rows: Some(rows), ..self }
    }

    /// Names the error code.
    #[must_use]
    pub fn with_code(self, code: &str) -> Self {
        Self { code: Some(code.to_owned()), ..self }
    }

    /// Sets where a redirect leads.
    #[must_use]
    pub fn leading_to(self, location: &str) -> Self {
        Self { location: Some(location.to_owned()), ..self }
    }

    /// Sets how far a clock is off.
    #[must_use]
    pub fn skewed(self, skew: SignedDuration) -> Self {
        Self { skew_ms: Some(i64::try_from(skew.as_millis()).unwrap_or_default()), ..self }
    }

    /// Whether it happens instead of the execution or after it.
    #[must_use]
    pub fn when(&self) -> When {
        match self.kind {
            FaultKind::Malformed
            | FaultKind::Truncated
            | FaultKind::Partial
            | FaultKind::Padded
            | FaultKind::PastExpiration
            | FaultKind::CodeFailed => When::After,
            _ => self.when.unwrap_or(When::Before),
        }
    }

    /// Whether the call never reaches the gateway itself: its signature is not checked and its nonce is not used. The
    /// gateway's own refusals come after both.
    #[must_use]
    pub fn at_the_edge(&self) -> bool {
        !matches!(self.kind, FaultKind::Throttle | FaultKind::RemoveAction | FaultKind::Error)
    }

    /// How long to wait before the fault.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.unwrap_or_default())
    }

    /// The error that this fault answers with, if any.
    #[must_use]
    pub fn error(&self) -> Option<ApiError> {
        let (status, code, message) = match self.kind {
            FaultKind::Throttle => (400, "Throttling.User", "Request was denied due to user flow control."),
            FaultKind::Status5xx => (503, "ServiceUnavailable", "The request has failed due to a temporary failure."),
            FaultKind::Error => (403, "Forbidden.RAM", "User not authorized to operate on the specified resource."),
            FaultKind::ErrorBody200 => (200, "InternalError", "The request processing has failed."),
            FaultKind::RemoveAction => return Some(ApiError::unknown_action()),
            _ => return None,
        };
        let status = StatusCode::from_u16(self.status.unwrap_or(status)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = ApiError::new(status, self.code.as_deref().unwrap_or(code), message);
        Some(ApiError { retry_after_ms: self.retry_after_ms, ..error })
    }

    /// The error of a fault that the gateway itself refuses a call with. The call was received and checked.
    #[must_use]
    pub fn refusal(&self) -> Option<ApiError> {
        Some(self).filter(|it| it.when() == When::Before).and_then(Self::error)
    }

    /// Whether a call of this action gets it. `named` are the sessions to end that the call names, if any.
    #[must_use]
    pub fn fits(&self, action: Option<&str>, named: Option<&[i64]>) -> bool {
        let is_named = |id| named.is_some_and(|named| named.contains(&id));
        !self.kind.is_state()
            && (self.action.is_none() || self.action.as_deref() == action)
            && (named.is_some() || !self.kills_only)
            && self.session_id.is_none_or(is_named)
            && self.more_than.is_none_or(|most| named.is_some_and(|named| named.len() > most))
    }

    /// The kind as JSON spells it.
    #[must_use]
    pub fn name(&self) -> String {
        serde_json::to_value(self.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl FaultKind {
    /// Whether it is a state, not an event.
    #[must_use]
    pub fn is_state(self) -> bool {
        matches!(self, Self::DateSkew | Self::ClockSkew | Self::ExpireTokens | Self::ExpiredCode)
    }
}
