//! Finds the outcome of a claim whose holder is gone, by the process list; nothing is ever sent again. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::Api;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::api::{
    SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillRef, SessionOutcome, SessionReason,
    SessionStatus,
};
use crate::connections::call_permits::Lane;
use crate::domain::kill::orphan::conclude;
use crate::domain::kill::outcome::sends_nothing;
use crate::domain::kill::retention::record_of;
use crate::domain::names::is_object_name;
use crate::domain::selection::Wanted;
use crate::domain::snapshot::Snapshot;
use crate::domain::tenant::TenantKey;
use crate::kill::audit;
use crate::kill::claim::delete_if_given_up;
use crate::kill::context::Context;
use crate::kill::settle::write_record;
use crate::kubernetes::calls::{ApiError, found};
use crate::kubernetes::status_patch::Target;
use crate::kubernetes::watch::stored_request::Guarded;
use crate::metrics::Metrics;

/// The longest wait for a list, including the wait for a throttled connection.
const OBSERVATION_LIMIT: Duration = Duration::from_secs(20);

/// The process list of one tenant for all its orphaned claims, read when the first of them needs it. One read serves
/// all of them, as all are over by then. A failed read is not tried again for the others.
pub struct SharedList {
    ids: Vec<i64>,
    read: OnceCell<Option<Arc<Snapshot>>>,
}

impl SharedList {
    /// For claims on the sessions with `ids`.
    pub fn of(ids: Vec<i64>) -> Self {
        Self { ids, read: OnceCell::new() }
    }

    /// The list for `ids`, from a read that began after their claim was `over`.
    async fn since<F>(&self, over: Timestamp, ids: &[i64], look: impl Fn(Vec<i64>) -> F) -> Option<Arc<Snapshot>>
    where
        F: Future<Output = Option<Arc<Snapshot>>>,
    {
        let shared = self.read.get_or_init(|| look([&self.ids, ids].concat())).await.clone()?;
        if shared.time >= over && shared.tells_of(&Wanted::by_id(ids.iter().copied())) {
            Some(shared)
        } else {
            look(ids.to_vec()).await
        }
    }
}

async fn look(context: &Context, receipt: &SessionKillReceipt, ids: Vec<i64>) -> Option<Arc<Snapshot>> {
    let key = Arc::new(TenantKey::of_receipt(receipt));
    let read = context.process_lists.observe_by_name(&key, &ids, Lane::Housekeeping);
    timeout(OBSERVATION_LIMIT, read).await.ok()?.ok()
}

/// Finds the outcome of an orphaned claim and records it in its receipt. A settled request decides it; else the process
/// list, which by now shows whatever was executed. `None` while the list cannot be read; after a while the outcome is
/// unknown. The record is write-once, so the first writer decides. A record that the API server refuses is returned all
/// the same, so that its request does not wait for ever. `list` serves other claims of the tenant, too.
pub async fn resolve(
    context: &Context,
    receipt: &SessionKillReceipt,
    list: &SharedList,
) -> Result<Option<SessionKillReceiptStatus>, ApiError> {
    if delete_if_given_up(context, receipt).await? {
        return Ok(None);
    }
    let namespace = receipt.namespace().unwrap_or_default();
    let request = named(context, &namespace, &receipt.spec.session_kill_ref).await?;
    if let Some(record) = request.as_deref().and_then(|request| record_of(request, receipt)) {
        return write_once(context, receipt, record).await.map(|(record, _)| Some(record));
    }
    let ids: Vec<i64> = receipt.spec.sessions.iter().map(|session| session.session_id).collect();
    let over = receipt.spec.settle_deadline_time.0;
    let snapshot = if sends_nothing(&receipt.spec) {
        None
    } else {
        list.since(over, &ids, |ids| look(context, receipt, ids)).await
    };
    let now = context.clock.now().earliest();
    let Some(conclusion) = conclude(receipt, request.as_deref(), snapshot.as_deref(), now) else { return Ok(None) };
    // One at a time: the sweep and a request may resolve the same claim in the same second, with equal records. The
    // second must not take the record for its own and write a second audit line.
    let _alone = context.resolving.with(&receipt.uid().unwrap_or_default()).await;
    if let Some(record) = recorded(context, receipt).await? {
        return Ok(Some(record));
    }
    let wanted = as_stored(conclusion.record(now));
    let (record, is_stored) = write_once(context, receipt, wanted.clone()).await?;
    if is_stored && record == wanted && !sends_nothing(&receipt.spec) {
        count(&context.metrics, receipt, &conclusion.sessions);
        // Its holder vanished before it could write the line.
        let reason = request.as_ref().and_then(|request| request.spec.reason.as_deref());
        let trace_id = context.traces.trace_id(&receipt.spec.session_kill_ref.uid);
        // A lost line is logged; the request's status may be written by another process.
        let _ = audit::kill(&context.audit, receipt, &conclusion, reason, trace_id);
    }
    Ok(Some(record))
}

