//! Decides whether a request needs work now, and if so, enqueues it. No I/O.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource as _, ResourceExt as _};

use super::context::Context;
use super::guarded::Guarded;
use super::queue::{Item, Queue, Submitted, TenantKey};
use crate::domain::plan::{Step, plan};
use crate::domain::status::says;

/// An event may be missed, and clocks may be set: whatever is not at its end is looked at again after this time at the latest.
pub const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// For the controller runtime, which looks again when the decision says so.
pub async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Infallible> {
    Ok(decide(&guarded, &context))
}

/// Decides on one object, as the watch cache shows it, and says when to look again: not before it changes, if the queue has
/// it, which has it looked at again itself. Deciding twice changes nothing.
pub fn decide(guarded: &Guarded, context: &Arc<Context>) -> Action {
    let now = Timestamp::now();
    let (key, sessions, not_after) = match &guarded.0 {
        Err(_) => (TenantKey::unreadable(&guarded.namespace().unwrap_or_default()), 1, Timestamp::MAX),
        Ok(object) => match plan(object, now) {
            Step::Rest => return Action::await_change(),
            Step::Wait { until, reason } if reason.is_none_or(|reason| says(object, reason)) => {
                return until.map_or_else(Action::await_change, |until| look_again(until, now));
            }
            Step::Wait { .. } | Step::Follow | Step::Expire(_) | Step::Attempt(_) => {
                (TenantKey::of(object), object.spec.sessions.len(), object.spec.not_after_time.0)
            }
        },
    };
    // Another replica does the work; all that is here is looked at again once this one leads.
    if !context.leadership.leads() {
        return Action::await_change();
    }
    let item = Item {
        object: ObjectRef::from_obj(guarded),
        uid: guarded.uid().unwrap_or_default(),
        generation: guarded.meta().generation,
        sessions,
        not_after,
        seen: Instant::now(),
    };
    match Queue::submit(context, key, item, now) {
        Submitted::Accepted => Action::await_change(),
        Submitted::Held(until) => look_again(until, now),
        Submitted::Full => Action::requeue(Duration::from_secs(1)),
    }
}

fn look_again(at: Timestamp, now: Timestamp) -> Action {
    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    // A little late rather than a little early, which would cost a second look.
    Action::requeue(left.min(LOOK_AGAIN) + Duration::from_millis(1))
}
