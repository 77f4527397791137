//! The requests of one tenant whose turn has come, together: the kill path. One read of the process list and one call serve
//! all of them; each has its own claim and its own outcome. Does I/O; called by the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join, join_all};
use futures::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::core::error_boundary::InvalidObject;
use tokio::time::timeout;

use super::api_calls::ApiError;
use super::attempt::{Attempted, Decision, Observed, needs_list};
use super::blocked::{answers, block, route};
use super::called::{Member, call};
use super::calls::Lane;
use super::context::Context;
use super::dispatch::tenant;
use super::guarded::Guarded;
use super::metadata::Size;
use super::orphan::SharedList;
use super::permits::Permit;
use super::poison;
use super::queue::{Item, Next};
use super::request::Request;
use super::route::{Route, connection};
use super::stored::{room, stored};
use super::tenant::TenantKey;
use super::writes::collect_each;
use crate::api::{Outcome, SessionKill, SessionKillReceipt, WaitReason};
use crate::domain::admission::must_see;
use crate::domain::backoff::in_time;
use crate::domain::plan::{Intent, Step, plan, plan_woken};
use crate::domain::sharing::MAX_SESSIONS;
use crate::metrics::labels::Stage;
use crate::traces::Span;

/// The first of so many parts of a claim's time to send is for claiming the others of its group.
const PARTS_OF_WINDOW: i32 = 3;
/// A claim that leaves less time than this to send goes out before the others.
const URGENT: Duration = Duration::from_secs(5);

/// Waits until the connection of `first`, the next of its tenant, may be called, if that is what it wants. It is called
/// before the group is made up: what comes meanwhile goes along, and what is edited or deleted meanwhile is seen so.
pub(super) async fn wait_for_turn(context: &Arc<Context>, first: &Item) {
    let Some(cached) = context.requests.get(&first.object) else { return };
    let step = cached.step(context.clock.now(), first.is_woken);
    let (Some(Step::Attempt(_)), Some(name)) = (step, cached.connection()) else { return };
    let namespace = cached.namespace().unwrap_or_default();
    if let Ok(connection) = connection(context, &namespace, name) {
        // For the list and the call at once: between them, and under a claim, nothing should wait.
        let calls = if cached.needs_list(must_see(&connection.spec)) { 2 } else { 1 };
        let turn = context.connection_states.turn(&connection, calls);
        let now = Timestamp::now();
        let latest = in_time(Timestamp::MAX, now, first.not_after).duration_since(now);
        // Its last try is made in any case.
        let _ = timeout(Duration::try_from(latest).unwrap_or_default(), turn).await;
    }
}

/// The most sessions that a call for several requests of `key` names.
pub(super) fn most_sessions(context: &Context, key: &TenantKey) -> usize {
    let connection = connection(context, key.namespace(), key.connection());
    connection.map_or(MAX_SESSIONS, |it| context.connection_states.call_size(&it, |size| size.most()))
}

fn planned(context: &Context, object: &SessionKill, item: &Item) -> Step {
    let now = context.clock.now();
    if item.is_woken { plan_woken(object, now) } else { plan(object, now) }
}

