//! The watches: one of each kind for each place that the operator works in, which fill one cache together. Does I/O.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, select_all};
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::health::{Health, Watch};
use crate::kubernetes::api_error::of_watch;
use crate::kubernetes::watch::one_namespace::{beside_others, empty_list};
use crate::kubernetes::watch::scope::Scope;

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

/// After so many times the length of a watch, a list says anew what there is. Watches tell of changes only, and of each only
/// once: one that is swallowed on the way, by a cache of an API server or by whatever lies between, is in none of the
/// watches that follow, as each goes on from a bookmark that is later. A request would wait for ever.
const LIST_AFTER: u32 = 5;

/// The most objects that the API server is asked for at once. More make no list faster. Each may have the 1.5 MiB that etcd takes, and the answer is held
/// whole and once more as text until its objects are made of it.
pub const PAGE: u32 = 20;

/// How long a list that comes as a stream may take: what lies between can accept a watch and pass nothing on.
const STREAM_LIMIT: Duration = Duration::from_secs(15);

/// Watches of `length` each that fill `writer` together with what `keep` makes of each object, and tell `health` how they fare. What comes out is in the cache already, but for the
/// objects of a list, which are in it when that is complete.
pub fn watch<K, F>(
    (scope, length): (&Scope, Duration),
    config: &watcher::Config,
    writer: Writer<K>,
    health: &Arc<Health>,
    kind: fn(usize) -> Watch,
    keep: F,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K, F>
where
    F: Fn(K) -> K + Send,
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let places = scope.places();
    let first = if places.iter().all(Option::is_some) { empty_list().into() } else { vec![] };
    let watches = places.into_iter().enumerate().map(|(number, place)| {
        let all = scope.objects_of(place);
        let events = listed_anew(all, config.clone(), length * LIST_AFTER);
        let events = told(events, health.clone(), kind(number));
        match place {
            Some(namespace) => beside_others(events, namespace.to_owned(), writer.as_reader()).boxed(),
            None => events.boxed(),
        }
    });
    let watches = select_all(watches.collect::<Vec<_>>());
    stream::iter(first).chain(watches).map_ok(move |event| kept(event, &keep)).reflect(writer)
}

fn kept<K>(event: Event<K>, keep: impl Fn(K) -> K) -> Event<K> {
    match event {
        Event::Apply(object) => Event::Apply(keep(object)),
        Event::InitApply(object) => Event::InitApply(keep(object)),
        event @ (Event::Delete(_) | Event::Init | Event::InitDone) => event,
    }
}

/// Watches one after the other, each of which begins with a list and ends so long after it.
///
/// The first list comes as a stream, if the API server can (`WatchList`, by default from Kubernetes 1.34 on): that costs it less
/// than pages, and no more than one object is held as text. Such a list may be of an older state, out of a cache of the
/// API server, as any watch may; the later ones, which are there to find what a cache has lost, are not.
fn listed_anew<K>(
    api: Api<K>,
    config: watcher::Config,
    length: Duration,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut is_first = true;
    let begin = move || {
        let is_streamed = std::mem::replace(&mut is_first, false);
        let config = if is_streamed { config.clone().streaming_lists() } else { config.clone() };
        let (listed, refused) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (is_listed, is_refused) = (listed.clone(), refused.clone());
        let mut is_listing = is_streamed;
        let events = watcher(api.clone(), config).filter_map(move |event| {
            let event = match event {
                // Whatever it was for, the next list comes in pages, and tells of what keeps that from coming, too.
                Err(error) if is_listing => {
                    tracing::debug!(error = of_watch(&error), "no list as a stream");
                    is_refused.notify_one();
                    None
                }
                event => Some(event),
            };
            if matches!(event, Some(Ok(Event::InitDone))) {
                is_listing = false;
                is_listed.notify_one();
            }
            ready(event)
        });
        // Not earlier: a list that takes long must come to its end.
        events.take_until(async move {
            let may_take = if is_streamed { STREAM_LIMIT } else { Duration::MAX };
            tokio::select! {
                () = listed.notified() => sleep(length).await,
                () = refused.notified() => {}
                () = sleep(may_take) => {}
            }
        })
    };
    stream::repeat_with(begin).flatten()
}

/// `events` of a watch, which begins when it may, and tells `health` how it fares.
fn told<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    health: Arc<Health>,
    watch: Watch,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
where
    K: Send + 'static,
{
    let before = health.clone();
    let events = events.backoff(WatchPause).inspect(move |event| match event {
        Ok(Event::InitDone) => health.watch_synced(watch),
        Ok(Event::Init | Event::InitApply(_)) => health.watch_works(watch),
        Ok(Event::Apply(_) | Event::Delete(_)) => health.watch_delivers(watch),
        Err(error) => {
            tracing::warn!(error = of_watch(error), watch = watch.as_str(), "watch failed, trying again");
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
