//! Caches the credentials in Secrets for seconds. No I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::connections::secret::Stored;
use crate::connections::sql_secret::SqlSecret;

/// How long an access key is cached: enough for a burst, and short enough to notice a rotated key at once.
const KEPT: Duration = Duration::from_secs(5);

/// How long a missing access key is cached: long enough that thousands of requests waiting for one Secret share one
/// read, and short enough that none waits for a Secret that has come.
pub const MISSING: Duration = Duration::from_secs(1);

/// How long the version of a Secret is remembered, to detect a change.
const REMEMBERED: Duration = Duration::from_mins(2);

/// The most cached access keys, each of up to 10 KB.
const MOST: usize = 500;

/// Access keys, or why there is none, by namespace and name of the Secret.
#[derive(Default)]
pub struct Cache {
    kept: Mutex<HashMap<Named, Kept>>,
}

/// A namespace, and the name of a Secret in it.
pub type Named = (String, String);

struct Kept {
    since: Instant,
    version: Version,
    /// `None` after it was forgotten.
    read: Option<Result<Held, String>>,
}

/// What a Secret holds, for each kind of connection that could use it: or why it holds no such thing.
#[derive(Clone, Debug)]
pub struct Held {
    /// The access key of a cloud account.
    pub access_key: Result<Stored, String>,
    /// The login of a database.
    pub sql: Result<SqlSecret, String>,
}

impl Held {
    /// Parses the Secret `name` as the API server sent it.
    pub fn read(name: &str, body: &[u8]) -> Self {
        Self { access_key: Stored::read(name, body), sql: SqlSecret::read(name, body) }
    }

    /// Whether it may be used by any connection.
    fn is_usable(&self) -> bool {
        self.access_key.is_ok()
            || self.sql.as_ref().is_ok_and(|sql| sql.password.is_ok() || !sql.certificates.is_empty())
    }
}

/// The version of a Secret that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    Of(Identity),
    Missing,
    Refused,
}

/// Identifies one version of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// The version of a Secret and the result of reading it.
pub type Read = (Version, Result<Held, String>);

impl Kept {
    fn is_fresh(&self) -> bool {
        let is_usable = |read: &Result<Held, String>| read.as_ref().is_ok_and(Held::is_usable);
        let kept = self.read.as_ref().map(|read| if is_usable(read) { KEPT } else { MISSING });
        kept.is_some_and(|kept| self.since.elapsed() < kept)
    }
}

impl Cache {
    /// The cached result, unless it is too old.
    pub fn get(&self, key: &Named) -> Option<Result<Held, String>> {
        self.kept().get(key).filter(|kept| kept.is_fresh()).and_then(|kept| kept.read.clone())
    }

    /// Whether the Secret was read less than `time` ago.
    pub fn read_within(&self, key: &Named, time: Duration) -> bool {
        self.kept().get(key).is_some_and(|kept| kept.read.is_some() && kept.since.elapsed() < time)
    }

    /// Caches a read, and returns whether the Secret has changed since the previous one. A full cache drops its expired
    /// entries, or else the oldest.
    pub fn keep(&self, key: Named, (version, read): Read) -> bool {
        let mut kept = self.kept();
        if kept.len() >= MOST && !kept.contains_key(&key) {
            kept.retain(|_, kept| kept.is_fresh());
        }
        if kept.len() >= MOST
            && !kept.contains_key(&key)
            && let Some(oldest) = kept.iter().min_by_key(|(_, kept)| kept.since).map(|(key, _)| key.clone())
        {
            kept.remove(&oldest);
        }
        let now = Kept { since: Instant::now(), version, read: Some(read) };
        match kept.entry(key) {
            Entry::Occupied(mut place) => {
                let before = place.insert(now);
                before.version != place.get().version
            }
            Entry::Vacant(place) => {
                place.insert(now);
                false
            }
        }
    }

