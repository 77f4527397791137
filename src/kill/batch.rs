//! Steps 2 to 6 for a batch: requests of one tenant that share one read of the process list and one call. Does I/O;
//! called by `work`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join};
use futures::{FutureExt as _, StreamExt as _, stream};

use crate::api::SessionKillReceipt;
use crate::connections::call_permits::Lane;
use crate::connections::route::{self, Purpose, Route};
use crate::domain::kill::admission::needs_list;
use crate::domain::kill::plan::Intent;
use crate::domain::selection::Wanted;
use crate::domain::tenant::TenantKey;
use crate::kill::attempt::{Attempted, Decision};
use crate::kill::blocked::{answers, block, open, route};
use crate::kill::context::Context;
use crate::kill::planned::Observed;
use crate::kill::request::Request;
use crate::kill::send::{Member, call};
use crate::kill::target::tenant;
use crate::kubernetes::calls::ApiError;
use crate::kubernetes::watch::metadata::Size;
use crate::metrics::labels::Stage;
use crate::queue::item::Next;
use crate::queue::permits::Permit;
use crate::traces::Span;

/// Claiming a batch stops after a third of the dispatch window (5 s by default), so that the first claim can be sent.
const PARTS_OF_WINDOW: i32 = 3;
/// A claim with less time left to send than this goes out before the others.
const URGENT: Duration = Duration::from_secs(5);

/// Steps 2 to 6 of all `attempts`. The slot is held until the claims are made: otherwise many lists would be read
/// first, and be too old to decide by when their claims come.
pub async fn attempt(context: &Arc<Context>, key: &Arc<TenantKey>, attempts: Vec<(Request, Intent)>, slot: Permit) {
    // Step 2, API server: the labels of the namespace, if the connection selects namespaces by them, and the connection's
    // Secret. Pure: whether the connection allows the endpoint.
    let purpose = purpose(&attempts);
    match route(context, &attempts[0].0, purpose).await {
        Ok(route) => attempt_by(context, key, &route, attempts, slot).await,
        Err(blocked) if purpose == Purpose::Kills && lists_apart(context, key) => {
            let (dry_runs, kills) = attempts.into_iter().partition(is_dry_run);
            join(look(context, key, dry_runs, slot), block(context, kills, &blocked)).await;
        }
        Err(blocked) => {
            drop(slot);
            block(context, attempts, &blocked).await;
        }
    }
}

fn is_dry_run((_, intent): &(Request, Intent)) -> bool {
    matches!(intent, Intent::DryRun)
}

/// Whether the connection lists sessions with another access key than it ends them with.
fn lists_apart(context: &Context, key: &TenantKey) -> bool {
    context.routes.connection(&key.connection_key()).is_ok_and(|connection| route::lists_apart(&connection))
}

/// What a batch needs a route for.
fn purpose(attempts: &[(Request, Intent)]) -> Purpose {
    if attempts.iter().all(is_dry_run) { Purpose::Lists } else { Purpose::Kills }
}

/// Goes on with the `DryRun`s of a batch whose kills cannot go on: sessions may be listed although the access key that ends them
/// is not to be had.
async fn look(context: &Arc<Context>, key: &Arc<TenantKey>, dry_runs: Vec<(Request, Intent)>, slot: Permit) {
    let Some((first, _)) = dry_runs.first() else { return };
    match route(context, first, Purpose::Lists).await {
        Ok(route) => attempt_by(context, key, &route, dry_runs, slot).await,
        Err(blocked) => {
            drop(slot);
            block(context, dry_runs, &blocked).await;
        }
    }
}

/// Steps 2 to 6, by this route.
async fn attempt_by(
    context: &Arc<Context>,
    key: &Arc<TenantKey>,
    route: &Route,
    attempts: Vec<(Request, Intent)>,
    slot: Permit,
) {
    // Step 2, backend: a question that ends nothing, if the last call was not answered.
    if let Err(blocked) = answers(context, key, route).await {
        drop(slot);
        return block(context, attempts, &blocked).await;
    }
    // Step 2, backend: a connection that stays open, if it has such.
    if let Err(blocked) = open(context, key, route, &tenant(&attempts[0].0.object.spec)).await {
        drop(slot);
        return block(context, attempts, &blocked).await;
    }
    let mut slot = Some(slot);
    // Step 4, backend: one process list for all.
    let observed = observe(context, key, route, &attempts, &mut slot).await;
    // Step 4, pure: how each session stands. Step 5, API server: the claims.
    let Worked { members, decided, left } = claim_all(context, attempts, route, &observed).await;
    drop(slot);
    // Pure: whose claim would come too late goes with the next batch.
    put_back(context, key, left);
    // Step 6, backend: the call. Steps 7 to 9, API server and backend, go on in tasks of their own. Beside it, API server: the
    // ends and the reasons to wait of those for which no call is made. Boxed, as thousands of batches may wait above for a
    // connection that cannot be called.
    join(call_all(context, key, route, members).boxed(), carry_out_all(context, decided).boxed()).await;
}

/// Step 6: the calls of a batch, after its claims.
async fn call_all(context: &Arc<Context>, key: &Arc<TenantKey>, route: &Route, claimed: Vec<Member>) {
    // A shared call has the earliest deadline of its claims: one that has passed stops the whole call, and a near one
    // may let the gateway refuse it.
    let (late, in_time): (Vec<Member>, Vec<Member>) =
        claimed.into_iter().partition(|member| member.claim.time_left().is_none());
    let is_urgent = |member: &Member| member.claim.time_left().is_none_or(|left| left < URGENT);
    let (urgent, others): (Vec<Member>, Vec<Member>) = in_time.into_iter().partition(is_urgent);
    for members in [urgent, others, late] {
        if !members.is_empty() {
            let refused_together = call(context, key, route, members).await;
            go_again(context, key, refused_together);
        }
    }
}

