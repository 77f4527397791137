//! Lets the watches of several namespaces share one cache. No I/O.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt as _};

/// Translates the events of a watch of `namespace` for a `cache` that also holds other namespaces.
///
/// The list at the start of a watch would replace the whole cache, including what the other watches delivered. So it
/// becomes an `Apply` for each listed object, then a `Delete` for each other object that the cache has of this
/// namespace. Apply the output to `cache` one event at a time.
pub fn beside_others<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    namespace: String,
    cache: Store<K>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut relist = Relist { namespace, cache, unseen: HashMap::new() };
    events.flat_map(move |event| match event {
        Ok(event) => stream::iter(relist.translate(event)).map(Ok).left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    })
}

/// An empty list, to put before the watches: the controller starts only after its cache has received a list, and
/// [`beside_others`] passes none on.
pub fn empty_list<K>() -> [watcher::Result<Event<K>>; 2] {
    [Ok(Event::Init), Ok(Event::InitDone)]
}

/// A relist in progress.
struct Relist<K: Resource<DynamicType = ()> + Clone + 'static> {
    namespace: String,
    cache: Store<K>,
    /// Cached objects of this namespace that the relist has not shown yet.
    unseen: HashMap<ObjectRef<K>, Arc<K>>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Relist<K> {
    fn translate(&mut self, event: Event<K>) -> Vec<Event<K>> {
        match event {
            Event::Init => {
                let known = self.cache.state().into_iter();
                let own = known.filter(|object| object.namespace().as_ref() == Some(&self.namespace));
                self.unseen = own.map(|object| (ObjectRef::from_obj(object.as_ref()), object)).collect();
                vec![]
            }
            Event::InitApply(object) => {
                self.unseen.remove(&ObjectRef::from_obj(&object));
                vec![Event::Apply(object)]
            }
            Event::InitDone => self.unseen.drain().map(|(_, gone)| Event::Delete(gone.as_ref().clone())).collect(),
            event @ (Event::Apply(_) | Event::Delete(_)) => vec![event],
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::channel::mpsc;
    use futures::stream::{BoxStream, select_all};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{WatchStreamExt as _, reflector};

    use super::*;

    fn object(namespace: &str, name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        (object.metadata.namespace, object.metadata.name) = (Some(namespace.into()), Some(name.into()));
        object
    }

    /// Two watches of one cache, with the channels that feed them events.
    struct Watches {
        a: mpsc::UnboundedSender<watcher::Result<Event<ConfigMap>>>,
        b: mpsc::UnboundedSender<watcher::Result<Event<ConfigMap>>>,
        cache: Store<ConfigMap>,
        filled: BoxStream<'static, watcher::Result<Event<ConfigMap>>>,
    }

    impl Watches {
        fn new() -> Self {
            let (cache, writer) = reflector::store();
            let ((a, from_a), (b, from_b)) = (mpsc::unbounded(), mpsc::unbounded());
            let both = [(from_a, "a"), (from_b, "b")];
            let both = both.map(|(events, name)| beside_others(events, name.into(), cache.clone()).boxed());
            let both = stream::iter(empty_list()).chain(select_all(both));
            Self { a, b, filled: both.reflect(writer).boxed(), cache }
        }

        /// Feeds a list of these objects to `end`, as at the start of a watch.
        fn list(end: &mpsc::UnboundedSender<watcher::Result<Event<ConfigMap>>>, objects: &[ConfigMap]) {
            end.unbounded_send(Ok(Event::Init)).unwrap();
            for object in objects {
                end.unbounded_send(Ok(Event::InitApply(object.clone()))).unwrap();
            }
            end.unbounded_send(Ok(Event::InitDone)).unwrap();
        }

        /// Applies all pending events, and returns what the cache then holds.
        fn cached(&mut self) -> Vec<String> {
            while let Some(Some(event)) = self.filled.next().now_or_never() {
                event.unwrap();
            }
            let name = |object: Arc<ConfigMap>| format!("{}/{}", object.namespace().unwrap(), object.name_any());
            let mut names: Vec<_> = self.cache.state().into_iter().map(name).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_list_of_one_namespace_leaves_the_others_as_they_are() {
        let mut watches = Watches::new();
        Watches::list(&watches.a, &[object("a", "x"), object("a", "y")]);
        Watches::list(&watches.b, &[object("b", "x")]);
        assert_eq!(watches.cached(), ["a/x", "a/y", "b/x"]);
        // As after an expired resource version: no event shows what was deleted meanwhile.
        Watches::list(&watches.a, &[object("a", "y"), object("a", "z")]);
        assert_eq!(watches.cached(), ["a/y", "a/z", "b/x"]);
        Watches::list(&watches.b, &[]);
        assert_eq!(watches.cached(), ["a/y", "a/z"]);
    }

    #[test]
    fn the_controller_may_begin_before_any_namespace_is_listed() {
        let mut watches = Watches::new();
        assert!(watches.cache.wait_until_ready().now_or_never().is_none());
        assert_eq!(watches.cached(), [""; 0]);
        assert!(watches.cache.wait_until_ready().now_or_never().is_some());
    }

    #[test]
    fn single_events_pass_as_they_are() {
        let mut watches = Watches::new();
        Watches::list(&watches.a, &[object("a", "x")]);
        watches.b.unbounded_send(Ok(Event::Apply(object("b", "x")))).unwrap();
        assert_eq!(watches.cached(), ["a/x", "b/x"]);
        watches.a.unbounded_send(Ok(Event::Delete(object("a", "x")))).unwrap();
        assert_eq!(watches.cached(), ["b/x"]);
    }

    #[test]
    fn failures_are_passed_on() {
        let (_, writer) = reflector::store::<ConfigMap>();
        let failing = stream::iter([Err(watcher::Error::NoResourceVersion)]);
        let mut events = beside_others(failing, "a".into(), writer.as_reader()).boxed();
        let first = events.next().now_or_never();
        assert!(matches!(first, Some(Some(Err(watcher::Error::NoResourceVersion)))), "{first:?}");
    }
}