    /// Forgets the access key, as the gateway refused it.
    pub fn forget(&self, namespace: &str, name: &str) {
        if let Some(kept) = self.kept().get_mut(&(namespace.to_owned(), name.to_owned())) {
            kept.read = None;
        }
    }

    /// Drops expired entries, so that no unused key stays in memory.
    pub fn prune(&self) {
        let mut all = self.kept();
        all.retain(|_, kept| kept.since.elapsed() < REMEMBERED);
        all.values_mut().filter(|kept| !kept.is_fresh()).for_each(|kept| kept.read = None);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Named, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version of the Secret in `body`.
pub fn identity(body: &[u8]) -> Identity {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Identified {
        metadata: Identity,
    }
    serde_json::from_slice::<Identified>(body).unwrap_or_default().metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Held {
        let body = r#"{"metadata": {"labels": {"sessionkill.dev/credentials": "true"}},
            "data": {"accessKeyID": "aWQ=", "accessKeySecret": "cw=="}}"#;
        Held::read("ak", body.as_bytes())
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_the_newest_stays() {
        let cache = Cache::default();
        let named = |number: usize| (format!("ns-{number}"), "ak".to_owned());
        for number in 0..2 * MOST {
            let read = if number % 2 == 0 { Ok(stored()) } else { Err("missing".to_owned()) };
            cache.keep(named(number), (Version::Missing, read));
            assert!(cache.kept().len() <= MOST);
        }
        assert!(cache.get(&named(2 * MOST - 1)).unwrap().is_err() && cache.get(&named(2 * MOST - 2)).unwrap().is_ok());
        assert!(cache.get(&named(0)).is_none());
    }

    #[test]
    fn that_there_is_none_is_remembered_for_a_shorter_time() {
        let cache = Cache::default();
        let of = |name: &str| ("ns".to_owned(), name.to_owned());
        cache.keep(of("there"), (Version::Missing, Ok(stored())));
        cache.keep(of("missing"), (Version::Missing, Err("missing".to_owned())));
        assert!(cache.get(&of("missing")).unwrap().is_err());
        let ages = |age: Duration| cache.kept().values_mut().for_each(|kept| kept.since -= age);
        ages(MISSING);
        assert!(cache.get(&of("missing")).is_none() && cache.get(&of("there")).is_some());
        cache.prune();
        let holds_key = |name| cache.kept().get(&of(name)).is_some_and(|kept| kept.read.is_some());
        assert!(holds_key("there") && !holds_key("missing"));
        ages(KEPT);
        assert!(cache.get(&of("there")).is_none());
        cache.prune();
        assert!(!holds_key("there"), "no unused key stays in memory");
        ages(REMEMBERED);
        cache.prune();
        assert!(cache.kept().is_empty());
    }

    #[test]
    fn a_secret_that_has_come_or_changed_is_noticed_by_whoever_reads_it_next() {
        let cache = Cache::default();
        let key = || ("ns".to_owned(), "ak".to_owned());
        let version = |number: u32| {
            let body = format!(r#"{{"metadata": {{"uid": "u", "resourceVersion": "{number}"}}, "data": {{}}}}"#);
            Version::Of(identity(body.as_bytes()))
        };
        assert!(!cache.keep(key(), (Version::Missing, Err("missing".to_owned()))), "nobody has waited for it yet");
        assert!(!cache.keep(key(), (Version::Missing, Err("missing".to_owned()))));
        assert!(cache.keep(key(), (version(1), Err("not labelled".to_owned()))));
        assert!(cache.keep(key(), (version(2), Ok(stored()))));
        cache.forget("ns", "ak");
        assert!(cache.get(&key()).is_none() && !cache.read_within(&key(), KEPT), "the gateway refused it");
        assert!(!cache.keep(key(), (version(2), Ok(stored()))), "as it was");
        cache.forget("ns", "ak");
        cache.prune();
        assert!(cache.keep(key(), (version(3), Ok(stored()))));
        assert!(cache.keep(key(), (Version::Refused, Err("forbidden".to_owned()))));
    }
}
