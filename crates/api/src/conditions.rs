//! Condition types and reasons: closed sets, so that nothing else can appear in a status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The types of the conditions that the operator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The summary of a `SessionKill`: Unknown while active, then True or False.
    Succeeded,
    /// True when nothing is left to do and nothing went wrong. Read by kstatus (Flux, Helm) and Argo CD; on a
    /// connection: its last call was answered.
    Ready,
    /// True while the operator works or waits to try again. Absent otherwise.
    Reconciling,
    /// True when the request ended without its goal; on a connection: when it works again only if somebody changes something.
    /// Read as Failed by kstatus. Absent otherwise.
    Stalled,
    /// On a request: the API named another user, database or client for a killed session than was expected or seen before.
    /// Absent otherwise.
    TargetMismatch,
    /// On a request: the audit line of its call was lost. Absent otherwise.
    NotAudited,
    /// On a connection: calls are signed with a time stamp that the gateway refuses after the dispatch deadline.
    ServerSideFence,
    /// On a connection: the gateway took the access key of its Secret.
    CredentialsValid,
    /// On a connection: the gateway's clock and the operator's differ by more than clocks may, by the dates of the gateway's
    /// answers. Absent otherwise.
    ClockSkew,
}

impl ConditionType {
    /// The name as written in `conditions[].type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::TargetMismatch => "TargetMismatch",
            Self::NotAudited => "NotAudited",
            Self::ServerSideFence => "ServerSideFence",
            Self::CredentialsValid => "CredentialsValid",
            Self::ClockSkew => "ClockSkew",
        }
    }
}

/// Why a request waits: the reason of its `Succeeded` condition while that is Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The API server refuses what the operator needs, such as the claim in a namespace that is being deleted.
    Pending,
    /// `spec.notBeforeTime` has not come.
    Scheduled,
    /// `spec.suspend` is true.
    Suspended,
    /// A claim for the same content is in flight.
    Dispatching,
    /// The call was made; the process list is read until the sessions are gone from it.
    Verifying,
    /// The process list cannot be read, and without it a session could be the wrong one: nothing was sent.
    ObservationFailed,
    /// The `OceanBaseConnection` does not exist.
    ConnectionNotFound,
    /// The connection's endpoint is neither Alibaba's nor allowed by the operator's flags.
    EndpointNotAllowed,
    /// The Secret is missing, not labelled for this use, or lacks a key.
    CredentialsUnavailable,
    /// The gateway refused the access key, its signature or its token.
    CredentialsRejected,
    /// The access key may not call the operation on this instance.
    PermissionDenied,
    /// The gateway asked to slow down.
    Throttled,
    /// The gateway could not be reached: name resolution, connect or TLS failed.
    EndpointUnreachable,
    /// The gateway refused the time stamp; see the connection's `ServerSideFence` condition.
    TimeStampRefused,
    /// The gateway does not offer the operation.
    OperationUnavailable,
    /// The clock of the operator's node and the API server's differ by more than clocks may: whether it is time, or too late,
    /// cannot be told, and nothing is sent.
    ClockSkew,
}

impl WaitReason {
    /// The name as written in `conditions[].reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Scheduled => "Scheduled",
            Self::Suspended => "Suspended",
            Self::Dispatching => "Dispatching",
            Self::Verifying => "Verifying",
            Self::ObservationFailed => "ObservationFailed",
            Self::ConnectionNotFound => "ConnectionNotFound",
            Self::EndpointNotAllowed => "EndpointNotAllowed",
            Self::CredentialsUnavailable => "CredentialsUnavailable",
            Self::CredentialsRejected => "CredentialsRejected",
            Self::PermissionDenied => "PermissionDenied",
            Self::Throttled => "Throttled",
            Self::EndpointUnreachable => "EndpointUnreachable",
            Self::TimeStampRefused => "TimeStampRefused",
            Self::OperationUnavailable => "OperationUnavailable",
            Self::ClockSkew => "ClockSkew",
        }
    }
}

