//! The claim: a receipt that only one attempt can create. Does I/O; gives out the one thing that permits a call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt as _};

use super::api_calls::{ApiError, Pauses, bounded, found};
use super::context::Context;
use super::settle::FIELD_MANAGER;
use crate::api::{OceanBaseConnection, SessionKill, SessionKillReceipt, SessionStatus};
use crate::domain::claim::{Attempt, Judge, Standing, receipt, receipt_name};
use crate::domain::plan::KillIntent;
use crate::oceanbase::KillPermit;

/// The right to be named in one call. Made only here, from a receipt that the API server stored for this attempt; not `Clone`.
#[derive(Debug)]
pub struct Claim {
    receipt: Arc<SessionKillReceipt>,
    monotonic_deadline: Instant,
}

impl Claim {
    /// Of a receipt that is stored and carries this attempt's ID.
    fn new(mut receipt: SessionKillReceipt, monotonic_deadline: Instant) -> Self {
        // It stays until its outcome is recorded, and these, which nobody reads, are larger than all the rest.
        receipt.metadata.managed_fields = None;
        receipt.spec.sessions.shrink_to_fit();
        Self { receipt: Arc::new(receipt), monotonic_deadline }
    }

    /// The receipt, as stored, but for its `managedFields`.
    pub fn receipt(&self) -> &Arc<SessionKillReceipt> {
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

/// For how long a claim that was withdrawn may yet be stored: no server and no proxy keeps a request for longer.
const STORED_LATE: Duration = Duration::from_hours(1);

/// The attempts that gave their claim up without knowing whether it was stored: nothing is sent under them.
#[derive(Debug, Default)]
pub struct Withdrawn(Mutex<HashMap<String, Instant>>);

impl Withdrawn {
    fn add(&self, attempt_id: &str) {
        let mut attempts = self.attempts();
        attempts.retain(|_, since| since.elapsed() < STORED_LATE);
        attempts.insert(attempt_id.to_owned(), Instant::now());
    }

    fn holds(&self, attempt_id: &str) -> bool {
        self.attempts().contains_key(attempt_id)
    }

    fn attempts(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
/// An error means that no claim of this attempt is left behind: one that may have been stored is found and deleted, for
/// as long as it takes, because nobody else could tell that nothing was sent under it.
pub async fn claim(
    context: &Context,
    _intent: KillIntent,
    object: &SessionKill,
    connection: &OceanBaseConnection,
    planned: Vec<SessionStatus>,
) -> Result<Claimed, ApiError> {
    let attempt = Attempt {
        attempt_id: uuid::Uuid::new_v4().to_string(),
        holder_identity: context.holder_identity.clone(),
        claim_time: Timestamp::now(),
        dispatch_window: context.dispatch_window(),
        request_timeout: SignedDuration::from_secs(connection.spec.request_timeout_seconds.into()),
        operation: context.connection_states.operation(connection),
        planned,
    };
    let started = Instant::now();
    let wanted = receipt(object, &attempt);
    let window = wanted.spec.dispatch_deadline_time.0.duration_since(attempt.claim_time);
    let monotonic_deadline = started + Duration::try_from(window).unwrap_or_default();

    let mut pauses = Pauses::new();
    let mut may_be_stored = false;
    loop {
        match try_claim(context, object, &wanted, monotonic_deadline).await {
            Ok(Some(claimed)) => return Ok(claimed),
            Ok(None) => {}
            // A refusal says nothing of the tries before it.
            Err(error) if error.is_refused() && !may_be_stored => return Err(error),
            Err(error) if error.is_refused() || Instant::now() >= monotonic_deadline => {
                Box::pin(withdraw(context, object, &wanted)).await;
                return Err(error);
            }
            Err(error) => {
                may_be_stored = true;
                tracing::warn!(%error, receipt = wanted.name_any(), "claim not answered, trying again");
            }
        }
        pauses.wait().await;
    }
}

/// One try. `None` when the receipt that was in the way is gone: try again. Trying again is safe, as the receipt has the
/// same name and the same attempt: a lost answer comes back as our own.
async fn try_claim(
    context: &Context,
    object: &SessionKill,
    wanted: &SessionKillReceipt,
    monotonic_deadline: Instant,
) -> Result<Option<Claimed>, ApiError> {
    let receipts = context.receipts(&object.namespace().unwrap_or_default());
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match bounded("create SessionKillReceipt", receipts.create(&params, wanted)).await {
        Ok(receipt) => return Ok(Some(Claimed::Granted(Claim::new(receipt, monotonic_deadline)))),
        Err(error) if error.is_conflict() => {}
        Err(error) => return Err(error),
    }
    let found = Box::pin(stored(context, &receipts, &wanted.name_any())).await?;
    Ok(found.map(|receipt| match standing(context, object, &receipt, &wanted.spec.attempt_id) {
        Standing::Ours => Claimed::Granted(Claim::new(receipt, monotonic_deadline)),
        standing => Claimed::Taken(Box::new(receipt), standing),
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

/// The receipt `name`. One that was withdrawn before it was stored is deleted: its holder lives, so that nobody else would
/// ever move it on, and nothing was sent under it.
async fn stored(
    context: &Context,
    receipts: &Api<SessionKillReceipt>,
    name: &str,
) -> Result<Option<SessionKillReceipt>, ApiError> {
    let found = found("read SessionKillReceipt", receipts.get(name)).await?;
    let Some(receipt) = found else { return Ok(None) };
    if receipt.status.is_some() || !context.withdrawn.holds(&receipt.spec.attempt_id) {
        return Ok(Some(receipt));
    }
    delete(context, &receipt).await?;
    Ok(None)
}

fn standing(context: &Context, object: &SessionKill, receipt: &SessionKillReceipt, attempt_id: &str) -> Standing {
    let uid = object.uid().unwrap_or_default();
    let judge = Judge { uid: &uid, attempt_id, holder_identity: &context.holder_identity };
    judge.standing(receipt, Timestamp::now())
}

/// Gives a claim up: nothing was executed under it. The next attempt may claim again; if the API server refuses to delete
/// it now, that attempt deletes it first.
pub async fn release(context: &Context, claim: Claim) {
    if let Err(error) = delete(context, &claim.receipt).await {
        context.withdrawn.add(&claim.receipt.spec.attempt_id);
        tracing::warn!(%error, receipt = claim.receipt.name_any(), "claim not released yet");
    }
}

/// Deletes what a claim without an answer may have left, now or when it is stored late. What others have recorded of it
/// stays.
async fn withdraw(context: &Context, object: &SessionKill, wanted: &SessionKillReceipt) {
    context.withdrawn.add(&wanted.spec.attempt_id);
    let receipts = context.receipts(&object.namespace().unwrap_or_default());
    let mut pauses = Pauses::new();
    loop {
        match stored(context, &receipts, &wanted.name_any()).await {
            Ok(_) => return,
            // Whoever finds it later deletes it.
            Err(error) if error.is_refused() => {
                return tracing::warn!(%error, receipt = wanted.name_any(), "lost claim not withdrawn yet");
            }
            Err(error) => tracing::warn!(%error, receipt = wanted.name_any(), "cannot look for a lost claim yet"),
        }
        pauses.wait().await;
    }
}

/// Deletes exactly `receipt`, for as long as that is not answered; not another one of its name, nor one that changed since.
/// An error is a refusal, which may last: who waits for its end would hold one of the turns that all share.
async fn delete(context: &Context, receipt: &SessionKillReceipt) -> Result<(), ApiError> {
    let receipts = context.receipts(&receipt.namespace().unwrap_or_default());
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: receipt.uid(), resource_version: receipt.resource_version() }),
        ..DeleteParams::default()
    };
    let mut pauses = Pauses::new();
    loop {
        match bounded("delete SessionKillReceipt", receipts.delete(&receipt.name_any(), &params)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
            Err(error) if error.is_refused() => return Err(error),
            Err(error) => tracing::warn!(%error, receipt = receipt.name_any(), "cannot release a claim yet"),
        }
        pauses.wait().await;
    }
}
