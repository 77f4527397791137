//! Condition types and reasons. They are closed sets, so that nothing else can appear in a status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// The types of the conditions that the operator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
pub enum ConditionType {
    /// The summary of a `SessionKill`: Unknown while the request is worked on, then True or False.
    Succeeded,
    /// On a request: nothing is left to do and nothing went wrong. On a connection: its last call or probe was
    /// answered. kstatus (Flux, Helm) and Argo CD read it.
    Ready,
    /// True while the operator works or waits to try again. Absent otherwise.
    Reconciling,
    /// On a request: it ended without reaching its goal. On a connection: somebody must change something before it
    /// works again. kstatus reads it as Failed. Absent otherwise.
    Stalled,
    /// On a request: the API named another user, database or client for a killed session than was expected or seen
    /// before. Absent otherwise.
    TargetMismatch,
    /// On a request: the audit line of its call was lost. Absent otherwise.
    NotAudited,
    /// On a connection: the other side itself refuses calls that come after the dispatch deadline.
    ServerSideFence,
    /// On a connection: its credentials were accepted.
    CredentialsValid,
    /// On a connection by SQL: it is encrypted, and the server is verified.
    Encrypted,
    /// On a `ClusterOceanBaseConnection`: requests of some namespace may use it.
    NamespacesAllowed,
    /// On a connection: the clocks of the gateway and the operator differ by more than 5 s, as the `Date` headers of
    /// the gateway's answers show. Absent otherwise.
    ClockSkew,
}

impl ConditionType {
    /// The name as written in `conditions[].type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a request waits: the reason of its `Succeeded` condition while that is Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum WaitReason {
    /// The API server refuses what the operator needs, such as the claim in a namespace that is being deleted.
    Pending,
    /// `spec.notBeforeTime` has not come.
    Scheduled,
    /// `spec.suspend` is true.
    Suspended,
    /// Another claim for the same content is in flight.
    Dispatching,
    /// The call was made. The process list is read until the sessions are gone from it.
    Verifying,
    /// The process list cannot be read. Nothing was sent, as without the list the kill could end the wrong session.
    ObservationFailed,
    /// The connection does not exist, or its kind cannot be read.
    ConnectionNotFound,
    /// The connection's endpoint is neither the product's own nor allowed by `--allow-endpoint`.
    EndpointNotAllowed,
    /// The Secret is missing, not labelled for this use, or lacks a key.
    CredentialsUnavailable,
    /// The gateway refused the access key, its signature or its token. Or STS did, when a role was to be assumed with it.
    CredentialsRejected,
    /// STS refused to let the RAM role be assumed.
    RoleNotAssumable,
    /// STS refused the token of the `ServiceAccount`: its issuer, its audience or its signature.
    #[strum(serialize = "OIDCTokenRejected")]
    OidcTokenRejected,
    /// The `ServiceAccount` is missing, not labelled for this use, or gives no token.
    ServiceAccountUnavailable,
    /// The operator lends the namespace no identity of its own.
    IdentityNotAllowed,
    /// The metadata service of the operator's node gives no access key.
    MetadataUnavailable,
    /// STS gives no access key: it was not reached, did not answer, or asked to slow down.
    #[strum(serialize = "STSUnavailable")]
    StsUnavailable,
    /// The last access key has expired, or will before a call can end, and no new one came.
    CredentialsExpired,
    /// The access key may not call the operation on this instance.
    PermissionDenied,
    /// The gateway asked to slow down.
    Throttled,
    /// The gateway could not be reached: name resolution, connect or TLS failed.
    EndpointUnreachable,
    /// The gateway refused the time stamp: see the connection's `ServerSideFence` condition.
    TimeStampRefused,
    /// The gateway does not offer the operation.
    OperationUnavailable,
    /// The server is a proxy, which knows sessions by other IDs than the OBServers behind it.
    ProxyNotSupported,
    /// The clocks of the operator's node and the API server differ by more than 5 s. Nothing is sent, as the operator
    /// does not know whether it is too early or too late.
    ClockSkew,
}

