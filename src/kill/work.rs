//! Finds out what each request of a batch needs now, and sends those with a kill to do on the kill path. Does I/O;
//! called by the tenant's worker.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::api::{Outcome, SessionKill, WaitReason};
use crate::domain::kill::backoff::in_time;
use crate::domain::kill::plan::{Intent, Step, plan, plan_woken};
use crate::domain::kill::sharing::MAX_SESSIONS;
use crate::domain::selection::Filter;
use crate::domain::tenant::TenantKey;
use crate::kill::batch::{attempt, beside, finish};
use crate::kill::context::Context;
use crate::kill::orphan::SharedList;
use crate::kill::request::Request;
use crate::kill::stored::{room, stored};
use crate::kill::unreadable;
use crate::kubernetes::watch::metadata::Size;
use crate::kubernetes::watch::stored_request::{Guarded, Unreadable};
use crate::metrics::labels::Stage;
use crate::queue::item::{Item, Next};
use crate::queue::permits::Permit;

/// Waits until the next request of `key` may be processed, before it holds anything that others wait for, as its
/// connection may be throttled. A shutdown waits only for work in flight, not for this.
pub async fn wait_for_next(context: &Arc<Context>, key: &Arc<TenantKey>) -> Option<Arc<Permit>> {
    let first = context.queue.first(key, Timestamp::now())?;
    let next = async {
        wait_for_turn(context, key, &first).await;
        // Only after the wait for the rate limit, as others wait for rooms.
        room(context, key, &first).await
    };
    tokio::select! {
        room = next => room,
        () = context.queue.shutdown.cancelled() => None,
    }
}

/// Waits until the connection of `first` may be called, if `first` needs a call. The batch is formed later, so that
/// requests that come during the wait join it, and edits and deletions are seen.
async fn wait_for_turn(context: &Arc<Context>, key: &Arc<TenantKey>, first: &Item) {
    let Some(cached) = context.requests.get(&first.object) else { return };
    let Some(Step::Attempt(_)) = cached.step(context.clock.now(), first.is_woken) else { return };
    let Ok(connection) = context.routes.connection(&key.connection_key()) else { return };
    let states = &context.connection_states;
    // Whoever may not use the connection takes no slot from those who may.
    if states.is_limited(&connection) && context.allowances.ask(key).await.is_err() {
        return;
    }
    // For the list and the call together, as nothing should wait between them or under a claim.
    let calls = if cached.needs_list(connection.must_see()) { 2 } else { 1 };
    let now = Timestamp::now();
    let latest = in_time(Timestamp::MAX, now, first.not_after).duration_since(now);
    // After this time its last try is made without a slot.
    let _ = timeout(Duration::try_from(latest).unwrap_or_default(), states.turn(&connection, key, calls)).await;
}

/// The most sessions in a shared call for `key`.
pub fn most_sessions(context: &Context, key: &TenantKey) -> usize {
    let Ok(connection) = context.routes.connection(&key.connection_key()) else { return MAX_SESSIONS };
    context.connection_states.most_sessions(&connection, key.namespace())
}

fn planned(context: &Context, object: &SessionKill, item: &Item) -> Step {
    let now = context.clock.now();
    if item.is_woken { plan_woken(object, now) } else { plan(object, now) }
}

/// Processes `items`, all of the tenant of `key`, in their current state; each goes back to the queue when done. New
/// kills come first: ends, waits and older calls are handled in a task of their own.
pub async fn work_on(
    context: &Arc<Context>,
    key: &Arc<TenantKey>,
    items: Vec<Item>,
    (room, slot): (Option<Arc<Permit>>, Permit),
) {
    let Work { attempts, others } = work(context, key, items, room).await;
    beside(context, others);
    if !attempts.is_empty() {
        attempt(context, key, attempts, slot).await;
    }
}

/// Ends the request of `item`, of the tenant of `key`, that must not be sent any more. If it needs something else by
/// now, it goes back to the queue.
pub async fn end_unsent(context: &Arc<Context>, key: &Arc<TenantKey>, item: Item) {
    let room = room(context, key, &item).await;
    let Work { attempts, others } = work(context, key, vec![item], room).await;
    join_all(others).await;
    for (request, _) in attempts {
        request.done(Next::Later(Timestamp::now()));
    }
}

/// The work to do for a batch.
struct Work {
    attempts: Vec<(Request, Intent)>,
    others: Vec<BoxFuture<'static, ()>>,
}

/// The work to do for the requests of `items` in their current state.
async fn work(context: &Arc<Context>, key: &Arc<TenantKey>, items: Vec<Item>, room: Option<Arc<Permit>>) -> Work {
    let (mut attempts, mut others) = (vec![], vec![]);
    let stored = stored(context, items, room.is_some()).await;
    let objects = stored.iter().filter_map(|(_, guarded)| guarded.0.as_ref().ok());
    let ids = objects.flat_map(|object| object.spec.sessions.iter().map(|session| session.session_id));
    let orphans = Arc::new(SharedList::of(ids.collect()));
    for (item, guarded) in stored {
        let Guarded(object, size) = guarded;
        let object = match object {
            Ok(object) => object,
            Err(invalid) => {
                others.push(end_unreadable(context.clone(), (invalid, size), item).boxed());
                continue;
            }
        };
        let step = planned(context, &object, &item);
        // Only who is attempted needs it, and a pattern takes time to compile.
        let filter = match step {
            Step::Attempt(_) => Filter::of(&object.spec).map(|filter| filter.map(Arc::new)),
            _ => Ok(None),
        };
        let request = Request {
            context: context.clone(),
            key: key.clone(),
            orphans: orphans.clone(),
            item,
            filter,
            object,
            size,
            _room: room.clone(),
        };
        request.enters(Stage::Preparing);
        match step {
            Step::Rest => request.done(Next::Ended),
            Step::Wait { until, reason } => others.push(hold(request, until, reason).boxed()),
            Step::Follow => others.push(follow(request).boxed()),
            Step::End(outcome) => others.push(end(request, outcome).boxed()),
            Step::Attempt(intent) => attempts.push((request, intent)),
        }
    }
    Work { attempts, others }
}

async fn end_unreadable(context: Arc<Context>, (invalid, size): (Unreadable, Size), item: Item) {
    let since = item.put_off_since.map(|since| Timestamp::now().duration_since(since));
    let failing_for = since.and_then(|since| Duration::try_from(since).ok()).unwrap_or_default();
    let next = unreadable::finish(&context, (&invalid, size), failing_for).await;
    context.queue.done(item, next);
}

async fn hold(request: Request, until: Timestamp, reason: Option<WaitReason>) {
    let next = request.hold(until, reason).await;
    request.done(next);
}

async fn follow(request: Request) {
    let followed = request.follow().await;
    finish(request, followed).await;
}

async fn end(request: Request, outcome: Outcome) {
    let ended = request.end_unsent(outcome).await;
    finish(request, ended).await;
}