/// The object stored in `namespace` under the name of the request that made a claim, if it is readable. Others may
/// write receipts too, with names that no object can have.
pub async fn named(
    context: &Context,
    namespace: &str,
    made_by: &SessionKillRef,
) -> Result<Option<Arc<SessionKill>>, ApiError> {
    if !is_object_name(&made_by.name) {
        return Ok(None);
    }
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), namespace);
    let found = found("read SessionKill", requests.get(&made_by.name)).await?;
    Ok(found.and_then(|guarded| guarded.0.ok()))
}

/// Counts the sessions whose outcome only the lost holder knew.
fn count(metrics: &Metrics, receipt: &SessionKillReceipt, sessions: &[SessionStatus]) {
    for (_, session) in receipt.spec.sessions.iter().zip(sessions).filter(|(planned, _)| is_sent(planned)) {
        metrics.unknown(SessionReason::HolderLost);
        metrics.unknown_resolved(SessionReason::HolderLost, session.outcome);
    }
}

fn is_sent(planned: &SessionStatus) -> bool {
    planned.outcome == SessionOutcome::Pending
}

/// The record as it is read back, to recognise it: times are stored in whole seconds.
fn as_stored(record: SessionKillReceiptStatus) -> SessionKillReceiptStatus {
    serde_json::to_value(&record).and_then(serde_json::from_value).unwrap_or(record)
}

/// The record stored by now, if any.
async fn recorded(
    context: &Context,
    receipt: &SessionKillReceipt,
) -> Result<Option<SessionKillReceiptStatus>, ApiError> {
    let receipts = context.receipts(&receipt.namespace().unwrap_or_default());
    let found = found("read SessionKillReceipt", receipts.get(&receipt.name_any())).await?;
    Ok(found.and_then(|receipt| receipt.status))
}

/// Stores `record`, unless another record came first, and returns the stored one. After any failure it reads the
/// receipt: if the write was stored and only its answer lost, nobody else would write the audit line. The flag is false
/// if nothing is stored, as the API server refuses it; then whoever can record the outcome writes the line.
async fn write_once(
    context: &Context,
    receipt: &SessionKillReceipt,
    record: SessionKillReceiptStatus,
) -> Result<(SessionKillReceiptStatus, bool), ApiError> {
    let target = Target::of(receipt);
    let Err(error) = write_record(context, &target, &record).await else { return Ok((record, true)) };
    match recorded(context, receipt).await? {
        Some(stored) => Ok((stored, true)),
        None if error.is_invalid() && !error.is_not_found() => {
            tracing::warn!(%error, receipt = target.name, "outcome not recorded");
            Ok((record, false))
        }
        None => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;
    use crate::domain::test_objects::time;

    #[tokio::test]
    async fn one_look_serves_all_claims_that_were_over_when_it_began_and_no_other() {
        let looks = Cell::new(0);
        let list = SharedList::of(vec![1, 2, 3]);
        let look = |ids: Vec<i64>| {
            looks.set(looks.get() + 1);
            let list = Snapshot::new(vec![], true, time("10:02:00"));
            ready(Some(Arc::new(list.of_those_asked_for(Arc::new(Wanted::by_id(ids)), vec![]))))
        };
        for id in 1..=3 {
            assert!(list.since(time("10:01:45"), &[id], &look).await.is_some());
        }
        assert_eq!(looks.get(), 1);
        list.since(time("10:02:01"), &[1], &look).await;
        assert_eq!(looks.get(), 2, "what was sent under it might not have shown yet");
        list.since(time("10:01:45"), &[4], &look).await;
        assert_eq!(looks.get(), 3, "the list was not asked for it");
    }

    #[tokio::test]
    async fn a_look_that_failed_is_not_tried_again_for_each_claim() {
        let looks = Cell::new(0);
        let list = SharedList::of(vec![]);
        let look = |_| {
            looks.set(looks.get() + 1);
            ready(None)
        };
        for _ in 0..3 {
            assert!(list.since(time("10:01:45"), &[1], &look).await.is_none());
        }
        assert_eq!(looks.get(), 1);
    }
}
