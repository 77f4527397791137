//! The spans in a request's trace. No I/O; nothing secret: no key, no statement, no text of the gateway.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::{Operation, SessionKill, SessionKillReceipt};
use crate::domain::kill::conclusion::{Conclusion, is_goal_reached, is_neutral};
use crate::domain::kill::outcome::counts;
use crate::metrics::labels::Code;
use crate::traces::{Id, Span};

/// The span of a whole request, which ended `in_attempt` after it was seen in this attempt.
pub fn root<'a>(object: &'a SessionKill, conclusion: &Conclusion, in_attempt: Duration) -> Span<'a> {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let started = object.status.as_ref().and_then(|status| status.start_time.as_ref());
    let in_all = started.and_then(|time| Duration::try_from(Timestamp::now().duration_since(time.0)).ok());
    let (spec, counts) = (&object.spec, counts(&conclusion.sessions));
    let mut attributes = vec![
        ("k8s.namespace.name", object.namespace().unwrap_or_default()),
        ("sessionkill.name", object.name_any()),
        ("sessionkill.uid", uid.to_owned()),
        ("sessionkill.connection", spec.connection_ref.name.clone()),
        ("sessionkill.connection_kind", spec.connection_ref.kind.as_str().to_owned()),
        ("sessionkill.instance_id", spec.instance_id.clone()),
        ("sessionkill.tenant_id", spec.tenant_id.clone()),
        ("sessionkill.outcome", conclusion.reason.as_str().to_owned()),
        ("sessionkill.sessions.total", counts.total.to_string()),
        ("sessionkill.sessions.killed", counts.killed.to_string()),
    ];
    if let Some(dispatch) = &conclusion.dispatch {
        attributes.extend([
            ("sessionkill.receipt", dispatch.receipt_name.clone()),
            ("sessionkill.attempt_id", dispatch.attempt_id.clone()),
            ("sessionkill.operation", dispatch.operation.as_str().to_owned()),
            ("sessionkill.request_id", dispatch.request_id.clone()),
        ]);
    }
    let is_error = !is_goal_reached(conclusion.reason) && !is_neutral(conclusion.reason);
    let took = in_all.unwrap_or_default().max(in_attempt);
    Span { id: Id::Root, is_error, attributes, ..Span::part(uid, "SessionKill", took) }
}

/// The span of a call for the request of `receipt`. The call may be shared; its first request is that of `first`.
pub fn call<'a>(
    receipt: &'a SessionKillReceipt,
    first: &'a SessionKillReceipt,
    (operation, request_id, code): (Operation, &str, Code),
    took: Duration,
) -> Span<'a> {
    let (uid, attempt_id) = names(receipt);
    let attributes = vec![
        ("sessionkill.operation", operation.as_str().to_owned()),
        ("sessionkill.request_id", request_id.to_owned()),
        ("sessionkill.code", code.as_str().to_owned()),
        ("sessionkill.receipt", receipt.name_any()),
        ("sessionkill.attempt_id", attempt_id.to_owned()),
    ];
    let same_as = Some(names(first)).filter(|other| *other != (uid, attempt_id));
    let is_error = code != Code::Ok;
    Span { id: Id::Call(attempt_id), is_error, same_as, attributes, ..Span::part(uid, "call", took) }
}

fn names(receipt: &SessionKillReceipt) -> (&str, &str) {
    (&receipt.spec.session_kill_ref.uid, &receipt.spec.attempt_id)
}
