//! Tells a quiet watch from a dead one: lists the objects and compares them with the cache. Does I/O.
//!
//! Bookmarks are no proof: an API server may send none while nothing happens, and one that sends them may have lost
//! events. The start of an answer is none either: a proxy can accept a watch and pass nothing on.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hash};
use std::time::Duration;

use kube::api::{ListMeta, ListParams, ObjectMeta, Request};
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::Deserialize;

use crate::health::{Health, Watch};
use crate::kubernetes::calls::{ApiError, bounded};
use crate::kubernetes::watch::streams::PAGE;

/// A hash per object of its identity and version: 8 bytes instead of names.
type Versions = HashSet<u64>;

/// A page of a metadata list. Everything but identities is dropped while parsing.
#[derive(Deserialize)]
struct Page {
    metadata: ListMeta,
    items: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    metadata: Identity,
}

#[derive(Deserialize, Hash)]
#[serde(rename_all = "camelCase")]
struct Identity {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

/// For ever, checks each watch of a kind that has been silent for long: whether `cache`, which it fills, has what the
/// API server lists for the selector of `config`. There is a watch of `kind` for each of `places`; each lasts `length`.
pub async fn question<K>(
    (client, places, length): (&Client, &[Option<&str>], Duration),
    health: &Health,
    config: &watcher::Config,
    cache: &Store<K>,
    kind: fn(usize) -> Watch,
) where
    K: Resource<DynamicType = ()> + Clone,
{
    let selected = ListParams { field_selector: config.field_selector.clone(), ..ListParams::default().limit(PAGE) };
    loop {
        tokio::time::sleep(length / 2).await;
        for (number, place) in places.iter().copied().enumerate() {
            let watch = kind(number);
            if health.is_silent(watch) {
                let all = Request::new(K::url_path(&(), place));
                let listed = list(client, &all, selected.clone()).await;
                judge(health, watch, listed, || cached(cache, place));
            }
        }
    }
}

fn judge(health: &Health, watch: Watch, listed: Result<Versions, ApiError>, cached: impl FnOnce() -> Versions) {
    match listed {
        Err(error) => tracing::warn!(%error, watch = watch.as_str(), "silent watch not compared with a list"),
        // An event came meanwhile, so that the list may be older than the cache.
        Ok(_) if !health.is_silent(watch) => {}
        Ok(listed) if listed == cached() => health.watch_in_step(watch),
        Ok(_) => {
            tracing::warn!(watch = watch.as_str(), "watch has not delivered what a list has");
            health.watch_owes(watch);
        }
    }
}

async fn list(client: &Client, all: &Request, mut params: ListParams) -> Result<Versions, ApiError> {
    let mut versions = Versions::new();
    loop {
        let request = all.list_metadata(&params).map_err(kube::Error::BuildRequest);
        let page = async { client.request::<Page>(request?).await };
        let page = bounded("list what a silent watch should have delivered", page).await?;
        versions.extend(page.items.iter().map(|object| hash(&object.metadata)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(versions),
        }
    }
}

fn cached<K: Resource<DynamicType = ()> + Clone>(cache: &Store<K>, place: Option<&str>) -> Versions {
    let all = cache.state();
    let here =
        all.iter().map(|object| object.meta()).filter(|meta| place.is_none() || meta.namespace.as_deref() == place);
    here.map(version).collect()
}

fn version(meta: &ObjectMeta) -> u64 {
    hash(&Identity {
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
    })
}

fn hash(identity: &Identity) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(identity)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use tokio::time::advance;

    use super::*;

    const LENGTH: Duration = Duration::from_mins(1);
    const WATCH: Watch = Watch::Requests(0);

    fn object(namespace: &str, name: &str, resource_version: &str) -> ConfigMap {
        let some = |text: &str| Some(text.to_owned());
        let mut object = ConfigMap::default();
        (object.metadata.namespace, object.metadata.name) = (some(namespace), some(name));
        (object.metadata.uid, object.metadata.resource_version) = (some("uid-1"), some(resource_version));
        object
    }

    fn versions(objects: &[ConfigMap]) -> Versions {
        objects.iter().map(|object| version(&object.metadata)).collect()
    }

    /// For a watch that has been silent for long enough to be checked.
    async fn silent() -> Health {
        let health = Health::new(1, LENGTH);
        health.watch_synced(WATCH);
        advance(LENGTH * 2).await;
        assert!(health.is_silent(WATCH));
        health
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_is_live_for_as_long_as_a_list_has_nothing_else_than_it() {
        let health = silent().await;
        let same = || versions(&[object("a", "x", "1")]);
        for _ in 0..100 {
            judge(&health, WATCH, Ok(same()), same);
            assert!(!health.is_silent(WATCH));
            advance(LENGTH * 2).await;
            assert!(health.is_live());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_does_not_deliver_what_a_list_has_is_dead() {
        let known = [object("a", "x", "1")];
        let [changed, gone, added] =
            [vec![object("a", "x", "2")], vec![], vec![object("a", "x", "1"), object("a", "y", "2")]];
        for listed in [changed, gone, added] {
            let health = silent().await;
            judge(&health, WATCH, Ok(versions(&listed)), || versions(&known));
            assert!(health.is_live(), "the event may be on its way");
            advance(LENGTH * 3).await;
            assert!(!health.is_live(), "{listed:?}");
            // A change may have been undone unseen.
            judge(&health, WATCH, Ok(versions(&known)), || versions(&known));
            assert!(!health.is_live(), "{listed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_an_event_overtakes_says_nothing() {
        let health = silent().await;
        health.watch_delivers(WATCH);
        judge(&health, WATCH, Ok(versions(&[object("a", "x", "1")])), || versions(&[object("a", "x", "2")]));
        advance(LENGTH * 4).await;
        judge(&health, WATCH, Ok(Versions::new()), Versions::new);
        advance(LENGTH).await;
        assert!(health.is_live(), "nothing is owed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_fails_proves_nothing() {
        let health = silent().await;
        judge(&health, WATCH, Err(ApiError::TimedOut { call: "list" }), Versions::new);
        assert!(health.is_silent(WATCH));
        advance(LENGTH * 3).await;
        assert!(!health.is_live());
    }

    #[test]
    fn a_place_is_compared_with_what_the_cache_has_of_it() {
        let (cache, mut writer) = reflector::store();
        let objects = [object("a", "x", "1"), object("b", "x", "2")];
        writer.apply_watcher_event(&Event::Init);
        for object in &objects {
            writer.apply_watcher_event(&Event::InitApply(object.clone()));
        }
        writer.apply_watcher_event(&Event::InitDone);
        assert_eq!(cached(&cache, Some("b")), versions(&objects[1..]));
        assert_eq!(cached(&cache, Some("c")), Versions::new());
        assert_eq!(cached(&cache, None), versions(&objects));
    }
}
