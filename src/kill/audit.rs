//! Writes one audit line per sent kill to standard output, whatever its outcome; logs go to standard error.

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::audit_line::{AuditLine, AuditedSession, Subject, Version};
use crate::api::{BackendName, SessionKillReceipt, SessionStatus};
use crate::domain::kill::conclusion::Conclusion;
use crate::domain::text::clamp;
use crate::output::Lines;

/// The most characters of a request's own reason, as in its schema.
const MAX_REASON: usize = 256;

/// Queues the audit line of a kill; `reason` is the request's own, if known. It contains no key, token or statement.
/// Returns false if the line is lost, because too many wait: it logs that, and the caller must report it.
#[must_use]
pub fn kill(
    to: &Lines,
    receipt: &SessionKillReceipt,
    conclusion: &Conclusion,
    reason: Option<&str>,
    trace_id: Option<String>,
) -> bool {
    write(to, Subject::Kill, receipt, conclusion, (reason, trace_id))
}

/// Queues a line that says that the status of a request with an audited kill cannot be stored. If the line is lost, it
/// is only logged, as there is no status to report it in.
pub fn not_stored(to: &Lines, receipt: &SessionKillReceipt, conclusion: &Conclusion, reason: Option<&str>) {
    let _is_written = write(to, Subject::StatusNotStored, receipt, conclusion, (reason, None));
}

fn write(
    to: &Lines,
    audit: Subject,
    receipt: &SessionKillReceipt,
    conclusion: &Conclusion,
    (reason, trace_id): (Option<&str>, Option<String>),
) -> bool {
    let dispatch = conclusion.dispatch.as_ref();
    let request_id = dispatch.map(|dispatch| dispatch.request_id.clone()).unwrap_or_default();
    let is_sql = receipt.spec.operation.backend() == BackendName::Sql;
    let line = AuditLine {
        schema: Version::V1,
        audit,
        time: Timestamp::now(),
        namespace: receipt.namespace().unwrap_or_default(),
        name: receipt.spec.session_kill_ref.name.clone(),
        uid: receipt.spec.session_kill_ref.uid.clone(),
        reason: reason.map(|reason| clamp(reason, MAX_REASON)),
        connection: receipt.spec.connection_name.clone(),
        connection_kind: Some(receipt.spec.connection_kind),
        instance_id: receipt.spec.instance_id.clone(),
        tenant_id: receipt.spec.tenant_id.clone(),
        backend: Some(receipt.spec.operation.backend()),
        scope: Some(receipt.spec.scope),
        operation: dispatch.map(|dispatch| dispatch.operation),
        receipt: receipt.name_any(),
        attempt_id: receipt.spec.attempt_id.clone(),
        holder_identity: receipt.spec.holder_identity.clone(),
        server_connection_id: Some(request_id.clone()).filter(|id| is_sql && !id.is_empty()),
        request_id,
        trace_id,
        outcome: conclusion.reason,
        sessions: conclusion.sessions.iter().map(session).collect(),
    };
    // Only numbers and strings, so that writing them as JSON cannot fail.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    let is_kept = to.push(&text);
    if !is_kept {
        let (receipt, namespace) = (line.receipt, line.namespace);
        tracing::error!(receipt, namespace, "audit line lost: those before it are not read");
    }
    is_kept
}

fn session(session: &SessionStatus) -> AuditedSession {
    let observed = session.observed.clone().unwrap_or_default();
    AuditedSession {
        server_ip: session.server_ip.clone(),
        session_id: session.session_id,
        outcome: session.outcome,
        reason: session.reason,
        error_message: session.error_message.clone(),
        message: session.message.clone(),
        user: observed.user,
        database: observed.database,
        client_ip: observed.client_ip,
    }
}
