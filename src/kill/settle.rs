//! Writes outcomes: first to the request, as people wait for it, then to the receipt. Does I/O.
//!
//! CEL rules of the CRDs keep written outcomes from being changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::Api;

use crate::api::{SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillStatus};
use crate::domain::kill::form::{Form, in_form};
use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::live_claims::LiveReceipt;
use crate::kubernetes::calls::{ApiError, Pauses, found};
use crate::kubernetes::status_patch::{Target, write_status};
use crate::kubernetes::watch::metadata::Size;
use crate::kubernetes::watch::stored_request::Guarded;
use crate::queue::permits::Permits;

/// The result of the last write of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Written, in some form.
    Written,
    /// The object is gone, was re-created, or has ended already.
    Superseded,
    /// The API server stores no form of it; logged.
    Refused,
}

/// After this long with only 500 as the answer, the next smaller form is tried. The content may be the cause, or an
/// outage, in which no part of an outcome should be lost.
const ONLY_ERRORS: Duration = Duration::from_secs(20);

/// Writes the final status of a request for as long as it takes: nothing else tells the outcome of a call. A status
/// that is too large is written in a smaller form. `failing_for` is how long earlier attempts have failed.
pub async fn settle(
    context: &Context,
    key: &Arc<TenantKey>,
    target: &Target,
    whole: &SessionKillStatus,
    failing_for: Duration,
) -> Settled {
    let errors_since = (!failing_for.is_zero()).then(|| Instant::now().checked_sub(failing_for)).flatten();
    let mut writing =
        Writing { whole: whole.clone(), form: Form::Whole, knows_start_time: false, errors_since, tries: 0 };
    let mut pauses = Pauses::new();
    loop {
        let status = in_form(&writing.whole, writing.form);
        let permit = permits(context, &context.writes, target).acquire(key).await;
        let written = write_status::<SessionKill>(&context.client, target, "settle SessionKill", &status).await;
        drop(permit);
        let error = match written {
            Ok(()) => return Settled::Written,
            Err(error) if error.is_not_found() => return Settled::Superseded,
            Err(error) => error,
        };
        tracing::warn!(%error, name = target.name, namespace = target.namespace, "outcome not stored yet, trying again");
        match writing.failed(context, target, &error).await {
            Then::Again => pauses.wait().await,
            Then::AtOnce => {}
            Then::Never(settled) => return settled,
        }
    }
}

/// A final status being written.
struct Writing {
    whole: SessionKillStatus,
    form: Form,
    knows_start_time: bool,
    /// Since when the API server has only answered 500, and how many forms have used their time since.
    errors_since: Option<Instant>,
    tries: u32,
}

/// What to do after a failure.
enum Then {
    Again,
    AtOnce,
    Never(Settled),
}

impl Writing {
    async fn failed(&mut self, context: &Context, target: &Target, error: &ApiError) -> Then {
        if error.is_too_large() {
            return self.smaller(target, error);
        }
        if error.is_server_error() {
            let since = *self.errors_since.get_or_insert_with(Instant::now);
            let is_due = since.elapsed() >= ONLY_ERRORS * (self.tries + 1);
            self.tries += u32::from(is_due);
            return if is_due { self.smaller(target, error) } else { Then::Again };
        }
        (self.errors_since, self.tries) = (None, 0);
        if !error.is_invalid() {
            return Then::Again;
        }
        match stored(context, target).await {
            Ok(Stored::Ended) => Then::Never(Settled::Superseded),
            // The cached object was older than the last status write, and startTime is write-once.
            Ok(Stored::Unfinished { start_time }) if !self.knows_start_time => {
                self.knows_start_time = true;
                self.whole.start_time = start_time.or(self.whole.start_time.take());
                Then::AtOnce
            }
            Ok(Stored::Unfinished { .. }) => self.smaller(target, error),
            Err(error) => {
                tracing::warn!(%error, name = target.name, "cannot read the request yet");
                Then::Again
            }
        }
    }

