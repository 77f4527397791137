//! Of docs/troubleshooting.md: UPDATE_DOCS=1 cargo test -p sessionkill-kubectl

use super::entry::{Advice, SessionAdvice};

#[rustfmt::skip]
pub const REQUESTS: &[Advice] = &[
    Advice {
        reason: "Scheduled",
        meaning: "spec.notBeforeTime has not come",
        todo: "nothing",
    },
    Advice {
        reason: "Suspended",
        meaning: "spec.suspend is true",
        todo: "set it to false",
    },
    Advice {
        reason: "Dispatching",
        meaning: "the same request is being executed under another name; its outcome will be copied. Or a call for another namespace through the same ClusterOceanBaseConnection names one of its sessions; the list is read again when that is over",
        todo: "nothing",
    },
    Advice {
        reason: "Verifying",
        meaning: "the call was made; the process list is read until the sessions are gone from it. Or the operator that made the claim is gone, and the list is read to see what became of the call",
        todo: "nothing",
    },
    Advice {
        reason: "ObservationFailed",
        meaning: "the process list cannot be read, and without it a session could be the wrong one",
        todo: "do what the message says; often the key may not call DescribeProcessStatsComposition, or the database user lacks PROCESS",
    },
    Advice {
        reason: "ConnectionNotFound",
        meaning: "there is no such OceanBaseConnection in the namespace of the request, or it cannot be read: it has a field that this operator does not know, or the form of an earlier version. Of a ClusterOceanBaseConnection also: this operator uses none, or their definition or the right to read them is missing (where it works)",
        todo: "create or correct the connection, or name another in a new request; the message says which of these it is",
    },
    Advice {
        reason: "EndpointNotAllowed",
        meaning: "the endpoint of the connection is neither the product's own in a region nor allowed by --allow-endpoint. Or signatureMethod is HMAC-SHA1, and --allow-endpoint does not name the endpoint. By SQL: the server may not be called, see below",
        todo: "correct endpoint or signatureMethod below spec.alibabaCloud, or have the operator allow it",
    },
    Advice {
        reason: "CredentialsUnavailable",
        meaning: "the Secret is missing, may not be read, lacks the label sessionkill.dev/credentials: \"true\", lacks a key, or holds something that is no key, such as a whole file, or the secret where the ID should be",
        todo: "correct what the message names (credentials.md); a Secret that is created, corrected or labelled is seen within 2 s",
    },
    Advice {
        reason: "CredentialsRejected",
        meaning: "the gateway refused the access key, its signature or its token, or STS did when a role was to be assumed with it; by SQL, the server refused the login",
        todo: "put a valid key into the Secret (seen within 2 s); a token may have expired. By SQL see below",
    },
    Advice {
        reason: "RoleNotAssumable",
        meaning: "STS refuses to let the RAM role be assumed: its trust policy does not name the identity, the identity lacks sts:AssumeRole, the external ID differs, or a field of the spec is wrong for this role",
        todo: "correct the trust policy, the rights or the spec; the message says which (each refusal). It is asked for again within 5 minutes, and at once after a change of the spec",
    },
    Advice {
        reason: "OIDCTokenRejected",
        meaning: "STS refuses the token of the ServiceAccount: its issuer, its audience or its signature",
        todo: "correct the OIDC provider at RAM; its issuer must be readable from the Internet",
    },
    Advice {
        reason: "ServiceAccountUnavailable",
        meaning: "the ServiceAccount is missing, lacks the label sessionkill.dev/credentials: \"true\", or the operator may make no token of it",
        todo: "do what the message says",
    },
    Advice {
        reason: "IdentityNotAllowed",
        meaning: "the operator does not lend this namespace its own identity or that of its node; or it has no cluster name for the external ID of such a role",
        todo: "let whoever runs the operator allow it (--allow-identity, --cluster-name), or use another source of access keys",
    },
    Advice {
        reason: "MetadataUnavailable",
        meaning: "the metadata service of the operator's node gives no access key: the node has no RAM role, or version 2 of the service cannot be reached from the Pod",
        todo: "attach a role to the node; let the Pod reach 100.100.100.200",
    },
    Advice {
        reason: "STSUnavailable",
        meaning: "STS was not reached, gave no answer, or asked to slow down, and no valid access key is held",
        todo: "check DNS, network policies and the proxy; the message says which step failed",
    },
    Advice {
        reason: "CredentialsExpired",
        meaning: "the last access key expires, and no new one came",
        todo: "as for the reason in the message",
    },
    Advice {
        reason: "PermissionDenied",
        meaning: "the access key may not call the operation on this instance; by SQL, the user may not read the list",
        todo: "allow it in RAM; the message names the operation, or the GRANT that is missing",
    },
    Advice {
        reason: "Throttled",
        meaning: "the gateway asked to slow down; by SQL, the server takes no more connections",
        todo: "nothing; if it lasts, make fewer requests at once, or keep a slot free",
    },
    Advice {
        reason: "ProxyNotSupported",
        meaning: "by SQL: the server is a proxy (ODP), which knows sessions by other IDs than the OBServers. Nothing was sent",
        todo: "let spec.sql.service or spec.sql.host lead to OBServers themselves, whose SQL port is 2881",
    },
    Advice {
        reason: "EndpointUnreachable",
        meaning: "the gateway was not reached: names, network or TLS",
        todo: "check DNS, network policies, the proxy and certificates; the message says which step failed",
    },
    Advice {
        reason: "TimeStampRefused",
        meaning: "the gateway refused the time stamp of a call before its deadline: the gateway's rules differ, or notAfterTime has passed by its clock",
        todo: "check the clock of the operator's node",
    },
    Advice {
        reason: "OperationUnavailable",
        meaning: "the gateway does not offer the operation; by SQL, the server is no OceanBase that is supported, or the tenant is in Oracle mode",
        todo: "set killOperation: Auto below spec.alibabaCloud; check the region and the endpoint. By SQL see what is not supported",
    },
    Advice {
        reason: "ClockSkew",
        meaning: "the clock of the operator's node and the API server's differ by more than 5 s, by the dates of its answers. Nobody can tell whether it is too late, so nothing is sent or claimed, and nothing is called over before both clocks say so",
        todo: "set the clocks of both machines right, such as by NTP; the message says whether the operator's clock is ahead or behind, and by how much. The request goes on within seconds after that",
    },
    Advice {
        reason: "Pending",
        meaning: "the API server refuses what the operator needs, such as a claim in a namespace that is being deleted, or the labels of the namespace, by which a ClusterOceanBaseConnection may allow it",
        todo: "do what the message says; most often a right is missing: compare with deploy/base/rbac.yaml",
    },
    Advice {
        reason: "SessionsKilled",
        meaning: "every session was killed, or some were and the others were gone",
        todo: "nothing",
    },
    Advice {
        reason: "SessionsGone",
        meaning: "every session has ended; none is known to have ended by this request",
        todo: "nothing",
    },
    Advice {
        reason: "DryRunCompleted",
        meaning: "a DryRun said for each session what a Kill would do; nothing was sent",
        todo: "read status.sessions",
    },
    Advice {
        reason: "AlreadyExecuted",
        meaning: "the same content was executed before; its outcome was copied and nothing was sent, however late this request came",
        todo: "to kill again, use a new notAfterTime",
    },
    Advice {
        reason: "NothingMatched",
        meaning: "the selector matched no session; nothing was sent",
        todo: "nothing; to try again, use a new notAfterTime",
    },
    Advice {
        reason: "PreconditionFailed",
        meaning: "no session was ended: the sessions that were not gone differ from expect; or the selector's sqlTextPattern cannot be used",
        todo: "read status.sessions[].message; of a pattern, the message says where it is wrong",
    },
    Advice {
        reason: "TooManyMatched",
        meaning: "the selector matched more sessions than maxSessions; nothing was sent",
        todo: "see in status.sessions who they are; narrow the selector, or raise maxSessions or set take, in a new request",
    },
    Advice {
        reason: "PartiallyKilled",
        meaning: "some sessions have ended, others not",
        todo: "read status.sessions",
    },
    Advice {
        reason: "KillFailed",
        meaning: "no session was ended",
        todo: "read status.sessions[].errorMessage",
    },
    Advice {
        reason: "StillPresent",
        meaning: "no session was ended, and at least one was still in the list at the end of the verification",
        todo: "make a new request",
    },
    Advice {
        reason: "OutcomeUnknown",
        meaning: "nobody can tell what became of at least one session",
        todo: "look at the sessions; make a new request if they are still there",
    },
    Advice {
        reason: "ExpiredOnArrival",
        meaning: "created long after its notAfterTime, and it has no receipt or is a DryRun. Nothing was sent; healthy for GitOps tools",
        todo: "nothing",
    },
    Advice {
        reason: "KillMissed",
        meaning: "a Kill that was created after its notAfterTime, by less than an hour (--missed-kill-seconds), and there is no receipt of its content; nothing was sent; failed for GitOps tools, so that no gate opens",
        todo: "if its sessions must still end, make a new request with a new notAfterTime. If not, remove this one from its source. The message says how late it came: look for what delayed it",
    },
    Advice {
        reason: "DeadlineExceeded",
        meaning: "notAfterTime passed while it waited; nothing was sent",
        todo: "read in the message what it waited for",
    },
    Advice {
        reason: "Deleted",
        meaning: "it was deleted before it was sent, and a finalizer keeps the object; nothing was sent; healthy for GitOps tools. What was sent before the deletion ends as it would without",
        todo: "ask whoever set the finalizer to remove it",
    },
    Advice {
        reason: "NotAllowed",
        meaning: "the connection does not allow the instance or tenant, or a ClusterOceanBaseConnection does not allow the namespace, or no longer; nothing was sent",
        todo: "use another connection, or have it allowed; then make a new request",
    },
    Advice {
        reason: "InvalidObject",
        meaning: "the stored object cannot be read, or it has an unknown field or had a null; nothing is sent",
        todo: "delete it and create a valid one",
    },
];

