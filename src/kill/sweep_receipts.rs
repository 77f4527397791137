//! Sweeps the receipts: those past their time go, and what a crash left unrecorded is found out. Does I/O.

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

/// The most orphaned claims of one tenant that a sweep takes on, and of one namespace: the next one finds the others.
const MOST_OF_A_TENANT: usize = 500;
const MOST_OF_A_NAMESPACE: usize = 2_000;

/// Orphaned claims of one tenant: the names of their receipts, and the sessions that they name.
#[derive(Default)]
struct Claims {
    names: Vec<String>,
    sessions: Vec<i64>,
}

/// Orphaned claims by their tenants, whose process lists are read once for all of them.
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

/// Looks at those of `all`. Returns what the lists have cost.
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

/// Finds out what became of claims of one tenant, one after the other: each costs only itself.
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
    // As it is by now: its request may have moved it on while this waited for its turn.
    let found = found("read SessionKillReceipt", context.receipts(namespace).get(name)).await?;
    if let Some(receipt) = found.filter(|receipt| is_orphaned(context, receipt)) {
        resolve(context, &receipt, list).await?;
    }
    Ok(())
}

/// Removes a receipt past its time, unless a request has yet to end by it: one whose operators were all away for longer than
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
