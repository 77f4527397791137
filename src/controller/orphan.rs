//! A claim whose holder is gone: what came of it is found by observation; nothing is ever sent again. Does I/O.

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::Api;

use super::api_calls::{ApiError, found};
use super::audit;
use super::calls::Lane;
use super::claim::delete_if_given_up;
use super::context::Context;
use super::guarded::Guarded;
use super::observer::observe;
use super::settle::{Target, write_record};
use crate::api::{SessionKillReceipt, SessionKillReceiptStatus, SessionOutcome, SessionReason, SessionStatus};
use crate::domain::orphan::conclude;
use crate::domain::retention::record_of;
use crate::metrics::Metrics;
use crate::oceanbase::Tenant;

/// What became of an orphaned claim, recorded in its receipt: as its request says, if that was settled; else as the process
/// list says, which by now shows the end of whatever was sent. None while the list cannot be read; in the end, it cannot
/// be told. Whoever records first decides, as the record is write-once.
pub async fn resolve(
    context: &Context,
    receipt: &SessionKillReceipt,
) -> Result<Option<SessionKillReceiptStatus>, ApiError> {
    if delete_if_given_up(context, receipt).await? {
        return Ok(None);
    }
    let namespace = receipt.namespace().unwrap_or_default();
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), &namespace);
    let found = found("read SessionKill", requests.get(&receipt.spec.session_kill_ref.name)).await?;
    let request = found.and_then(|guarded| guarded.0.ok());
    if let Some(record) = request.as_deref().and_then(|request| record_of(request, receipt)) {
        return write_once(context, receipt, record).await.map(Some);
    }
    let spec = &receipt.spec;
    let tenant = Tenant { instance_id: spec.instance_id.clone(), tenant_id: spec.tenant_id.clone() };
    let snapshot = observe(context, &namespace, &spec.connection_name, &tenant, Lane::Housekeeping).await.ok();
    let now = Timestamp::now();
    let Some(conclusion) = conclude(receipt, request.as_deref(), snapshot.as_deref(), now) else { return Ok(None) };
    // One after the other: the sweep and a request may resolve the same claim in the same second, with the same record. The
    // second must not take that for its own, and write a second audit line.
    let _alone = context.resolving.lock().await;
    if let Some(record) = recorded(context, receipt).await? {
        return Ok(Some(record));
    }
    let wanted = as_stored(conclusion.record(now));
    let record = write_once(context, receipt, wanted.clone()).await?;
    if record == wanted {
        count(&context.metrics, receipt, &conclusion.sessions);
        // Its holder went away before it could write the line.
        let reason = request.as_ref().and_then(|request| request.spec.reason.as_deref());
        let trace_id = context.traces.trace_id(&receipt.spec.session_kill_ref.uid);
        audit::kill(receipt, &conclusion, reason, trace_id);
    }
    Ok(Some(record))
}

/// The sessions of which only the holder knew what became of them.
fn count(metrics: &Metrics, receipt: &SessionKillReceipt, sessions: &[SessionStatus]) {
    for (_, session) in receipt.spec.sessions.iter().zip(sessions).filter(|(planned, _)| is_sent(planned)) {
        metrics.unknown(SessionReason::HolderLost);
        metrics.unknown_resolved(SessionReason::HolderLost, session.outcome);
    }
}

fn is_sent(planned: &SessionStatus) -> bool {
    planned.outcome == SessionOutcome::Pending
}

/// As it is read back: times are stored in whole seconds, and what was written must be known again.
fn as_stored(record: SessionKillReceiptStatus) -> SessionKillReceiptStatus {
    serde_json::to_value(&record).and_then(serde_json::from_value).unwrap_or(record)
}

/// What is recorded by now, if anything is.
async fn recorded(
    context: &Context,
    receipt: &SessionKillReceipt,
) -> Result<Option<SessionKillReceiptStatus>, ApiError> {
    let receipts = context.receipts(&receipt.namespace().unwrap_or_default());
    let found = found("read SessionKillReceipt", receipts.get(&receipt.name_any())).await?;
    Ok(found.and_then(|receipt| receipt.status))
}

/// Records `record`, unless somebody else recorded first; gives back what is recorded. That is looked for after every failure:
/// if it was stored and only the answer was lost, its audit line has yet to be written, and nobody else would.
async fn write_once(
    context: &Context,
    receipt: &SessionKillReceipt,
    record: SessionKillReceiptStatus,
) -> Result<SessionKillReceiptStatus, ApiError> {
    let target = Target::of(receipt);
    let Err(error) = write_record(context, &target, &record).await else { return Ok(record) };
    recorded(context, receipt).await?.ok_or(error)
}
