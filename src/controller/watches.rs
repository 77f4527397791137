//! The watches: one of each kind for each place that the operator works in, which fill one cache together. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, select_all};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;

use super::beside::{beside_others, empty_list};
use super::context::{Context, objects_of};
use crate::health::{Health, Watch};

/// The pause after each failure of a watch. The client's default doubles up to 30 s, so that after a short outage of the API
/// server requests waited for half a minute more; two watches of one operator are no load.
struct WatchPause;

impl Iterator for WatchPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }
}

impl Backoff for WatchPause {
    fn reset(&mut self) {}
}

/// Watches that fill `writer` together, and tell `health` how they fare.
pub fn watch<K>(
    context: &Context,
    config: &watcher::Config,
    writer: Writer<K>,
    health: &Arc<Health>,
    kind: fn(usize) -> Watch,
) -> impl futures::Stream<Item = Result<K, watcher::Error>> + Send + use<K>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let places = context.places();
    let first = if places.iter().all(Option::is_some) { empty_list().into() } else { vec![] };
    let watches = places.into_iter().enumerate().map(|(number, place)| {
        let all = objects_of(context.client.clone(), place);
        let events = watch_of(all, config.clone(), health.clone(), kind(number));
        match place {
            Some(namespace) => beside_others(events, namespace.to_owned(), writer.as_reader()).boxed(),
            None => events.boxed(),
        }
    });
    let watches = select_all(watches.collect::<Vec<_>>());
    stream::iter(first)
        .chain(watches)
        .map_ok(|event| event.modify(|object| object.meta_mut().managed_fields = None))
        .reflect(writer)
        .applied_objects()
}

/// One watch, which begins when it may.
fn watch_of<K>(
    api: Api<K>,
    config: watcher::Config,
    health: Arc<Health>,
    watch: Watch,
) -> impl futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let before = health.clone();
    let events = watcher(api, config).backoff(WatchPause).inspect(move |event| match event {
        Ok(watcher::Event::InitDone) => health.watch_synced(watch),
        Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => health.watch_works(watch),
        Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => health.watch_delivers(watch),
        Err(error) => {
            tracing::warn!(%error, watch = watch.as_str(), "watch failed, trying again");
            // No restart brings rights back, and one namespace that is gone must not stop the operator for the others.
            if is_forbidden(error) {
                health.watch_works(watch);
            } else {
                health.watch_fails(watch);
            }
        }
    });
    async move {
        // A request must not be told that its connection does not exist because the cache is still empty.
        if let Watch::Requests(place) = watch {
            before.synced(Watch::Connections(place)).await;
        }
        before.watch_begins(watch);
        events
    }
    .flatten_stream()
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.is_forbidden(),
        _ => false,
    }
}
