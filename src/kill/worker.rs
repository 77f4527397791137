//! Works on what waits in the queue: one task for each tenant, for as long as it has requests. Does I/O.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::work::{most_sessions, wait_for_next, work_on};

/// Has the requests of `key` worked on until there are none.
pub fn start(context: &Arc<Context>, key: Arc<TenantKey>) {
    context.tasks.spawn(work(context.clone(), key));
}

async fn work(context: Arc<Context>, key: Arc<TenantKey>) {
    loop {
        let room = wait_for_next(&context, &key).await;
        // The slot first: an item taken before it would be worked on even if a shutdown came meanwhile.
        let slot = context.slots.acquire(&key).await;
        let items = context.queue.next(&key, most_sessions(&context, &key), Timestamp::now());
        if items.is_empty() {
            return;
        }
        // In a box: of all tasks only those at work need the room that this takes.
        Box::pin(work_on(&context, &key, items, (room, slot))).await;
    }
}
