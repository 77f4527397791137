//! Ends requests that must not be sent any more, because they expired or are being deleted. It runs outside the queue,
//! so that a slow kill of the tenant does not delay such an end. Does I/O by the steps of the kill path.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::work::end_unsent;
use crate::queue::chores::Limits;
use crate::queue::item::{Item, Next, Submitted};

/// An end takes two calls of the API server; one by a receipt whose holder is gone waits up to 20 s for a process list. Sixteen
/// namespaces with such receipts have to come together before the end of another namespace waits for them.
pub const LIMITS: Limits = Limits { at_once: 64, at_once_of_one: 4, waiting: 50_000, waiting_of_one: 12_500 };

/// The pause between two searches for expired requests in the queue.
const LOOK: Duration = Duration::from_millis(500);
/// How long to put off an end for which there is no room.
const PUT_OFF: SignedDuration = SignedDuration::from_secs(2);

/// Ends the request of `item`, of the tenant of `key`, unless it is being processed.
pub fn end(context: &Arc<Context>, key: TenantKey, item: Item, now: Timestamp) -> Submitted {
    let (key, item) = match context.queue.take_out(key, item, now) {
        Ok(taken) => taken,
        Err(submitted) => return submitted,
    };
    let (task_context, namespace, again) = (context.clone(), key.namespace().to_owned(), item.clone());
    let of = item.key();
    if !context.unsent.add(&namespace, of, move || async move { end_unsent(&task_context, &key, item).await }) {
        let _ = context.queue.done(again, Next::Later(later(now, PUT_OFF)));
    }
    Submitted::Accepted { starts: None }
}

/// Until `shutdown`, regularly looks again at requests that expired while queued. Requests on hold are looked at by
/// themselves.
pub async fn look_at_overdue(context: Arc<Context>, shutdown: CancellationToken) {
    while tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_err() {
        let overdue = context.queue.overdue(context.clock.now().earliest());
        context.queue.look_again_at(overdue);
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
