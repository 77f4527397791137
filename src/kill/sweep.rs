//! Sweeps what no kill waits for: expired TTLs, expired receipts, and claims that a crash left unrecorded. It reads
//! page by page, so that neither memory nor start-up grows with the history, and queues chores, so that no namespace
//! waits for another. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join3;
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use tokio_util::sync::CancellationToken;

use crate::domain::kill::sweeping::pause;
use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::sweep_receipts::sweep_receipts;
use crate::kill::sweep_requests::sweep_requests;
use crate::queue::chores::{Chores, Limits};

/// The limits on removals and updates: low, as they delay the writes that people wait for.
const REMOVALS: Limits = Limits { at_once: 4, at_once_of_one: 2, waiting: 10_000, waiting_of_one: 2_500 };
/// The limits on tenants whose orphaned claims are resolved: each may wait for its gateway.
const RECOVERIES: Limits = Limits { at_once: 4, at_once_of_one: 2, waiting: 256, waiting_of_one: 64 };
/// Namespaces listed at once, if each has its own list.
const LISTS_AT_ONCE: usize = 4;

/// The result of a sweep, which decides when the next one comes.
#[derive(Clone, Copy, Debug, Default)]
struct Swept {
    /// The cost of its lists.
    listing: Duration,
    /// When the next object falls due.
    soonest: Option<Timestamp>,
}

impl Swept {
    fn and(self, other: Self) -> Self {
        let soonest = self.soonest.into_iter().chain(other.soonest).min();
        Self { listing: self.listing + other.listing, soonest }
    }

    fn pause(self, context: &Context) -> Duration {
        let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let soonest = self.soonest.map(|soonest| soonest.duration_since(context.clock.now().earliest()));
        let pause = pause(signed(context.config.sweep_interval()), signed(self.listing), soonest);
        Duration::try_from(pause).unwrap_or_default()
    }
}

/// Sweeps until `shutdown`, while this process leads. The kinds do not wait for each other: a day may have as many
/// receipts as kills, but requests fall due within seconds.
pub async fn sweep(context: Arc<Context>, shutdown: CancellationToken) {
    let removals = Chores::<String>::new(REMOVALS, context.tasks.clone(), shutdown.clone());
    let recoveries = Chores::<TenantKey>::new(RECOVERIES, context.tasks.clone(), shutdown.clone());
    let pruning = again_and_again(&context, &shutdown, async || {
        context.secrets.prune();
        context.routes.prune();
        Swept::default()
    });
    let requests = again_and_again(&context, &shutdown, async || {
        each_place(&context, async |all| {
            let (listing, soonest) = sweep_requests(&context, &all, &removals).await;
            Swept { listing, soonest }
        })
        .await
    });
    let receipts = again_and_again(&context, &shutdown, async || {
        each_place(&context, async |all| {
            let listing = sweep_receipts(&context, &all, &removals, &recoveries, &shutdown).await;
            Swept { listing, soonest: None }
        })
        .await
    });
    join3(pruning, requests, receipts).await;
}

async fn again_and_again(context: &Context, shutdown: &CancellationToken, sweep: impl AsyncFn() -> Swept) {
    let mut pause = context.config.sweep_interval();
    while tokio::time::timeout(pause, shutdown.cancelled()).await.is_err() {
        pause = sweep().await.pause(context);
    }
}

/// Sweeps each place of this process; a failure in one does not stop the others.
async fn each_place<K>(context: &Context, sweep: impl AsyncFn(Api<K>) -> Swept) -> Swept
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    if !context.leadership.leads() {
        return Swept::default();
    }
    let sweep = &sweep;
    let sweeps =
        stream::iter(context.scope.everywhere::<K>()).map(|place| sweep(place)).buffer_unordered(LISTS_AT_ONCE);
    sweeps.fold(Swept::default(), async |all, swept| all.and(swept)).await
}
