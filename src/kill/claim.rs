//! The claim: a receipt that only one attempt can create. Does I/O; gives out the one thing that permits a call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt as _};

use crate::api::{OceanBaseConnection, SessionKill, SessionKillReceipt, SessionStatus};
use crate::domain::backend::KillPermit;
use crate::domain::kill::claim::{Attempt, Judge, Standing, receipt, receipt_name};
use crate::domain::kill::plan::KillIntent;
use crate::kill::context::Context;
use crate::kill::live_claims::LiveReceipt;
use crate::kubernetes::calls::{ApiError, Pauses, found, within};
use crate::kubernetes::status_patch::FIELD_MANAGER;

/// The right to be named in one call. Made only here, from a receipt that the API server stored for this attempt; not `Clone`.
#[derive(Debug)]
pub struct Claim {
    receipt: Arc<LiveReceipt>,
    monotonic_deadline: Instant,
    /// A try of it was not answered, and may be stored after all the others.
    was_unanswered: bool,
}

impl Claim {
    /// The receipt, as stored, but for its `managedFields`. The claim is at work for as long as it is kept.
    pub fn receipt(&self) -> &Arc<LiveReceipt> {
        &self.receipt
    }
}

/// The claims under which one call is made: at least one. The earliest deadline holds for all.
#[derive(Debug)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// All of `claims`, for one call.
    pub fn of(claims: Vec<Claim>) -> Self {
        Self(claims)
    }

    /// The UID of the first request that is called for.
    pub fn first_uid(&self) -> Option<&str> {
        self.0.first().map(|claim| claim.receipt.spec.session_kill_ref.uid.as_str())
    }

    /// The earliest `notAfterTime` of the requests that are called for.
    pub fn not_after(&self) -> Timestamp {
        self.0.iter().map(|claim| claim.receipt.spec.not_after_time.0).min().unwrap_or(Timestamp::MIN)
    }

    /// The claims, after a call that was not executed.
    pub fn into_inner(self) -> Vec<Claim> {
        self.0
    }
}

impl KillPermit for Claims {
    fn nonce_seed(&self) -> &str {
        // An attempt has one call at most, so its ID is unique to the call.
        self.0.first().map_or("", |claim| &claim.receipt.spec.attempt_id)
    }

    fn dispatch_deadline(&self) -> Timestamp {
        self.0.iter().map(|claim| claim.receipt.spec.dispatch_deadline_time.0).min().unwrap_or(Timestamp::MIN)
    }

    fn time_left(&self) -> Option<Duration> {
        let left: Option<Vec<Duration>> = self.0.iter().map(Claim::time_left).collect();
        left?.into_iter().min()
    }
}

impl Claim {
    /// The time left to send; none if it has passed.
    pub fn time_left(&self) -> Option<Duration> {
        // Both clocks: the wall clock can be set back, the monotonic one stands still while the machine sleeps.
        let monotonic = self.monotonic_deadline.checked_duration_since(Instant::now())?;
        let deadline = self.receipt.spec.dispatch_deadline_time.0;
        let wall = Duration::try_from(deadline.duration_since(Timestamp::now())).ok()?;
        Some(monotonic.min(wall)).filter(|left| !left.is_zero())
    }
}

/// The longest that a claim is tried, and that one which was given up is tried to be deleted: others of its tenant wait. What
/// is left of it then is deleted by whoever finds it.
const TIME: Duration = Duration::from_secs(8);

/// What an attempt to claim came to.
#[derive(Debug)]
pub enum Claimed {
    /// Ours: call.
    Granted(Claim),
    /// Another claim for the same content exists.
    Taken(Box<SessionKillReceipt>, Standing),
}

