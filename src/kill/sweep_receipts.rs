//! Sweeps the receipts: removes expired ones, and resolves claims that a crash left unrecorded. Does I/O.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::core::DeserializeGuard;
use tokio_util::sync::CancellationToken;

use crate::api::{SessionKillReceipt, SessionKillRef};
use crate::domain::kill::retention::{is_awaited, receipt_expired};
use crate::domain::tenant::TenantKey;
use crate::kill::claim::is_orphaned;
use crate::kill::context::Context;
use crate::kill::orphan::{SharedList, named, resolve};
use crate::kubernetes::calls::{ApiError, found};
use crate::kubernetes::pages::walk;
use crate::kubernetes::removal::Sighting;
use crate::queue::chores::Chores;

/// The most orphaned claims per tenant and per namespace in one sweep; the next sweep finds the rest.
const MOST_OF_A_TENANT: usize = 500;
const MOST_OF_A_NAMESPACE: usize = 2_000;

/// The orphaned claims of one tenant: their receipts' names and their sessions.
#[derive(Default)]
struct Claims {
    names: Vec<String>,
    sessions: Vec<i64>,
}

/// The orphaned claims by tenant, so that each tenant's process list is read once.
#[derive(Default)]
struct Orphans {
    of_tenants: HashMap<TenantKey, Claims>,
    of_namespaces: HashMap<String, usize>,
}

impl Orphans {
    fn add(&mut self, receipt: &SessionKillReceipt) {
        let tenant = TenantKey::of_receipt(receipt);
        let of_namespace = self.of_namespaces.entry(tenant.namespace().to_owned()).or_default();
        if *of_namespace < MOST_OF_A_NAMESPACE {
            let of_tenant = self.of_tenants.entry(tenant).or_default();
            if of_tenant.names.len() < MOST_OF_A_TENANT {
                of_tenant.names.push(receipt.name_any());
                of_tenant.sessions.extend(receipt.spec.sessions.iter().map(|session| session.session_id));
                *of_namespace += 1;
            }
        }
    }
}

/// Sweeps the receipts in `all`. Returns the cost of the lists.
pub async fn sweep_receipts(
    context: &Arc<Context>,
    all: &Api<DeserializeGuard<SessionKillReceipt>>,
    removals: &Chores<String>,
    recoveries: &Chores<TenantKey>,
    shutdown: &CancellationToken,
) -> Duration {
    let retention = SignedDuration::from_secs(context.config.receipt_retention_seconds.into());
    let now = context.clock.now().earliest();
    let mut orphans = Orphans::default();
    let see = |guarded: DeserializeGuard<SessionKillReceipt>| {
        let Ok(receipt) = guarded.0 else { return };
        if is_orphaned(context, &receipt) {
            orphans.add(&receipt);
        } else if receipt_expired(&receipt, retention, now) {
            let (context, expired, made_by) = (context.clone(), Sighting::of(&receipt), receipt.spec.session_kill_ref);
            let (namespace, key) = (expired.namespace.clone(), expired.uid.clone());
            removals.add(&namespace, key, move || async move {
                let removed = remove(&context, &expired, &made_by).await;
                expired.report(removed);
            });
        }
    };
    let cost = walk(all, "list SessionKillReceipts", None, see).await;
    for (tenant, claims) in orphans.of_tenants {
        let (context, namespace, shutdown) = (context.clone(), tenant.namespace().to_owned(), shutdown.clone());
        recoveries.add(&namespace.clone(), tenant, move || async move {
            recover(&context, &namespace, claims, &shutdown).await;
        });
    }
    cost
}

/// Resolves the claims of one tenant, one by one, so that a failure affects only its claim.
async fn recover(context: &Context, namespace: &str, claims: Claims, shutdown: &CancellationToken) {
    let list = SharedList::of(claims.sessions);
    for name in claims.names {
        if shutdown.is_cancelled() {
            return;
        }
        if let Err(error) = recover_one(context, namespace, &name, &list).await {
            tracing::warn!(%error, receipt = name, namespace, "orphaned claim not resolved yet");
        }
    }
}

async fn recover_one(context: &Context, namespace: &str, name: &str, list: &SharedList) -> Result<(), ApiError> {
    if !context.leadership.leads() {
        return Ok(());
    }
    // Read it again, as its request may have resolved it while this chore waited.
    let found = found("read SessionKillReceipt", context.receipts(namespace).get(name)).await?;
    if let Some(receipt) = found.filter(|receipt| is_orphaned(context, receipt)) {
        resolve(context, &receipt, list).await?;
    }
    Ok(())
}

/// Removes an expired receipt, unless a request still has to end by it, because all operators were away for longer than
/// receipts are kept.
async fn remove(context: &Context, expired: &Sighting, made_by: &SessionKillRef) -> Result<(), ApiError> {
    if !context.leadership.leads() {
        return Ok(());
    }
    let request = named(context, &expired.namespace, made_by).await?;
    if is_awaited(made_by, request.as_deref()) {
        return Ok(());
    }
    expired.remove::<SessionKillReceipt>(&context.client).await
}