impl WaitReason {
    /// The name as written in `conditions[].reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a request ended: the reason of its `Succeeded` condition at the end, and the `outcome` of its receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray)]
pub enum Outcome {
    /// Every session was killed, or some were killed and the others were already gone.
    SessionsKilled,
    /// Every session was already gone.
    SessionsGone,
    /// The same content was executed before. Its recorded outcome was copied, and nothing was sent.
    AlreadyExecuted,
    /// The selector matched no session. Nothing was sent.
    NothingMatched,
    /// A DryRun reported what a Kill would do.
    DryRunCompleted,
    /// Created long after its own `notAfterTime`, like an old manifest. Nothing was sent. Neutral for health.
    ExpiredOnArrival,
    /// Created shortly after its own `notAfterTime`, so it was meant to be executed. Nothing was sent, and there is no
    /// receipt of its content.
    KillMissed,
    /// `notAfterTime` passed while the request waited. Nothing was sent.
    DeadlineExceeded,
    /// The request was deleted before it was sent, and a finalizer keeps the object. Nothing was sent. Neutral for
    /// health.
    Deleted,
    /// No session met its preconditions. Nothing was sent.
    PreconditionFailed,
    /// The selector matched more sessions than `maxSessions`. Nothing was sent.
    TooManyMatched,
    /// The connection's allow-lists do not name the instance or the tenant, or it does not allow the namespace. Nothing
    /// was sent.
    NotAllowed,
    /// The stored object does not fit the schema. Nothing was sent.
    InvalidObject,
    /// Some sessions were killed and some were not.
    PartiallyKilled,
    /// No session was killed.
    KillFailed,
    /// No session ended, and at least one was still in the process list at the end of the verification.
    StillPresent,
    /// It is not known whether the sessions were killed.
    OutcomeUnknown,
}

impl Outcome {
    /// The name as written in `conditions[].reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The reason of a connection's condition. After a failed call it is the request's [`WaitReason`] instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum ConnectionReason {
    /// The gateway answered the last call.
    CallAnswered,
    /// The last probe got no answer that shows whether the connection works.
    ProbeUnanswered,
    /// The gateway accepted the access key.
    CredentialsAccepted,
    /// No answer has shown it yet.
    NotYetKnown,
    /// Calls carry a time stamp that expires at the dispatch deadline.
    DeadlineTimeStamp,
    /// The gateway refused such a time stamp. Calls carry the current time, and only the operator's own clock keeps
    /// them from being late.
    TimeStampRefused,
    /// The stored object does not fit the schema. Nothing is sent through it.
    InvalidObject,
    /// The KILL statement has a condition, by which the server itself ends nothing after the dispatch deadline.
    DeadlineInStatement,
    /// The server does not evaluate conditions in KILL. Only the operator's own clock keeps calls from being late.
    ConditionNotSupported,
    /// Nothing is sent before the server's certificate is verified.
    #[strum(serialize = "TLSRequired")]
    TlsRequired,
    /// `tls.mode` is Disabled.
    #[strum(serialize = "TLSDisabled")]
    TlsDisabled,
    /// `spec.allowedNamespaces` allows some namespaces.
    SomeNamespaces,
    /// `spec.allowedNamespaces` allows no namespace.
    NoNamespace,
    /// The gateway's clock is ahead of the operator's by more than 5 s.
    GatewayAhead,
    /// The gateway's clock is behind the operator's by more than 5 s.
    GatewayBehind,
}

impl ConnectionReason {
    /// The name as written in `conditions[].reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Reasons of Events and conditions about a request, other than its outcome and its [`WaitReason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Notice {
    /// Event: the API named another user, database or client for a killed session than was expected or seen before.
    TargetMismatch,
    /// The reason of the condition `TargetMismatch`.
    AnswerDiffers,
    /// The reason of the condition `NotAudited`.
    AuditLineLost,
    /// Event: `ttlSecondsAfterFinished` is ignored, as a GitOps tool keeps the object.
    #[strum(serialize = "TTLIgnored")]
    TtlIgnored,
    /// Event: the API server stores the outcome of the request in no form, such as when the object is too large.
    StatusNotStored,
}

impl Notice {
    /// The name as written in `conditions[].reason` and in Events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The schema of `metav1.Condition`, with the limits that Kubernetes documents. The generated type has none of them.
/// The limits also bound the cost of CEL rules over conditions.
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
                "type": {"type": "string", "maxLength": 64, "description": "The type of the condition."},
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether the condition holds.",
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Z][A-Za-z0-9]*$",
                    "description": "The reason for the status, in one word for programs.",
                },
                "message": {
                    "type": "string", "maxLength": 4096, "description": "An explanation for people, and what to do.",
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "When the status last changed.",
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64",
                    "description": "The metadata.generation that the condition describes.",
                },
            },
        },
    })
}

/// The type of a field with `conditions_schema`: conditions are read and written as `metav1.Condition`.
pub type Conditions = Vec<Condition>;
