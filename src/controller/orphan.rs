//! A claim whose holder is gone: what came of it is found by observation; nothing is ever sent again. Does I/O.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::Api;

use super::api_calls::{ApiError, bounded};
use super::audit;
use super::context::{Context, Guarded};
use super::observer::observe;
use super::settle::{Target, write_record};
use crate::api::{
    Dispatch, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionOutcome, SessionReason, SessionStatus,
    VerificationPolicy,
};
use crate::domain::conclusion::{Conclusion, dispatch, nothing_certain, orphaned};
use crate::domain::observation::Snapshot;
use crate::domain::retention::record_of;
use crate::domain::verification::{close, is_open, look};
use crate::metrics::Metrics;
use crate::oceanbase::Tenant;

/// For how long after its settle deadline an orphaned claim is observed before its outcome is given up.
const OBSERVATION_WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// What became of an orphaned claim, recorded in its receipt: as its request says, if that was settled; else as the process
/// list says, which by now shows the end of whatever was sent. None while the list cannot be read; in the end, it cannot
/// be told. Whoever records first decides, as the record is write-once.
pub async fn resolve(
    context: &Context,
    receipt: &SessionKillReceipt,
) -> Result<Option<SessionKillReceiptStatus>, ApiError> {
    let namespace = receipt.namespace().unwrap_or_default();
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), &namespace);
    let found = bounded("read SessionKill", requests.get_opt(&receipt.spec.session_kill_ref.name)).await?;
    let request = found.and_then(|guarded| guarded.0.ok());
    if let Some(record) = request.as_ref().and_then(|request| record_of(request, receipt)) {
        return write_once(context, receipt, record).await.map(Some);
    }
    let known = Known::of(receipt, request.as_ref());
    let spec = &receipt.spec;
    let tenant = Tenant { instance_id: spec.instance_id.clone(), tenant_id: spec.tenant_id.clone() };
    let snapshot = observe(context, &namespace, &spec.connection_name, &tenant).await.ok();
    let now = Timestamp::now();
    let sessions = known.after(snapshot.as_deref(), now);
    let is_told = !is_open(&known.sessions, known.policy)
        || snapshot.is_some() && sessions.iter().all(|session| session.outcome != SessionOutcome::Unknown);
    let gives_up = spec.settle_deadline_time.0.saturating_add(OBSERVATION_WINDOW).unwrap_or(Timestamp::MAX);
    if !is_told && now < gives_up {
        return Ok(None);
    }
    let conclusion = Conclusion::called(sessions, known.dispatch, &nothing_certain(receipt));
    let wanted = conclusion.record(now);
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

/// What the holder left.
struct Known {
    sessions: Vec<SessionStatus>,
    dispatch: Dispatch,
    policy: VerificationPolicy,
}

impl Known {
    /// What the request says of the call, if its holder could still write that; else only that it may have been made.
    fn of(receipt: &SessionKillReceipt, request: Option<&SessionKill>) -> Self {
        let made_by = |request: &&SessionKill| Some(&receipt.spec.session_kill_ref.uid) == request.uid().as_ref();
        let request = request.filter(made_by);
        let policy = request.map(|request| request.spec.verification.policy).unwrap_or_default();
        let status = request.and_then(|request| request.status.as_ref());
        let told = status.and_then(|status| {
            let dispatch = status.dispatch.as_ref().filter(|call| call.attempt_id == receipt.spec.attempt_id)?;
            Some((status.sessions.clone(), dispatch.clone()))
        });
        let (sessions, dispatch) =
            told.unwrap_or_else(|| (orphaned(receipt), dispatch(receipt, receipt.spec.operation, "")));
        Self { sessions, dispatch, policy }
    }

    /// The same after a look at the list, which is the last one.
    fn after(&self, snapshot: Option<&Snapshot>, now: Timestamp) -> Vec<SessionStatus> {
        let looked = snapshot.map(|snapshot| look(&self.sessions, snapshot, self.policy).sessions);
        let sessions = looked.unwrap_or_else(|| self.sessions.clone());
        close(&sessions, snapshot, self.policy, now)
    }
}

/// Records `record`, unless somebody else recorded first; gives back what is recorded.
async fn write_once(
    context: &Context,
    receipt: &SessionKillReceipt,
    record: SessionKillReceiptStatus,
) -> Result<SessionKillReceiptStatus, ApiError> {
    let target = Target::of(receipt);
    match write_record(context, &target, &record).await {
        Ok(()) => Ok(record),
        Err(error) if error.is_invalid() => {
            let receipts = context.receipts(&target.namespace);
            let found = bounded("read SessionKillReceipt", receipts.get(&target.name)).await?;
            found.status.ok_or(error)
        }
        Err(error) => Err(error),
    }
}
