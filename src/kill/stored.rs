//! Gets requests at their turn, from the watch cache or, if it has only their outline, from the API server. Does I/O.

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

/// How many requests of a batch are read at once.
const READS_AT_ONCE: usize = 4;

/// A permit for the batch of `first` if it must be read, as memory outside the watch cache must be bounded. It is held
/// until the statuses are written, so wait for it before holding anything that others wait for.
pub async fn room(context: &Context, key: &Arc<TenantKey>, first: &Item) -> Option<Arc<Permit>> {
    let is_whole = context.requests.get(&first.object).is_none_or(|cached| cached.whole().is_some());
    if is_whole { None } else { Some(Arc::new(context.rooms.acquire(key).await)) }
}

/// The stored object for each of `items`, in order: the request, or why it is unreadable. Items go back to the queue if
/// their request is gone, could not be read in time, or has no room.
pub async fn stored(context: &Context, items: Vec<Item>, has_room: bool) -> Vec<(Item, Guarded)> {
    let read = async |item: Item| match whole(context, &item, has_room).await {
        Ok(Whole::Read(guarded)) => Some((item, *guarded)),
        Ok(Whole::Gone) => {
            context.queue.done(item, Next::Ended);
            None
        }
        // It will be the first of its next batch.
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

/// The result of getting a request.
enum Whole {
    Read(Box<Guarded>),
    /// The request is gone; another object may have its name.
    Gone,
    /// The watch cache has only its outline, and its batch has no room.
    NoRoom,
}

/// The whole request of `item`, from the watch cache without a call, or else from the API server.
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