/// Carries out the decisions of a batch that need no call. Large requests and waiting ones write in a task of their
/// own, where all namespaces take turns, so that the tenant's next kill does not wait for them.
async fn carry_out_all(context: &Context, decided: Vec<(Request, Decision)>) {
    let takes_turns = |(request, decision): &(Request, Decision)| {
        request.size == Size::Large || matches!(decision, Decision::Wait(..))
    };
    let (slow, ends): (Vec<_>, Vec<_>) = decided.into_iter().partition(takes_turns);
    beside(context, slow.into_iter().map(|(request, decision)| carry_out(request, decision).boxed()).collect());
    context.write_slots.collect_each(ends, |(request, decision)| carry_out(request, decision)).await;
}

async fn carry_out(request: Request, decision: Decision) {
    let carried_out = request.carry_out(decision).await;
    finish(request, carried_out).await;
}

/// Step 4: one read of the process list for the whole batch.
async fn observe(
    context: &Arc<Context>,
    key: &Arc<TenantKey>,
    route: &Route,
    attempts: &[(Request, Intent)],
    slot: &mut Option<Permit>,
) -> Observed {
    let must_see = route.connection().must_see();
    if !attempts.iter().any(|(request, _)| needs_list(&request.object.spec, must_see)) {
        return None;
    }
    let started = Instant::now();
    let mut wanted = Wanted::default();
    for (request, _) in attempts {
        wanted.add(&request.wanted());
    }
    let read = context.process_lists.observe(route, key, &wanted, Lane::Kills, slot).await;
    for (request, _) in attempts {
        let span = Span::part(&request.item.uid, "observe", started.elapsed());
        context.traces.add(&Span { is_error: read.is_err(), ..span });
    }
    if read.is_ok() && !route.is_for_lists_alone() {
        context.connection_reports.works(route.connection());
    }
    if let Err(error) = &read {
        let connection = route.connection().name();
        tracing::info!(%error, connection, requests = attempts.len(), "process list not read before the kill");
    }
    Some(read)
}

/// The result of the attempts of a batch.
#[derive(Default)]
struct Worked {
    /// Claimed: they may be called.
    members: Vec<Member>,
    /// They need no call.
    decided: Vec<(Request, Decision)>,
    /// Not claimed in time: with their claims, the first claim could expire before its call.
    left: Vec<Request>,
}

/// Step 5: the claims, in queue order.
async fn claim_all(
    context: &Arc<Context>,
    attempts: Vec<(Request, Intent)>,
    route: &Route,
    observed: &Observed,
) -> Worked {
    let began = Instant::now();
    let time = Duration::try_from(context.dispatch_window() / PARTS_OF_WINDOW).unwrap_or_default();
    let claiming = async |(request, intent): (Request, Intent)| {
        let started = Instant::now();
        if started.duration_since(began) > time {
            return Err(request);
        }
        let attempted = request.attempt(intent, route, observed).await;
        if let Ok(Attempted::Claimed(..)) = &attempted {
            request.context.traces.add(&Span::part(&request.item.uid, "claim", started.elapsed()));
        }
        Ok((request, attempted))
    };
    let (mut worked, mut others) = (Worked::default(), vec![]);
    for claimed in context.write_slots.collect_each(attempts, claiming).await {
        match claimed {
            Ok((request, Ok(Attempted::Claimed(claim, object)))) => {
                worked.members.push(Member { request: Request { object, _room: None, ..request }, claim });
            }
            Ok((request, Ok(Attempted::Not(decision)))) => worked.decided.push((request, decision)),
            Ok((request, Ok(Attempted::Orphaned(receipt)))) => others.push(find_out(request, receipt).boxed()),
            Ok((request, Err(error))) => others.push(finish(request, Err(error)).boxed()),
            Err(request) => worked.left.push(request),
        }
    }
    beside(context, others);
    worked
}

/// Puts `left`, all of one tenant, into its next batch.
fn put_back(context: &Context, key: &Arc<TenantKey>, left: Vec<Request>) {
    for request in &left {
        request.enters(Stage::Queued);
    }
    context.queue.put_back(key, left.into_iter().map(|request| request.item));
}

/// Puts `refused`, all of one tenant, into smaller batches, each with a new plan, list and claim.
fn go_again(context: &Context, key: &Arc<TenantKey>, refused: Vec<Request>) {
    for request in &refused {
        request.enters(Stage::Queued);
    }
    context.queue.put_behind(key, refused.into_iter().map(|request| request.item));
}

/// The most requests of one batch handled at once beside the call; those that read the process list share one read.
const OTHERS_AT_ONCE: usize = 16;

/// Runs `others` in a task of their own.
pub fn beside(context: &Context, others: Vec<BoxFuture<'static, ()>>) {
    if !others.is_empty() {
        context.tasks.spawn(stream::iter(others).for_each_concurrent(OTHERS_AT_ONCE, |other| other));
    }
}

async fn find_out(request: Request, receipt: Box<SessionKillReceipt>) {
    let found_out = request.find_out(&receipt).await;
    finish(request, found_out).await;
}

pub async fn finish(request: Request, worked: Result<Next, ApiError>) {
    let next = match worked {
        Ok(next) => next,
        Err(error) => request.put_off(&error).await,
    };
    request.done(next);
}