/// Claims `object` for a new attempt to kill those of `planned` that are pending. Takes the intent, which a DryRun has not.
///
/// An error means that no claim of this attempt is at work: one that may have been stored is given up, and deleted now or
/// when it is found, because nobody else could tell that nothing was sent under it.
pub async fn claim(
    context: &Context,
    _intent: KillIntent,
    object: &SessionKill,
    connection: &OceanBaseConnection,
    planned: Vec<SessionStatus>,
) -> Result<Claimed, ApiError> {
    let clocks = context.clock.now();
    let attempt = Attempt {
        attempt_id: uuid::Uuid::new_v4().to_string(),
        holder_identity: context.holder_identity.clone(),
        claim_time: clocks.own(),
        dispatch_window: context.dispatch_window(),
        request_timeout: SignedDuration::from_secs(connection.spec.request_timeout_seconds.into()),
        operation: context.connection_states.operation(connection),
        planned,
    };
    let started = Instant::now();
    let wanted = receipt(object, &attempt);
    let window = wanted.spec.dispatch_deadline_time.0.duration_since(attempt.claim_time);
    // Nothing is sent after `notAfterTime` by the API server's clock either.
    let window = window.min(wanted.spec.not_after_time.0.duration_since(clocks.latest()));
    let window = Duration::try_from(window).unwrap_or_default();
    let wanted =
        Wanted { receipt: wanted, monotonic_deadline: started + window, until: started + TIME.min(window / 2) };

    let live = context.live_claims.begin(&attempt.attempt_id);
    let mut pauses = Pauses::new();
    let mut may_be_stored = false;
    let error = loop {
        match try_claim(context, object, &wanted).await {
            Ok(Some(Answer::Ours(receipt))) => {
                let receipt = Arc::new(LiveReceipt::new(*receipt, live));
                let (monotonic_deadline, was_unanswered) = (wanted.monotonic_deadline, may_be_stored);
                return Ok(Claimed::Granted(Claim { receipt, monotonic_deadline, was_unanswered }));
            }
            Ok(Some(Answer::Taken(receipt, standing))) => {
                if may_be_stored {
                    context.live_claims.give_up(&attempt.attempt_id);
                }
                return Ok(Claimed::Taken(receipt, standing));
            }
            Ok(None) => {}
            // A refusal says nothing of the tries before it.
            Err(error) if error.is_refused() && !may_be_stored => return Err(error),
            Err(error) if error.is_refused() || Instant::now() >= wanted.until => break error,
            Err(error) => {
                may_be_stored = true;
                tracing::warn!(%error, receipt = wanted.receipt.name_any(), "claim not answered, trying again");
            }
        }
        pauses.wait().await;
    };
    context.live_claims.give_up(&attempt.attempt_id);
    Box::pin(withdraw(context, object, &wanted.receipt)).await;
    Err(error)
}

/// A claim that is to be made.
struct Wanted {
    receipt: SessionKillReceipt,
    monotonic_deadline: Instant,
    /// It is tried until then.
    until: Instant,
}

/// What one try to claim came to.
enum Answer {
    Ours(Box<SessionKillReceipt>),
    Taken(Box<SessionKillReceipt>, Standing),
}

/// One try. `None` when the receipt that was in the way is gone: try again. Trying again is safe, as the receipt has the
/// same name and the same attempt: a lost answer comes back as our own.
async fn try_claim(context: &Context, object: &SessionKill, wanted: &Wanted) -> Result<Option<Answer>, ApiError> {
    let receipts = context.receipts(&object.namespace().unwrap_or_default());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let left = wanted.until.saturating_duration_since(Instant::now());
    match within(left, "create SessionKillReceipt", receipts.create(&params, &wanted.receipt)).await {
        Ok(receipt) => return Ok(Some(Answer::Ours(Box::new(receipt)))),
        Err(error) if error.is_conflict() => {}
        Err(error) => return Err(error),
    }
    let found = Box::pin(stored(context, &receipts, &wanted.receipt.name_any())).await?;
    Ok(found.map(|receipt| match standing(context, object, &receipt, &wanted.receipt.spec.attempt_id) {
        Standing::Ours => Answer::Ours(Box::new(receipt)),
        standing => Answer::Taken(Box::new(receipt), standing),
    }))
}

/// The receipt of `object`'s content, if there is one, and how it leaves somebody who makes no claim.
pub async fn find(context: &Context, object: &SessionKill) -> Result<Option<(SessionKillReceipt, Standing)>, ApiError> {
    let receipts = context.receipts(&object.namespace().unwrap_or_default());
    let found = stored(context, &receipts, &receipt_name(&object.spec)).await?;
    Ok(found.map(|receipt| {
        let standing = standing(context, object, &receipt, "");
        (receipt, standing)
    }))
}

