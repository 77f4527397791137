//! One JSON line on standard output for each kill that was sent, whatever came of it; logs go to standard error.

use std::io::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use crate::api::{SessionKillReceipt, SessionStatus};
use crate::domain::conclusion::Conclusion;
use crate::domain::text::clamp;

/// The most characters of a request's own reason, as its schema says.
const MAX_REASON: usize = 256;

/// Writes the line; `reason` is the request's own, if known. Nothing in it is secret: no key, no token, no statement.
pub fn kill(receipt: &SessionKillReceipt, conclusion: &Conclusion, reason: Option<&str>) {
    let session = |session: &SessionStatus| {
        let observed = session.observed.clone().unwrap_or_default();
        json!({
            "serverIP": session.server_ip,
            "sessionID": session.session_id,
            "outcome": session.outcome,
            "reason": session.reason,
            "errorMessage": session.error_message,
            // It may be another session that ended than the one that was seen before.
            "message": session.message,
            "user": observed.user,
            "database": observed.database,
            "clientIP": observed.client_ip,
        })
    };
    let line = json!({
        "audit": "sessionkill.dev/kill",
        "time": Timestamp::now(),
        "namespace": receipt.namespace(),
        "name": receipt.spec.session_kill_ref.name,
        "uid": receipt.spec.session_kill_ref.uid,
        "reason": reason.map(|reason| clamp(reason, MAX_REASON)),
        "connection": receipt.spec.connection_name,
        "instanceID": receipt.spec.instance_id,
        "tenantID": receipt.spec.tenant_id,
        "operation": conclusion.dispatch.as_ref().map(|dispatch| dispatch.operation),
        "receipt": receipt.name_any(),
        "attemptID": receipt.spec.attempt_id,
        "holderIdentity": receipt.spec.holder_identity,
        "requestID": conclusion.dispatch.as_ref().map(|dispatch| dispatch.request_id.as_str()),
        "outcome": conclusion.reason,
        "sessions": conclusion.sessions.iter().map(session).collect::<Vec<_>>(),
    });
    // A closed standard output must not stop a kill from being settled.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
