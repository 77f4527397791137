//! Step 5: the claim, a receipt that only one attempt can create. Does I/O; only this file makes the permit for a call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt as _};

use crate::api::{SessionKill, SessionKillReceipt, SessionStatus};
use crate::connections::route::Route;
use crate::domain::backend::KillPermit;
use crate::domain::kill::claim::{Attempt, Judge, Standing, receipt, receipt_name};
use crate::domain::kill::plan::KillIntent;
use crate::kill::context::Context;
use crate::kill::live_claims::LiveReceipt;
use crate::kill::shared_sessions::Taken;
use crate::kubernetes::calls::{ApiError, Pauses, found, within};
use crate::kubernetes::status_patch::FIELD_MANAGER;

/// The right to be part of one call, for a receipt that the API server stored for this attempt. Made here; not `Clone`.
#[derive(Debug)]
pub struct Claim {
    receipt: Arc<LiveReceipt>,
    monotonic_deadline: Instant,
    /// The API server did not answer one of the tries, which may still be stored later.
    was_unanswered: bool,
    /// Its sessions, which no call for another namespace may name until this one's call is over.
    _sessions: Taken,
}

impl Claim {
    /// The receipt as stored, without its `managedFields`. The claim counts as at work while this is kept.
    pub fn receipt(&self) -> &Arc<LiveReceipt> {
        &self.receipt
    }
}

/// The claims of one call, at least one. The earliest deadline counts.
#[derive(Debug)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// Combines `claims` for one call.
    pub fn of(claims: Vec<Claim>) -> Self {
        Self(claims)
    }

    /// The UID of the first request of the call.
    pub fn first_uid(&self) -> Option<&str> {
        self.0.first().map(|claim| claim.receipt.spec.session_kill_ref.uid.as_str())
    }

    /// Returns the claims after a call that was not executed.
    pub fn into_inner(self) -> Vec<Claim> {
        self.0
    }
}

impl KillPermit for Claims {
    fn nonce_seed(&self) -> &str {
        // An attempt has at most one call, so that its ID is unique to the call.
        self.0.first().map_or("", |claim| &claim.receipt.spec.attempt_id)
    }

    fn dispatch_deadline(&self) -> Timestamp {
        self.0.iter().map(|claim| claim.receipt.spec.dispatch_deadline_time.0).min().unwrap_or(Timestamp::MIN)
    }

    fn not_after(&self) -> Timestamp {
        self.0.iter().map(|claim| claim.receipt.spec.not_after_time.0).min().unwrap_or(Timestamp::MIN)
    }

    fn time_left(&self) -> Option<Duration> {
        let left: Option<Vec<Duration>> = self.0.iter().map(Claim::time_left).collect();
        left?.into_iter().min()
    }
}

impl Claim {
    /// The time left to send; `None` once the deadline has passed.
    pub fn time_left(&self) -> Option<Duration> {
        // Checks both clocks: the wall clock can be set back, and the monotonic clock stops while the machine sleeps.
        let monotonic = self.monotonic_deadline.checked_duration_since(Instant::now())?;
        let deadline = self.receipt.spec.dispatch_deadline_time.0;
        let wall = Duration::try_from(deadline.duration_since(Timestamp::now())).ok()?;
        Some(monotonic.min(wall)).filter(|left| !left.is_zero())
    }
}

/// The longest that a claim is tried, or its deletion after giving up, as others wait. Whoever finds what remains deletes it.
const TIME: Duration = Duration::from_secs(8);

/// The result of an attempt to claim.
#[derive(Debug)]
pub enum Claimed {
    /// We hold the claim: call.
    Granted(Claim),
    /// Another claim for the same content exists.
    Taken(Box<SessionKillReceipt>, Standing),
}