/// The receipt `name`. One that was given up is deleted: its holder lives, so that nobody else would ever move it on, and
/// nothing was sent under it.
async fn stored(
    context: &Context,
    receipts: &Api<SessionKillReceipt>,
    name: &str,
) -> Result<Option<SessionKillReceipt>, ApiError> {
    let found = found("read SessionKillReceipt", receipts.get(name)).await?;
    let Some(receipt) = found else { return Ok(None) };
    Ok(if delete_if_given_up(context, &receipt).await? { None } else { Some(receipt) })
}

/// Whether `receipt` is one that this process gave up; then it is deleted.
pub async fn delete_if_given_up(context: &Context, receipt: &SessionKillReceipt) -> Result<bool, ApiError> {
    if receipt.status.is_some() || !context.live_claims.is_given_up(&receipt.spec.attempt_id) {
        return Ok(false);
    }
    delete(context, receipt).await?;
    Ok(true)
}

/// How `receipt` leaves the attempt of this ID at `object`; without either, somebody who only looks.
fn standing(context: &Context, object: &SessionKill, receipt: &SessionKillReceipt, attempt_id: &str) -> Standing {
    judge(context, &object.uid().unwrap_or_default(), attempt_id, receipt)
}

/// Whether nobody will record the outcome of `receipt` any more.
pub fn is_orphaned(context: &Context, receipt: &SessionKillReceipt) -> bool {
    judge(context, "", "", receipt) == Standing::Orphaned
}

fn judge(context: &Context, uid: &str, attempt_id: &str, receipt: &SessionKillReceipt) -> Standing {
    let is_at_work = context.live_claims.is_at_work(&receipt.spec.attempt_id);
    Judge { uid, attempt_id, is_at_work }.standing(receipt, context.clock.now().earliest())
}

/// Gives a claim up: nothing was executed under it. The next attempt may claim again; if it cannot be deleted now, that
/// attempt deletes it first. So it does with what is stored after it, of a try that was not answered.
pub async fn release(context: &Context, claim: Claim) {
    let deleted = delete(context, &claim.receipt).await;
    if deleted.is_err() || claim.was_unanswered {
        context.live_claims.give_up(&claim.receipt.spec.attempt_id);
    }
    if let Err(error) = deleted {
        tracing::warn!(%error, receipt = claim.receipt.name_any(), "claim not released yet");
    }
}

/// Deletes what a claim without an answer may have left. What others have recorded of it stays; what is stored late is
/// deleted by whoever finds it.
async fn withdraw(context: &Context, object: &SessionKill, wanted: &SessionKillReceipt) {
    let receipts = context.receipts(&object.namespace().unwrap_or_default());
    if let Err(error) = stored(context, &receipts, &wanted.name_any()).await {
        tracing::warn!(%error, receipt = wanted.name_any(), "lost claim not withdrawn yet");
    }
}

/// Deletes `receipt`, in whatever version it is stored, unless it is another's by now or has a record. An error means that
/// it is still there, or may be.
async fn delete(context: &Context, receipt: &SessionKillReceipt) -> Result<(), ApiError> {
    let receipts = context.receipts(&receipt.namespace().unwrap_or_default());
    let (name, until) = (receipt.name_any(), Instant::now() + TIME);
    let mut version = receipt.resource_version();
    let mut pauses = Pauses::new();
    loop {
        let preconditions = Preconditions { uid: receipt.uid(), resource_version: version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let left = until.saturating_duration_since(Instant::now());
        let error = match within(left, "delete SessionKillReceipt", receipts.delete(&name, &params)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => error,
        };
        if error.is_conflict() {
            // Somebody may have edited its labels, which makes it no less ours.
            let now = found("read SessionKillReceipt", receipts.get(&name)).await?;
            let same = now.filter(|now| now.spec.attempt_id == receipt.spec.attempt_id && now.status.is_none());
            let Some(same) = same else { return Ok(()) };
            version = same.resource_version();
        } else if error.is_refused() || Instant::now() >= until {
            return Err(error);
        } else {
            tracing::warn!(%error, receipt = name, "cannot release a claim yet");
        }
        pauses.wait().await;
    }
}