/// Works on `items`, all of the tenant of `key`, as they are now. Each goes back to the queue when it is done with. New kills
/// come first: what has expired, waits or is to be found out of an older call is worked on in a task of its own.
pub(super) async fn work_on(
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

/// Ends the request of `item`, of the tenant of `key`, for which nothing is sent any more. If it turns out to be another one by
/// now, it goes back to the queue.
pub(super) async fn end_unsent(context: &Arc<Context>, key: &Arc<TenantKey>, item: Item) {
    let room = room(context, key, &item).await;
    let Work { attempts, others } = work(context, key, vec![item], room).await;
    join_all(others).await;
    for (request, _) in attempts {
        request.done(Next::Later(Timestamp::now()));
    }
}

/// What there is to do for requests.
struct Work {
    attempts: Vec<(Request, Intent)>,
    others: Vec<BoxFuture<'static, ()>>,
}

/// What there is to do for the requests of `items`, as they are now.
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
        let request = Request {
            context: context.clone(),
            key: key.clone(),
            orphans: orphans.clone(),
            item,
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

/// The most of the others of one group that are worked on at once: those that read the process list share one.
const OTHERS_AT_ONCE: usize = 16;

/// Does `others` in a task of their own.
fn beside(context: &Context, others: Vec<BoxFuture<'static, ()>>) {
    if !others.is_empty() {
        context.tasks.spawn(stream::iter(others).for_each_concurrent(OTHERS_AT_ONCE, |other| other));
    }
}

async fn end_unreadable(context: Arc<Context>, (invalid, size): (InvalidObject, Size), item: Item) {
    let since = item.put_off_since.map(|since| Timestamp::now().duration_since(since));
    let failing_for = since.and_then(|since| Duration::try_from(since).ok()).unwrap_or_default();
    let next = poison::finish(&context, (&invalid, size), failing_for).await;
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

async fn find_out(request: Request, receipt: Box<SessionKillReceipt>) {
    let found_out = request.find_out(&receipt).await;
    finish(request, found_out).await;
}

async fn finish(request: Request, worked: Result<Next, ApiError>) {
    let next = match worked {
        Ok(next) => next,
        Err(error) => request.put_off(&error).await,
    };
    request.done(next);
}

/// Steps 2 to 6 of all `attempts`. The slot is kept up to the claims: a list that many others are read after would be too old
/// to decide by.
async fn attempt(context: &Arc<Context>, key: &Arc<TenantKey>, attempts: Vec<(Request, Intent)>, slot: Permit) {
    let route = match route(context, &attempts[0].0).await {
        Ok(route) => route,
        Err(blocked) => {
            drop(slot);
            return block(context, attempts, &blocked).await;
        }
    };
    if let Err(blocked) = answers(context, key, &route).await {
        drop(slot);
        return block(context, attempts, &blocked).await;
    }
    let mut slot = Some(slot);
    let observed = observe(context, &route, &attempts, &mut slot).await;
    let Worked { members, decided, left } = claim_all(context, attempts, &route, &observed).await;
    drop(slot);
    put_back(context, key, left);
    join(call_all(context, key, &route, members), carry_out_all(context, decided)).await;
}

/// The calls of one group whose claims are made.
async fn call_all(context: &Arc<Context>, key: &Arc<TenantKey>, route: &Route, claimed: Vec<Member>) {
    // The earliest deadline holds for a whole call: one that has passed keeps it from being sent, and one that is near may
    // have the gateway refuse it.
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

/// Does what was decided of those of one group for which no call is made.
async fn carry_out_all(context: &Context, decided: Vec<(Request, Decision)>) {
    let carrying_out = async |(request, decision): (Request, Decision)| {
        let carried_out = request.carry_out(decision).await;
        finish(request, carried_out).await;
    };
    collect_each(context, decided, carrying_out).await;
}

/// Step 4: one read for all that need it.
async fn observe(
    context: &Arc<Context>,
    route: &Route,
    attempts: &[(Request, Intent)],
    slot: &mut Option<Permit>,
) -> Observed {
    let must_see = must_see(&route.connection.spec);
    if !attempts.iter().any(|(request, _)| needs_list(&request.object.spec, must_see)) {
        return None;
    }
    let started = Instant::now();
    let ids: Vec<i64> = attempts.iter().flat_map(|(request, _)| request.session_ids()).collect();
    let of = tenant(&attempts[0].0.object.spec);
    let read = context.observer.observe(context, route, &of, &ids, Lane::Kills, slot).await;
    for (request, _) in attempts {
        let span = Span::part(&request.item.uid, "observe", started.elapsed());
        context.traces.add(&Span { is_error: read.is_err(), ..span });
    }
    if read.is_ok() {
        context.connection_states.works(context, &route.connection);
    }
    if let Err(error) = &read {
        let connection = route.connection.name_any();
        tracing::info!(%error, connection, requests = attempts.len(), "process list not read before the kill");
    }
    Some(read)
}

/// What came of the attempts of a group.
#[derive(Default)]
struct Worked {
    /// Those that may make their call.
    members: Vec<Member>,
    /// Those for which no call is made.
    decided: Vec<(Request, Decision)>,
    /// Those whose claims would come so late that the time of the first might be over before it is made.
    left: Vec<Request>,
}

/// Step 5, in the order of the queue.
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
        if let Ok(Attempted::Claimed(_)) = &attempted {
            request.context.traces.add(&Span::part(&request.item.uid, "claim", started.elapsed()));
        }
        Ok((request, attempted))
    };
    let (mut worked, mut others) = (Worked::default(), vec![]);
    for claimed in collect_each(context, attempts, claiming).await {
        match claimed {
            Ok((request, Ok(Attempted::Claimed(claim)))) => worked.members.push(Member { request, claim }),
            Ok((request, Ok(Attempted::Not(decision)))) => worked.decided.push((request, decision)),
            Ok((request, Ok(Attempted::Orphaned(receipt)))) => others.push(find_out(request, receipt).boxed()),
            Ok((request, Err(error))) => others.push(finish(request, Err(error)).boxed()),
            Err(request) => worked.left.push(request),
        }
    }
    beside(context, others);
    worked
}

/// Has `left`, all of one tenant, go with its next call.
fn put_back(context: &Context, key: &Arc<TenantKey>, left: Vec<Request>) {
    for request in &left {
        request.enters(Stage::Queued);
    }
    context.queue.put_back(key, left.into_iter().map(|request| request.item));
}

/// Has `refused`, all of one tenant, go out again in smaller calls, each after its own plan, list and claim.
fn go_again(context: &Context, key: &Arc<TenantKey>, refused: Vec<Request>) {
    for request in &refused {
        request.enters(Stage::Queued);
    }
    context.queue.put_behind(key, refused.into_iter().map(|request| request.item));
}
