//! Requests as they are when their turn comes: from the watch cache, or read where it has an outline only. Does I/O.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};

use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::request::API_PAUSE;
use crate::kubernetes::calls::{ApiError, found};
use crate::kubernetes::watch::stored_request::Guarded;
use crate::queue::item::{Item, Next};
use crate::queue::permits::Permit;

/// So many of a group are read at once.
const READS_AT_ONCE: usize = 4;

/// A room for the group of `first`, if that has to be read: what is held in memory beside the watch cache must be bounded, and
/// it is held until its status is written. Waited for before anything that others wait for is held.
pub async fn room(context: &Context, key: &Arc<TenantKey>, first: &Item) -> Option<Arc<Permit>> {
    let is_whole = context.requests.get(&first.object).is_none_or(|cached| cached.whole().is_some());
    if is_whole { None } else { Some(Arc::new(context.rooms.acquire(key).await)) }
}

/// What is stored for each of `items`, in their order: the request, or why it cannot be read. Items whose request is gone, or
/// was not given out in time, or has no room, go back to the queue.
pub async fn stored(context: &Context, items: Vec<Item>, has_room: bool) -> Vec<(Item, Guarded)> {
    let read = async |item: Item| match whole(context, &item, has_room).await {
        Ok(Whole::Read(guarded)) => Some((item, *guarded)),
        Ok(Whole::Gone) => {
            context.queue.done(item, Next::Ended);
            None
        }
        // It is the first of its next group.
        Ok(Whole::NoRoom) => {
            context.queue.done(item, Next::Later(Timestamp::now()));
            None
        }
        Err(error) => {
            let (name, namespace) = (&item.object.name, &item.object.namespace);
            tracing::warn!(%error, name, namespace, "request not read yet");
            context.queue.done(item, Next::Later(Timestamp::now() + API_PAUSE));
            None
        }
    };
    stream::iter(items).map(read).buffered(READS_AT_ONCE).filter_map(std::future::ready).collect().await
}

/// What there is of a request.
enum Whole {
    Read(Box<Guarded>),
    /// Nothing, or another object has its name.
    Gone,
    /// It is not whole in the watch cache, and its group has no room.
    NoRoom,
}

/// All of the request of `item`: as the watch cache has it, without a call, or else as the API server does.
async fn whole(context: &Context, item: &Item, has_room: bool) -> Result<Whole, ApiError> {
    let cached = context.requests.get(&item.object).filter(|cached| cached.uid().as_ref() == Some(&item.uid));
    let Some(cached) = cached else { return Ok(Whole::Gone) };
    if let Some(whole) = cached.whole() {
        return Ok(Whole::Read(Box::new(whole)));
    }
    if !has_room {
        return Ok(Whole::NoRoom);
    }
    let namespace = cached.namespace().unwrap_or_default();
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), &namespace);
    let read = found("read SessionKill", requests.get(&item.object.name)).await?;
    Ok(read
        .filter(|read| read.uid().as_ref() == Some(&item.uid))
        .map_or(Whole::Gone, |read| Whole::Read(Box::new(read))))
}
