//! Processes the queue: one task per tenant, as long as the tenant has requests. Does I/O.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::work::{most_sessions, wait_for_next, work_on};

/// Starts the worker of `key`, which runs until its FIFO is empty.
pub fn start(context: &Arc<Context>, key: Arc<TenantKey>) {
    context.tasks.spawn(work(context.clone(), key));
}

async fn work(context: Arc<Context>, key: Arc<TenantKey>) {
    loop {
        let room = wait_for_next(&context, &key).await;
        // Take the slot first: items taken before it would be processed even if a shutdown came meanwhile.
        let slot = context.call_permits.slots.acquire(&key).await;
        let items = context.queue.next(&key, most_sessions(&context, &key), Timestamp::now());
        if items.is_empty() {
            return;
        }
        // Boxed, so that only tasks at work use this memory.
        Box::pin(work_on(&context, &key, items, (room, slot))).await;
    }
}