/// Claims `object` to kill the pending of `planned`; its selector `matched` so many. Needs the intent, which a DryRun lacks.
///
/// After an error, no claim of this attempt is at work. One that may have been stored is given up and deleted, now or
/// when it is found, as nobody else could know that nothing was sent under it.
pub async fn claim(
    context: &Context,
    _intent: KillIntent,
    object: &SessionKill,
    route: &Route,
    (planned, matched, sessions): (Vec<SessionStatus>, Option<i32>, Taken),
) -> Result<Claimed, ApiError> {
    let clocks = context.clock.now();
    let attempt = Attempt {
        attempt_id: uuid::Uuid::new_v4().to_string(),
        holder_identity: context.holder_identity.clone(),
        claim_time: clocks.own(),
        dispatch_window: context.dispatch_window(),
        request_timeout: SignedDuration::from_secs(route.connection().spec().request_timeout_seconds.into()),
        operation: route.backend.operation(),
        planned,
        matched,
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
                let claim = Claim { receipt, monotonic_deadline, was_unanswered, _sessions: sessions };
                return Ok(Claimed::Granted(claim));
            }
            Ok(Some(Answer::Taken(receipt, standing))) => {
                if may_be_stored {
                    context.live_claims.give_up(&attempt.attempt_id);
                }
                return Ok(Claimed::Taken(receipt, standing));
            }
            Ok(None) => {}
            // A refusal says nothing about the earlier tries.
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

/// A claim to be made.
struct Wanted {
    receipt: SessionKillReceipt,
    monotonic_deadline: Instant,
    /// No try starts after this moment.
    until: Instant,
}

/// The result of one try to claim.
enum Answer {
    Ours(Box<SessionKillReceipt>),
    Taken(Box<SessionKillReceipt>, Standing),
}

/// One try; `None` if the receipt in the way has vanished, so try again. That is safe, as the receipt keeps its name
/// and attempt: after a lost answer, the next try finds our own receipt.
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
    Ok(found.map(|receipt| match standing(context, object, &receipt, Some(&wanted.receipt.spec.attempt_id)) {
        Standing::Ours => Answer::Ours(Box::new(receipt)),
        standing => Answer::Taken(Box::new(receipt), standing),
    }))
}

/// The receipt for the content of `object`, if any, and what it allows to someone who makes no claim.
pub async fn find(context: &Context, object: &SessionKill) -> Result<Option<(SessionKillReceipt, Standing)>, ApiError> {
    let receipts = context.receipts(&object.namespace().unwrap_or_default());
    let found = stored(context, &receipts, &receipt_name(&object.spec)).await?;
    Ok(found.map(|receipt| {
        let standing = standing(context, object, &receipt, None);
        (receipt, standing)
    }))
}

/// Reads the receipt `name`. One that this process gave up is deleted: its holder still runs, so that nobody else would
/// ever resolve it, and nothing was sent under it.
async fn stored(
    context: &Context,
    receipts: &Api<SessionKillReceipt>,
    name: &str,
) -> Result<Option<SessionKillReceipt>, ApiError> {
    let found = found("read SessionKillReceipt", receipts.get(name)).await?;
    let Some(receipt) = found else { return Ok(None) };
    Ok(if delete_if_given_up(context, &receipt).await? { None } else { Some(receipt) })
}

/// Deletes `receipt` if this process gave it up, and returns whether it did.
pub async fn delete_if_given_up(context: &Context, receipt: &SessionKillReceipt) -> Result<bool, ApiError> {
    if receipt.status.is_some() || !context.live_claims.is_given_up(&receipt.spec.attempt_id) {
        return Ok(false);
    }
    delete(context, receipt).await?;
    Ok(true)
}

/// What `receipt` allows to this attempt at `object`.
fn standing(
    context: &Context,
    object: &SessionKill,
    receipt: &SessionKillReceipt,
    attempt_id: Option<&str>,
) -> Standing {
    judge(context, object.uid().as_deref(), attempt_id, receipt)
}

/// Whether nobody will record the outcome of `receipt` any more.
pub fn is_orphaned(context: &Context, receipt: &SessionKillReceipt) -> bool {
    judge(context, None, None, receipt) == Standing::Orphaned
}

fn judge(context: &Context, uid: Option<&str>, attempt_id: Option<&str>, receipt: &SessionKillReceipt) -> Standing {
    let is_at_work = context.live_claims.is_at_work(&receipt.spec.attempt_id);
    Judge { uid, attempt_id, is_at_work }.standing(receipt, context.clock.now().earliest())
}

/// Gives up a claim under which nothing was executed, so that the next attempt can claim again. If it cannot be deleted
/// now, that attempt deletes it first, and likewise a receipt stored late by an unanswered try.
pub async fn release(context: &Context, claim: Claim) {
    let deleted = delete(context, &claim.receipt).await;
    if deleted.is_err() || claim.was_unanswered {
        context.live_claims.give_up(&claim.receipt.spec.attempt_id);
    }
    if let Err(error) = deleted {
        tracing::warn!(%error, receipt = claim.receipt.name_any(), "claim not released yet");
    }
}

/// Deletes the receipt that an unanswered claim may have left, unless others recorded an outcome in it. A receipt
/// stored later is deleted by whoever finds it.
async fn withdraw(context: &Context, object: &SessionKill, wanted: &SessionKillReceipt) {
    let receipts = context.receipts(&object.namespace().unwrap_or_default());
    if let Err(error) = stored(context, &receipts, &wanted.name_any()).await {
        tracing::warn!(%error, receipt = wanted.name_any(), "lost claim not withdrawn yet");
    }
}

/// Deletes `receipt` in any stored version, unless it has become another attempt's or has a record. After an error it
/// may still exist.
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
            // An edit of its labels changes its version, but it is still ours.
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
