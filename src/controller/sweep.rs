//! What is not on the path of any kill: finished requests past their TTL, receipts past their time, and what a crash left
//! unrecorded. Does I/O, page by page, so that neither memory nor start-up depends on the history.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::{Resource as _, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use super::api_calls::{ApiError, bounded, found};
use super::claim::is_orphaned;
use super::context::Context;
use super::guarded::Guarded;
use super::orphan::resolve;
use super::settle::{Target, write_record, write_status};
use crate::api::{SessionKill, SessionKillReceipt};
use crate::domain::retention::{is_awaited, observed_again, receipt_expired, record_of, ttl_expired, ttl_ignored};

const PAGE: u32 = 500;
/// The share of time that sweeping may take: a large history is swept less often, not at a higher cost.
const REST_FACTOR: u32 = 20;

/// Sweeps until `shutdown`, whenever this process leads.
pub async fn sweep(context: Arc<Context>, shutdown: CancellationToken) {
    let mut pause = context.config.sweep_interval();
    while !shutdown_within(&shutdown, pause).await {
        let started = Instant::now();
        context.credentials.prune();
        if !context.leadership.leads() {
            continue;
        }
        for requests in context.everywhere() {
            report(sweep_requests(&context, &requests).await);
        }
        for receipts in context.everywhere() {
            report(sweep_receipts(&context, &receipts).await);
        }
        pause = context.config.sweep_interval().max(started.elapsed() * REST_FACTOR);
    }
}

async fn shutdown_within(shutdown: &CancellationToken, pause: Duration) -> bool {
    tokio::time::timeout(pause, shutdown.cancelled()).await.is_ok()
}

/// A namespace that cannot be swept must not keep the others from it.
fn report(swept: Result<(), ApiError>) {
    if let Err(error) = swept {
        tracing::warn!(%error, "sweep not completed");
    }
}

async fn sweep_requests(context: &Arc<Context>, all: &Api<Guarded>) -> Result<(), ApiError> {
    let mut params = ListParams::default().fields("status.completionTime!=").limit(PAGE);
    loop {
        let page = bounded("list finished SessionKills", all.list(&params)).await?;
        for request in page.items.into_iter().filter_map(|guarded| guarded.0.ok()) {
            pass_over(request.meta(), sweep_request(context, &request).await)?;
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

async fn sweep_request(context: &Context, request: &SessionKill) -> Result<(), ApiError> {
    let requests = context.session_kills(&request.namespace().unwrap_or_default());
    if ttl_expired(request, Timestamp::now()) {
        if is_recorded(context, request).await? {
            return delete(&requests, request.meta()).await;
        }
    } else if let Some(status) = observed_again(request) {
        let target = Target::of(request);
        let written = write_status::<SessionKill>(&context.client, &target, "update SessionKill", &status).await;
        // A TTL may have been set just now.
        if let (Ok(()), Some(why)) = (&written, ttl_ignored(request)) {
            context.events.ttl_ignored(request, &why);
        }
        return ignore_change(written);
    }
    Ok(())
}

/// Whether the outcome of a finished request is in its receipt; if it is not, it is put there, for the next sweep to see.
async fn is_recorded(context: &Context, request: &SessionKill) -> Result<bool, ApiError> {
    let Some(dispatch) = request.status.as_ref().and_then(|status| status.dispatch.as_ref()) else { return Ok(true) };
    let receipts = context.receipts(&request.namespace().unwrap_or_default());
    let receipt = found("read SessionKillReceipt", receipts.get(&dispatch.receipt_name)).await?;
    let Some(receipt) = receipt.filter(|receipt| receipt.status.is_none()) else { return Ok(true) };
    if let Some(record) = record_of(request, &receipt) {
        ignore_change(write_record(context, &Target::of(&receipt), &record).await)?;
    }
    Ok(false)
}

async fn sweep_receipts(
    context: &Arc<Context>,
    all: &Api<DeserializeGuard<SessionKillReceipt>>,
) -> Result<(), ApiError> {
    let retention = SignedDuration::from_secs(context.config.receipt_retention_seconds.into());
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = bounded("list SessionKillReceipts", all.list(&params)).await?;
        for receipt in page.items.into_iter().filter_map(|guarded| guarded.0.ok()) {
            pass_over(receipt.meta(), sweep_receipt(context, &receipt, retention).await)?;
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

async fn sweep_receipt(
    context: &Context,
    receipt: &SessionKillReceipt,
    retention: SignedDuration,
) -> Result<(), ApiError> {
    let now = Timestamp::now();
    if is_orphaned(context, receipt) {
        resolve(context, receipt).await?;
    } else if receipt_expired(receipt, retention, now) && !is_still_awaited(context, receipt).await? {
        delete(&context.receipts(&receipt.namespace().unwrap_or_default()), receipt.meta()).await?;
    }
    Ok(())
}

/// Whether a request has yet to end by `receipt`: one whose operators were all away for longer than receipts are kept.
async fn is_still_awaited(context: &Context, receipt: &SessionKillReceipt) -> Result<bool, ApiError> {
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), &receipt.namespace().unwrap_or_default());
    let found = found("read SessionKill", requests.get(&receipt.spec.session_kill_ref.name)).await?;
    Ok(is_awaited(receipt, found.and_then(|guarded| guarded.0.ok()).as_deref()))
}

/// An object of which the API server refuses what is due, as an admission webhook may, must not keep those after it from it.
fn pass_over(metadata: &ObjectMeta, swept: Result<(), ApiError>) -> Result<(), ApiError> {
    match swept {
        Err(error) if error.is_refused() => {
            let (name, namespace) = (&metadata.name, &metadata.namespace);
            tracing::warn!(%error, name, namespace, "object not swept");
            Ok(())
        }
        swept => swept,
    }
}

/// Deletes exactly the object that was looked at, unless it changed since: then the next sweep looks at it again.
async fn delete<K>(api: &Api<K>, metadata: &ObjectMeta) -> Result<(), ApiError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let preconditions =
        Preconditions { uid: metadata.uid.clone(), resource_version: metadata.resource_version.clone() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let name = metadata.name.as_deref().unwrap_or_default();
    ignore_change(bounded("delete", api.delete(name, &params)).await.map(drop))
}

/// An object that changed or went away meanwhile is left to the next sweep.
fn ignore_change(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.is_not_found() || error.is_conflict() || error.is_invalid() => Ok(()),
        result => result,
    }
}
