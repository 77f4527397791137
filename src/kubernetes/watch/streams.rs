//! The watches: one per kind and place, which fill one cache per kind. Does I/O.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, select_all};
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::health::{Health, Watch};
use crate::kubernetes::api_error::of_watch;
use crate::kubernetes::watch::one_namespace::{beside_others, empty_list};
use crate::kubernetes::watch::refusal::{Refusal, is_forbidden, is_refused};
use crate::kubernetes::watch::scope::Scope;

/// The pause after each failure of a watch. The client's default doubles up to 30 s, which delays requests by up to 30
/// s after a short outage of the API server; two watches per operator are no load.
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

/// The number of watch lengths after which a list reads everything again. A watch delivers each change only once: if a
/// cache of the API server or a proxy loses one, no later watch has it, as each continues from a later bookmark. The
/// request would wait for ever.
const LIST_AFTER: u32 = 5;

/// The most objects in one page; larger pages make no list faster. Each object may have the 1.5 MiB that etcd accepts,
/// and a page is in memory twice, as bytes and as text, until it is parsed.
pub const PAGE: u32 = 20;

/// The longest that a streamed list may take, as a proxy can accept a watch and pass nothing on.
const STREAM_LIMIT: Duration = Duration::from_secs(15);

/// Watches of `length` each that together fill `writer` with `keep` of each object, and report to `health`. Each
/// returned event is in the cache already; the objects of a list are there when the list is complete.
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
        let events = listed_anew(all, config.clone(), length * LIST_AFTER, |_| false);
        let events = told(events, health.clone(), kind(number), None);
        match place {
            Some(namespace) => beside_others(events, namespace.to_owned(), writer.as_reader()).boxed(),
            None => events.boxed(),
        }
    });
    let watches = select_all(watches.collect::<Vec<_>>());
    stream::iter(first).chain(watches).map_ok(move |event| kept(event, &keep)).reflect(writer)
}

/// One watch of a kind without namespaces, as [`watch`]. The operator does without the kind where its definition or its
/// rights are missing: `refusal` then says so.
pub fn watch_cluster<K>(
    (client, length): (&Client, Duration),
    config: &watcher::Config,
    writer: Writer<K>,
    health: &Arc<Health>,
    refusal: Arc<Refusal>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
where
    K: kube::Resource<DynamicType = (), Scope = ClusterResourceScope>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    // A watch that is allowed again tells nothing: only a list shows that it is.
    let events = listed_anew(Api::all(client.clone()), config.clone(), length * LIST_AFTER, is_refused);
    told(events, health.clone(), Watch::ClusterConnections, Some(refusal)).reflect(writer)
}

fn kept<K>(event: Event<K>, keep: impl Fn(K) -> K) -> Event<K> {
    match event {
        Event::Apply(object) => Event::Apply(keep(object)),
        Event::InitApply(object) => Event::InitApply(keep(object)),
        event @ (Event::Delete(_) | Event::Init | Event::InitDone) => event,
    }
}

/// Repeats a watch that begins with a list and ends `length` after that list, or after an error that `ends_it`.
///
/// The first list is streamed if the API server can (`WatchList`, on by default from Kubernetes 1.34): that costs it
/// less than pages, and only one object at a time is held as text. A streamed list may be stale, from a cache of the
/// API server, as any watch may. Later lists are not streamed, as they must find what a cache has lost.
fn listed_anew<K>(
    api: Api<K>,
    config: watcher::Config,
    length: Duration,
    ends_it: fn(&watcher::Error) -> bool,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let mut is_first = true;
    let begin = move || {
        let is_streamed = std::mem::replace(&mut is_first, false);
        let config = if is_streamed { config.clone().streaming_lists() } else { config.clone() };
        let (listed, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (is_listed, has_ended) = (listed.clone(), ended.clone());
        let mut is_listing = is_streamed;
        let events = watcher(api.clone(), config).filter_map(move |event| {
            let event = match event {
                // After any error the next list comes in pages, and reports what keeps it from working.
                Err(error) if is_listing => {
                    tracing::debug!(error = of_watch(&error), "no list as a stream");
                    has_ended.notify_one();
                    None
                }
                Err(error) => {
                    if ends_it(&error) {
                        has_ended.notify_one();
                    }
                    Some(Err(error))
                }
                event @ Ok(_) => Some(event),
            };
            if matches!(event, Some(Ok(Event::InitDone))) {
                is_listing = false;
                is_listed.notify_one();
            }
            ready(event)
        });
        // The time starts after the list, so that a slow list can finish.
        events.take_until(async move {
            let may_take = if is_streamed { STREAM_LIMIT } else { Duration::MAX };
            tokio::select! {
                () = listed.notified() => tokio::select! {
                    () = sleep(length) => {}
                    () = ended.notified() => {}
                },
                () = ended.notified() => {}
                () = sleep(may_take) => {}
            }
        })
    };
    stream::repeat_with(begin).flatten()
}

/// Starts the watch when its turn comes, and reports its state to `health`. A kind with a `refusal` is not needed: that it
/// cannot be read is said there.
fn told<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    health: Arc<Health>,
    watch: Watch,
    refusal: Option<Arc<Refusal>>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static
where
    K: Send + 'static,
{
    let before = health.clone();
    let events = events.backoff(WatchPause).inspect(move |event| match event {
        Ok(Event::InitDone) => {
            if let Some(refusal) = &refusal {
                refusal.is_over();
            }
            health.watch_synced(watch);
        }
        Ok(Event::Init | Event::InitApply(_)) => health.watch_works(watch),
        Ok(Event::Apply(_) | Event::Delete(_)) => health.watch_delivers(watch),
        Err(error) if refusal.as_ref().is_some_and(|refusal| refusal.is_from(error)) => health.watch_synced(watch),
        Err(error) => {
            tracing::warn!(error = of_watch(error), watch = watch.as_str(), "watch failed, trying again");
            // A restart restores no rights, and one deleted namespace must not stop the operator for the others.
            if is_forbidden(error) {
                health.watch_works(watch);
            } else {
                health.watch_fails(watch);
            }
        }
    });
    async move {
        // Otherwise a request could be told that its connection does not exist, while that cache is still empty.
        if let Watch::Requests(place) = watch {
            before.synced(Watch::Connections(place)).await;
            before.synced(Watch::ClusterConnections).await;
        }
        before.watch_begins(watch);
        events
    }
    .flatten_stream()
}