/// How a request ended: the reason of its `Succeeded` condition at the end, and the `outcome` of its receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Every session was killed, or some were killed and the others already gone.
    SessionsKilled,
    /// Every session was already gone.
    SessionsGone,
    /// The same content had been executed before; its recorded outcome was copied and nothing was sent.
    AlreadyExecuted,
    /// A DryRun said what a Kill would do.
    DryRunCompleted,
    /// Created long after its own `notAfterTime`, as an old manifest is; nothing was sent. Neutral for health.
    ExpiredOnArrival,
    /// Created after its own `notAfterTime`, but so shortly that it was meant to be executed, and there is no receipt of its
    /// content; nothing was sent.
    KillMissed,
    /// `notAfterTime` passed while the request waited; nothing was sent.
    DeadlineExceeded,
    /// The request was deleted before it was sent, and somebody's finalizer keeps the object; nothing was sent. Neutral for
    /// health.
    Deleted,
    /// No session met its preconditions; nothing was sent.
    PreconditionFailed,
    /// The connection's allow-lists do not name the instance or the tenant; nothing was sent.
    NotAllowed,
    /// The stored object does not fit the schema; nothing was sent.
    InvalidObject,
    /// Some sessions were killed and some were not.
    PartiallyKilled,
    /// No session was killed.
    KillFailed,
    /// No session ended, and at least one was still in the process list at the end of the verification.
    StillPresent,
    /// Whether the sessions were killed cannot be told.
    OutcomeUnknown,
}

impl Outcome {
    /// The name as written in `conditions[].reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionsKilled => "SessionsKilled",
            Self::SessionsGone => "SessionsGone",
            Self::AlreadyExecuted => "AlreadyExecuted",
            Self::DryRunCompleted => "DryRunCompleted",
            Self::ExpiredOnArrival => "ExpiredOnArrival",
            Self::KillMissed => "KillMissed",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Deleted => "Deleted",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::NotAllowed => "NotAllowed",
            Self::InvalidObject => "InvalidObject",
            Self::PartiallyKilled => "PartiallyKilled",
            Self::KillFailed => "KillFailed",
            Self::StillPresent => "StillPresent",
            Self::OutcomeUnknown => "OutcomeUnknown",
        }
    }
}

/// Why a connection's condition is as it is; where a call failed, the request's [`WaitReason`] is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionReason {
    /// The gateway answered the last call.
    CallAnswered,
    /// The last probe got no answer that tells whether the connection works.
    ProbeUnanswered,
    /// The gateway took the access key.
    CredentialsAccepted,
    /// No call has been answered yet that tells.
    NotYetKnown,
    /// Calls carry a time stamp that expires at the dispatch deadline.
    DeadlineTimeStamp,
    /// The gateway refused such a time stamp; calls carry the current time, and only the operator's own clock keeps them from being late.
    TimeStampRefused,
    /// The stored object does not fit the schema; nothing is sent through it.
    InvalidObject,
    /// The gateway's clock is ahead of the operator's by more than clocks may differ.
    GatewayAhead,
    /// It is behind by more than that.
    GatewayBehind,
}

impl ConnectionReason {
    /// The name as written in `conditions[].reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallAnswered => "CallAnswered",
            Self::ProbeUnanswered => "ProbeUnanswered",
            Self::CredentialsAccepted => "CredentialsAccepted",
            Self::NotYetKnown => "NotYetKnown",
            Self::DeadlineTimeStamp => "DeadlineTimeStamp",
            Self::TimeStampRefused => "TimeStampRefused",
            Self::InvalidObject => "InvalidObject",
            Self::GatewayAhead => "GatewayAhead",
            Self::GatewayBehind => "GatewayBehind",
        }
    }
}

/// What is told of a request beside its outcome and what it waits for: in an Event, or in a condition of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Event: the API named another user, database or client for a killed session than was expected or seen before.
    TargetMismatch,
    /// The reason of the condition `TargetMismatch`.
    AnswerDiffers,
    /// The reason of the condition `NotAudited`.
    AuditLineLost,
    /// Event: a GitOps tool keeps the object, so that it is not deleted.
    TtlIgnored,
    /// Event: the API server stores the outcome of the request in no form, as it does for an object that is too large.
    StatusNotStored,
}

impl Notice {
    /// The name as written in `conditions[].reason` and in Events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TargetMismatch => "TargetMismatch",
            Self::AnswerDiffers => "AnswerDiffers",
            Self::AuditLineLost => "AuditLineLost",
            Self::TtlIgnored => "TTLIgnored",
            Self::StatusNotStored => "StatusNotStored",
        }
    }
}

/// `metav1.Condition` with the limits that Kubernetes states in words; the generated type carries none of them.
/// The limits also keep the cost of CEL rules over conditions bounded.
pub(super) fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "description": "Standard conditions, one per type.",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 64, "description": "What the condition speaks of."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$",
                    "description": "Why, in one word for programs.",
                },
                "message": {"type": "string", "maxLength": 4096, "description": "Why, and what to do, for people."},
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "When status last changed.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "description": "The metadata.generation it was derived from.",
                },
            },
        },
    })
}

/// Names the element type beside the hand-written schema: conditions are read and written as `metav1.Condition`.
pub type Conditions = Vec<Condition>;