    fn smaller(&mut self, target: &Target, error: &ApiError) -> Then {
        if let Some(form) = self.form.smaller() {
            self.form = form;
            return Then::AtOnce;
        }
        tracing::error!(%error, name = target.name, namespace = target.namespace, "outcome cannot be stored");
        Then::Never(Settled::Refused)
    }
}

/// The permits for writing the status of `target`: `usual`, or those for large objects.
pub fn permits<'a>(context: &'a Context, usual: &'a Arc<Permits>, target: &Target) -> &'a Arc<Permits> {
    match target.size {
        Size::Usual => usual,
        Size::Large => &context.large_writes,
    }
}

/// Records the outcome in the receipt for as long as it takes; nobody waits for it, so it may wait for a permit.
pub async fn record(context: &Context, key: &Arc<TenantKey>, receipt: &LiveReceipt, record: &SessionKillReceiptStatus) {
    let target = Target::of(&**receipt);
    let mut pauses = Pauses::new();
    loop {
        // A permit per try, so that a write that is refused for long does not keep it.
        let turn = context.recording.acquire(key).await;
        let written = within_turn(write_record(context, &target, record)).await;
        drop(turn);
        let error = match written {
            Ok(()) => return,
            Err(error) => error,
        };
        // The receipt is gone, or others recorded an outcome after its settle deadline; the record is write-once.
        let is_over = error.is_not_found() || error.is_invalid() && is_recorded(context, &target).await;
        if is_over || error.is_invalid() {
            // The claim is no longer at work, so that a missing record is resolved like that of a lost holder.
            return tracing::warn!(%error, receipt = target.name, is_over, "outcome not recorded");
        }
        tracing::warn!(%error, receipt = target.name, "outcome not recorded yet, trying again");
        pauses.wait().await;
    }
}

/// The longest that one try may keep a shared permit.
const TURN: Duration = Duration::from_secs(5);

async fn within_turn(write: impl Future<Output = Result<(), ApiError>>) -> Result<(), ApiError> {
    tokio::time::timeout(TURN, write).await.unwrap_or(Err(ApiError::TimedOut { call: "record SessionKillReceipt" }))
}

/// Whether `target` needs no record any more; false while it cannot be read.
async fn is_recorded(context: &Context, target: &Target) -> bool {
    let receipts = context.receipts(&target.namespace);
    let read = found("read SessionKillReceipt", receipts.get(&target.name)).await;
    read.is_ok_and(|found| found.is_none_or(|it| it.status.is_some() || it.uid().as_ref() != Some(&target.uid)))
}

/// Writes the record of a receipt; refused if it has another record.
pub async fn write_record(
    context: &Context,
    target: &Target,
    record: &SessionKillReceiptStatus,
) -> Result<(), ApiError> {
    write_status::<SessionKillReceipt>(&context.client, target, "record SessionKillReceipt", record).await
}

/// Whether a request needs no write any more, even if a late watch says otherwise.
pub async fn has_ended(context: &Context, target: &Target) -> Result<bool, ApiError> {
    stored(context, target).await.map(|stored| matches!(stored, Stored::Ended))
}

/// The object stored under the name of a request.
enum Stored {
    /// Nothing, another object, or the ended request.
    Ended,
    /// The request, which has not ended.
    Unfinished { start_time: Option<Time> },
}

async fn stored(context: &Context, target: &Target) -> Result<Stored, ApiError> {
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), &target.namespace);
    let found = found("read SessionKill", requests.get(&target.name)).await?;
    let Some(object) = found.filter(|object| object.uid().as_ref() == Some(&target.uid)) else {
        return Ok(Stored::Ended);
    };
    let status = object.0.as_ref().ok().and_then(|object| object.status.as_ref());
    if status.is_some_and(|status| status.completion_time.is_some()) {
        return Ok(Stored::Ended);
    }
    Ok(Stored::Unfinished { start_time: status.and_then(|status| status.start_time.clone()) })
}
