//! Requests as they are when their turn comes: from the watch cache, or read where it has an outline only. Does I/O.

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};

use super::api_calls::{ApiError, found};
use super::context::Context;
use super::guarded::Guarded;
use super::queue::{Item, Next};
use super::request::API_PAUSE;

/// So many of a group are read at once.
const READS_AT_ONCE: usize = 4;

/// What is stored for each of `items`, in their order: the request, or why it cannot be read. Items whose request is gone, or
/// was not given out in time, go back to the queue.
pub(super) async fn stored(context: &Context, items: Vec<Item>) -> Vec<(Item, Guarded)> {
    let read = async |item: Item| match whole(context, &item).await {
        Ok(Some(guarded)) => Some((item, guarded)),
        Ok(None) => {
            context.queue.done(item, Next::Ended);
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

/// All of the request of `item`: as the watch cache has it, without a call, or else as the API server does. None if it is
/// gone, or another object has its name.
async fn whole(context: &Context, item: &Item) -> Result<Option<Guarded>, ApiError> {
    let cached = context.requests.get(&item.object).filter(|cached| cached.uid().as_ref() == Some(&item.uid));
    let Some(cached) = cached else { return Ok(None) };
    if let Some(whole) = cached.whole() {
        return Ok(Some(whole));
    }
    let namespace = cached.namespace().unwrap_or_default();
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), &namespace);
    let read = found("read SessionKill", requests.get(&item.object.name)).await?;
    Ok(read.filter(|read| read.uid().as_ref() == Some(&item.uid)))
}
