//! Step 1: decides whether a request needs work now, and if so, queues it. No I/O.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource as _, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::CLOCK_SKEW;
use crate::domain::kill::plan::Step;
use crate::domain::kill::sharing::Sharing;
use crate::kill::context::Context;
use crate::kill::ends::end;
use crate::kill::worker;
use crate::kubernetes::watch::cached::Cached;
use crate::queue::item::{Item, Submitted};

/// The longest time until an unfinished request is looked at again, as an event may be lost and clocks may be set.
pub const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// The reconciler for the controller runtime, which looks again as decided.
pub async fn reconcile(cached: Arc<Cached>, context: Arc<Context>) -> Result<Action, Infallible> {
    Ok(decide(&cached, &context))
}

/// Decides on an object in the watch cache and when to look again: only on a change if the queue has it, as the queue
/// then looks again itself. It is idempotent.
pub fn decide(cached: &Cached, context: &Arc<Context>) -> Action {
    let clocks = context.clock.now();
    let now = clocks.own();
    let is_woken = cached.meta().uid.as_ref().is_some_and(|uid| context.queue.is_woken(uid));
    let step = cached.step(clocks, is_woken);
    match step {
        Some(Step::Rest) => return Action::await_change(),
        Some(Step::Wait { until, reason }) if reason.is_none_or(|reason| cached.says(reason)) => {
            return look_again(until, now);
        }
        Some(Step::Wait { .. } | Step::Follow | Step::End(_) | Step::Attempt(_)) | None => {}
    }
    // Another replica does the work; everything here is looked at again when this one leads.
    if !context.leadership.leads() {
        return Action::await_change();
    }
    let item = Item {
        object: ObjectRef::from_obj(cached),
        uid: cached.uid().unwrap_or_default(),
        generation: cached.meta().generation,
        version: cached.meta().resource_version.clone(),
        sessions: cached.sessions(),
        not_after: cached.not_after(),
        seen: Instant::now(),
        put_off_since: None,
        is_woken: false,
        sharing: Sharing::default(),
    };
    let is_over = cached.not_after().saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
    let submitted = match step {
        Some(Step::End(_)) => end(context, cached.key(), item, now),
        _ => context.queue.submit(cached.key(), item, now),
    };
    match submitted {
        Submitted::Held(until) => look_again(until, now),
        Submitted::Accepted { starts } => {
            if let Some(tenant) = starts {
                worker::start(context, tenant);
            }
            Action::await_change()
        }
        // The queue looks again once it has room, in the order of creation: requests that retry each second would
        // overtake the others. Ending a request needs no room.
        Submitted::Full => look_again(clocks.own_time_at(is_over), now),
    }
}

/// Until `shutdown`, decides again on requests refused for lack of room, in the order of their creation.
pub async fn take_up_turned_away(context: Arc<Context>, shutdown: CancellationToken) {
    while let Some(namespaces) = shutdown.run_until_cancelled(context.queue.room_again()).await {
        for namespace in namespaces {
            look_at_namespace(&context, &namespace);
        }
    }
}

/// Decides on all unfinished requests of `namespace`, oldest first.
fn look_at_namespace(context: &Arc<Context>, namespace: &str) {
    let mut requests = context.requests.state();
    requests.retain(|request| request.meta().namespace.as_deref() == Some(namespace));
    look_at(context, requests);
}

/// Decides on `requests`, oldest first, as the cache has no order.
pub fn look_at(context: &Arc<Context>, mut requests: Vec<Arc<Cached>>) {
    requests.sort_by(|a, b| a.meta().creation_timestamp.cmp(&b.meta().creation_timestamp));
    let again = requests.iter().filter(|request| comes_again(request, context));
    context.queue.look_again_at(again.map(|request| ObjectRef::from_obj(request.as_ref())));
}

/// Decides on `object`, and returns whether the controller must do so again later.
pub fn comes_again(object: &Cached, context: &Arc<Context>) -> bool {
    decide(object, context) != Action::await_change()
}

fn look_again(at: Timestamp, now: Timestamp) -> Action {
    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    // 1 ms late, as looking too early would cost a second look.
    Action::requeue(left.min(LOOK_AGAIN) + Duration::from_millis(1))
}