#[rustfmt::skip]
pub const SESSIONS: &[SessionAdvice] = &[
    SessionAdvice {
        situation: "in the process list, and as expect says",
        outcome: "Pending",
        reason: "Waiting",
        todo: "nothing: it will be killed now",
    },
    SessionAdvice {
        situation: "not in the process list",
        outcome: "Gone",
        reason: "NotFound",
        todo: "nothing: it ended by itself; nothing was sent for it",
    },
    SessionAdvice {
        situation: "in the list, but not as expect says: its ID was reused, or it now does something else",
        outcome: "Skipped",
        reason: "PreconditionMismatch",
        todo: "read message, which names each field that differs; if it is the right one all the same, make a new request with another expect",
    },
    SessionAdvice {
        situation: "the list cannot be read, and the session has expect, or the connection has instanceIDs or tenantIDs or is of no namespace",
        outcome: "Pending",
        reason: "Waiting",
        todo: "the request waits with reason ObservationFailed; nothing is sent",
    },
    SessionAdvice {
        situation: "the list cannot be read, and neither of these holds",
        outcome: "Pending",
        reason: "Waiting",
        todo: "nothing: it is killed by its ID alone; use expect to rule out that an ID was reused",
    },
    SessionAdvice {
        situation: "mode: DryRun, and a Kill would be sent for it",
        outcome: "Skipped",
        reason: "DryRun",
        todo: "if that is right, create the same with mode: Kill",
    },
    SessionAdvice {
        situation: "the selector matched more sessions than maxSessions, or a DryRun with take would not take it",
        outcome: "Skipped",
        reason: "TooManyMatched",
        todo: "narrow the selector, or raise maxSessions or set take, in a new request",
    },
    SessionAdvice {
        situation: "the connection does not allow the instance, the tenant or the namespace; or its backend cannot do what is asked, such as scope: Query by the API, or an ID above 4294967295 by SQL",
        outcome: "Skipped",
        reason: "NotAllowed",
        todo: "do what the message says, in a new request; or have the ID added to the allow-list",
    },
    SessionAdvice {
        situation: "by SQL: it is behind a proxy and has the ID of the proxy's session, or it is the operator's own",
        outcome: "Skipped",
        reason: "PreconditionMismatch",
        todo: "end it through the proxy",
    },
    SessionAdvice {
        situation: "by SQL: at the moment of the kill it was not as seen any more",
        outcome: "Skipped",
        reason: "PreconditionMismatch",
        todo: "read message; look at the session, and make a new request",
    },
    SessionAdvice {
        situation: "notAfterTime had passed",
        outcome: "Skipped",
        reason: "DeadlineExceeded",
        todo: "read in the request's message what it waited for",
    },
    SessionAdvice {
        situation: "the request was deleted before it was sent",
        outcome: "Skipped",
        reason: "Deleted",
        todo: "nothing",
    },
    SessionAdvice {
        situation: "no error in its row, then gone from the list",
        outcome: "Killed",
        reason: "Verified",
        todo: "nothing",
    },
    SessionAdvice {
        situation: "no error in its row, then another session has its ID (another user, client or proxy session)",
        outcome: "Killed",
        reason: "IdReused",
        todo: "nothing: the session that was meant has ended",
    },
    SessionAdvice {
        situation: "no error in its row, and verification.policy: None",
        outcome: "Killed",
        reason: "Accepted",
        todo: "nothing: you asked only for the word of the API",
    },
    SessionAdvice {
        situation: "no error in its row, and the list could not be read: BestEffort",
        outcome: "Killed",
        reason: "Accepted",
        todo: "look at the session if certainty matters",
    },
    SessionAdvice {
        situation: "the same with Required",
        outcome: "Unknown",
        reason: "NotVerified",
        todo: "look at the session; make a new request if it is still there",
    },
    SessionAdvice {
        situation: "still in the list at the end of the verification, as the same session",
        outcome: "Failed",
        reason: "StillPresent",
        todo: "read its state in message: a session in a long rollback, or of a proxy client that has sent nothing since, may stay for a while",
    },
    SessionAdvice {
        situation: "an error in its row, and it is in the list",
        outcome: "Failed",
        reason: "KillRefused",
        todo: "read errorMessage, the words of the database, such as You are not owner of thread",
    },
    SessionAdvice {
        situation: "an error in its row, and it is not in the list (Unknown thread id); not looked up with verification.policy: None",
        outcome: "Gone",
        reason: "NotFound",
        todo: "nothing: it ended by itself at the last moment",
    },
    SessionAdvice {
        situation: "an error in its row, and another session has its ID by now",
        outcome: "Gone",
        reason: "IdReused",
        todo: "nothing",
    },
    SessionAdvice {
        situation: "the API refused the call before executing it (wrong instance, malformed parameter), and no other request shared it, or instance or tenant were refused",
        outcome: "Failed",
        reason: "RequestRejected",
        todo: "correct it in a new request; the same content is never sent again, whoever applies it",
    },
    SessionAdvice {
        situation: "scope: Query: the session is gone, idle, or runs another statement",
        outcome: "Killed",
        reason: "QueryEnded",
        todo: "nothing: the statement has ended, and the session lives",
    },
    SessionAdvice {
        situation: "by SQL: the call ended before it came to this session, such as when the connection was lost twice; nothing was sent for it",
        outcome: "Failed",
        reason: "NotSent",
        todo: "make a new request",
    },
    SessionAdvice {
        situation: "BatchKillProcessList, whose answer names no session: gone from the list",
        outcome: "Killed",
        reason: "Verified",
        todo: "nothing",
    },
    SessionAdvice {
        situation: "the same, and the list could not be read, whatever the policy",
        outcome: "Unknown",
        reason: "NotVerified",
        todo: "look at the session",
    },
    SessionAdvice {
        situation: "gone from the list",
        outcome: "Gone",
        reason: "NotFound",
        todo: "nothing: it has ended, by this kill or by itself",
    },
    SessionAdvice {
        situation: "another session has its ID",
        outcome: "Gone",
        reason: "IdReused",
        todo: "nothing",
    },
    SessionAdvice {
        situation: "still in the list at the end of the verification, when the call can no longer arrive",
        outcome: "Failed",
        reason: "StillPresent",
        todo: "make a new request",
    },
    SessionAdvice {
        situation: "the list could not be read: the answer was lost",
        outcome: "Unknown",
        reason: "AnswerLost",
        todo: "look at the session; make a new request if it is still there",
    },
    SessionAdvice {
        situation: "the same: the answer had no row for it",
        outcome: "Unknown",
        reason: "MissingInAnswer",
        todo: "look at the session; make a new request if it is still there",
    },
    SessionAdvice {
        situation: "the operator that made the claim is gone, and the list could not be read",
        outcome: "Unknown",
        reason: "HolderLost",
        todo: "look at the session; make a new request if it is still there",
    },
];
