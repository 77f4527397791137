//! The access keys that renew themselves: one for each identity that somebody needs, and none before. Does no I/O itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sessionkill_api::WaitReason;
use tokio::time::timeout;

use super::entry::{Entry, Look};
use super::errors::Unavailable;
use super::issue::{Issue, Issued, Watch};
use super::source::Identity;
use crate::access_key::AccessKey;

/// The most identities whose keys are kept. A further one takes the place of the least recently needed one of the namespace
/// that has most of them.
pub const MOST: usize = 1024;

/// The longest that a renewal may take in all: a token, two calls of STS with their turns, and each of them once more.
const RENEWAL: Duration = Duration::from_secs(45);

/// The longest that somebody waits for a key.
const PATIENCE: Duration = Duration::from_mins(1);

/// A key that nobody needed for this long is not kept after its end, and is not told of.
const IDLE: Duration = Duration::from_mins(5);

/// The keys. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    issuer: Arc<dyn Issue>,
    watch: Arc<dyn Watch>,
    entries: Arc<Mutex<HashMap<Identity, Arc<Entry>>>>,
}

impl Keys {
    /// Keys that `issuer` issues; `watch` is told what becomes of renewals.
    #[must_use]
    pub fn new(issuer: Arc<dyn Issue>, watch: Arc<dyn Watch>) -> Self {
        Self { issuer, watch, entries: Arc::default() }
    }

    /// An access key of `identity` that outlives a call that may take as long as `call`, and a minute more. At once if one is
    /// held: then it is renewed in the background, once a quarter of its life is left, and kept while that fails. Otherwise
    /// waits for a renewal, which is one at a time for each identity and goes on if nobody waits any more.
    ///
    /// The key of a Secret without a role is returned as it is.
    pub async fn access_key(&self, identity: &Identity, call: Duration) -> Result<AccessKey, Unavailable> {
        if let Some(key) = identity.own_key() {
            return Ok(key.clone());
        }
        let entry = self.entry(identity)?;
        let waited = async {
            loop {
                // Before the look, so that a renewal that ends right after it is not missed.
                let renewed = entry.renewed.notified();
                match entry.look(call) {
                    Look::Key(key) => return Ok(key),
                    Look::KeyAndRenew(key) => {
                        self.renew(identity, &entry, call);
                        return Ok(key);
                    }
                    Look::Renew => self.renew(identity, &entry, call),
                    Look::Wait => {}
                    Look::Fail(why) => return Err(why),
                }
                renewed.await;
            }
        };
        timeout(PATIENCE, waited).await.unwrap_or_else(|_| Err(too_slow(identity, PATIENCE)))
    }

    /// Forgets `key`, as a call that it signed was refused as if it had expired: see
    /// [`may_mean_expired`](crate::alibaba::error_codes::may_mean_expired). Returns whether a new attempt is worth while now:
    /// it then gets another key. Each key is forgotten once, so that many refusals of one key lead to one renewal, and a new
    /// key that is refused at once leads to a pause.
    #[must_use]
    pub fn rejected(&self, identity: &Identity, key: &AccessKey) -> bool {
        let entry = self.entries().get(identity).cloned();
        entry.is_some_and(|entry| entry.rejected(key))
    }

    /// What is left of the key that expires first, of those that somebody needed within 5 min; `None` if there is none.
    #[must_use]
    pub fn least_left(&self) -> Option<Duration> {
        let entries = self.entries();
        let needed = entries.values().filter(|entry| entry.needed().elapsed() < IDLE);
        needed.filter_map(|entry| entry.left()).min()
    }

    /// Drops expired keys that nobody needs any more, so that they do not stay in memory.
    pub fn prune(&self) {
        self.entries().retain(|_, entry| !entry.is_spent() || entry.needed().elapsed() < IDLE);
    }

    /// The number of identities whose keys are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether no keys are kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Renews the key of `identity` in a task of its own: whoever needs it may give up, and others wait for the same.
    fn renew(&self, identity: &Identity, entry: &Arc<Entry>, call: Duration) {
        let (issuer, watch, identity) = (self.issuer.clone(), self.watch.clone(), identity.clone());
        let renewal = Renewal { entry: entry.clone(), is_over: false };
        tokio::spawn(async move {
            let answer = timeout(RENEWAL, issuer.issue(&identity)).await;
            let answer = answer.unwrap_or_else(|_| Err(too_slow(&identity, RENEWAL)));
            watch.renewed(&identity, &renewal.settle(answer, call));
        });
    }

    /// The entry of `identity`, made if there is none.
    fn entry(&self, identity: &Identity) -> Result<Arc<Entry>, Unavailable> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(identity) {
            return Ok(entry.clone());
        }
        if entries.len() >= MOST {
            let least = dispensable(&entries).ok_or_else(|| {
                let message = format!("access keys of {MOST} identities are being renewed at once: trying again");
                Unavailable::for_now(WaitReason::StsUnavailable, message)
            })?;
            entries.remove(&least);
        }
        let entry = Arc::new(Entry::new());
        entries.insert(identity.clone(), entry.clone());
        Ok(entry)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Identity, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The least recently needed identity of the namespace that has most of them, so that no namespace takes the place of
/// others. One that is being renewed stays: otherwise it would be renewed twice at once.
fn dispensable(entries: &HashMap<Identity, Arc<Entry>>) -> Option<Identity> {
    let idle = || entries.iter().filter(|(_, entry)| !entry.is_renewing());
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (identity, _) in idle() {
        *counts.entry(&identity.namespace).or_default() += 1;
    }
    let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let of_it = idle().filter(|(identity, _)| identity.namespace == most);
    of_it.min_by_key(|(_, entry)| entry.needed()).map(|(identity, _)| identity.clone())
}

/// A renewal, which ends even if its task does not: otherwise all would wait for it for ever.
struct Renewal {
    entry: Arc<Entry>,
    is_over: bool,
}

impl Renewal {
    fn settle(mut self, issued: Result<Issued, Unavailable>, call: Duration) -> Result<(), Unavailable> {
        self.is_over = true;
        self.entry.settle(issued, call)
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        if !self.is_over {
            let why = Unavailable::for_now(WaitReason::StsUnavailable, "the renewal of the access key was broken off");
            let _ = self.entry.settle(Err(why), Duration::ZERO);
        }
    }
}

fn too_slow(identity: &Identity, after: Duration) -> Unavailable {
    let message = format!("no access key came from {identity} within {} s: trying again", after.as_secs());
    Unavailable::for_now(WaitReason::StsUnavailable, message)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;
    use futures::future::{BoxFuture, join_all};
    use sessionkill_api::OperatorIdentity;
    use tokio::time::{Instant, advance, sleep};

    use super::super::errors::StsAction;
    use super::super::source::{Base, SourceName, TokenService};
    use super::*;
    use crate::alibaba::Endpoint;

    const CALL: Duration = Duration::from_secs(10);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn identity(namespace: &str, role: &str) -> Identity {
        Identity {
            namespace: namespace.to_owned(),
            base: Base::Operator(OperatorIdentity { role_arn: role.to_owned() }),
            role: None,
            policy: None,
            sts: TokenService { endpoint: Endpoint::sts("cn-hangzhou", false, None).unwrap(), signature_v1: false },
            session_name: "sk".to_owned(),
        }
    }

    fn kill() -> Identity {
        identity("shop", "kill")
    }

    /// Issues keys with these numbers as their IDs, after `slowness`, unless `outage` says why not.
    struct Script {
        lifetime: Mutex<Duration>,
        slowness: Mutex<Duration>,
        outage: Mutex<Option<Unavailable>>,
        asked: AtomicUsize,
        told: Mutex<Vec<bool>>,
    }

    impl Script {
        fn of(lifetime: Duration) -> (Arc<Self>, Keys) {
            let script = Arc::new(Self {
                lifetime: Mutex::new(lifetime),
                slowness: Mutex::default(),
                outage: Mutex::default(),
                asked: AtomicUsize::new(0),
                told: Mutex::default(),
            });
            (script.clone(), Keys::new(script.clone(), script))
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        fn is_down(&self, is_down: bool) {
            let why = Unavailable::for_now(WaitReason::StsUnavailable, "no answer");
            *self.outage.lock().unwrap() = is_down.then_some(why);
        }
    }

    impl Issue for Script {
        fn issue<'a>(&'a self, _: &'a Identity) -> BoxFuture<'a, Result<Issued, Unavailable>> {
            let id = format!("STS.{}", self.asked.fetch_add(1, Ordering::SeqCst) + 1);
            let (since, slowness) = (Instant::now(), *self.slowness.lock().unwrap());
            async move {
                if !slowness.is_zero() {
                    sleep(slowness).await;
                }
                if let Some(why) = self.outage.lock().unwrap().clone() {
                    return Err(why);
                }
                let key = AccessKey { id, secret: "s".into(), security_token: Some("t".into()) };
                Ok(Issued { key, lifetime: *self.lifetime.lock().unwrap(), since })
            }
            .boxed()
        }
    }

    impl Watch for Script {
        fn renewed(&self, identity: &Identity, result: &Result<(), Unavailable>) {
            assert_eq!(identity.source(), SourceName::OperatorIdentity);
            self.told.lock().unwrap().push(result.is_ok());
        }

        fn called(&self, _: StsAction, _: Duration) {}
    }

    /// The ID of the key that a call gets, or the reason why there is none.
    async fn got(keys: &Keys) -> String {
        let got = keys.access_key(&kill(), CALL).await;
        got.map_or_else(|why| why.reason.as_str().to_owned(), |key| key.id)
    }

    /// Lets `seconds` pass, in which somebody needs a key each second.
    async fn used_for(keys: &Keys, seconds: u64) -> Vec<String> {
        let mut all = vec![];
        for _ in 0..seconds {
            all.push(got(keys).await);
            sleep(s(1)).await;
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_issued_before_somebody_needs_it_and_then_once_for_all() {
        let (script, keys) = Script::of(s(3600));
        *script.slowness.lock().unwrap() = s(2);
        sleep(s(60)).await;
        assert_eq!((script.asked(), keys.len(), keys.least_left()), (0, 0, None));
        let all = join_all((0..50).map(|_| got(&keys))).await;
        assert!(all.iter().all(|id| id == "STS.1"), "{all:?}");
        assert_eq!((script.asked(), keys.len()), (1, 1));
        assert!((s(3597)..=s(3598)).contains(&keys.least_left().unwrap()), "from when it was asked for");
        assert_eq!(*script.told.lock().unwrap(), [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_renewed_in_the_background_while_it_is_good_and_once_each_lifetime() {
        let (script, keys) = Script::of(s(3600));
        assert_eq!(got(&keys).await, "STS.1");
        *script.slowness.lock().unwrap() = s(20);
        sleep(s(2600)).await;
        assert_eq!(got(&keys).await, "STS.1", "more than the window is left, with its spread");
        sleep(s(120)).await;
        let started = Instant::now();
        assert_eq!([got(&keys).await, got(&keys).await], ["STS.1"; 2]);
        assert_eq!(started.elapsed(), s(0), "nobody waited");
        sleep(s(21)).await;
        assert_eq!((got(&keys).await.as_str(), script.asked()), ("STS.2", 2), "one has renewed it");
        // Ten hours: a renewal each 45 min or a little less.
        used_for(&keys, 36_000).await;
        assert!((15..=17).contains(&script.asked()), "{}", script.asked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_valid_key_is_kept_while_renewals_fail_and_none_is_used_beyond_its_end() {
        let (script, keys) = Script::of(s(3600));
        assert_eq!(got(&keys).await, "STS.1");
        script.is_down(true);
        let used = used_for(&keys, 3600).await;
        let good = used.iter().take_while(|id| *id == "STS.1").count();
        assert_eq!(good, 3530, "until a call of 10 s and a minute more are left");
        assert!(used[good..].iter().all(|id| id == "CredentialsExpired"), "{:?}", &used[good..]);
        // From 900 s to 990 s before the end, with pauses of 5 s to 60 s.
        assert!((10..=60).contains(&script.asked()), "{}", script.asked());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_two_lifetimes_ends_by_itself() {
        let (script, keys) = Script::of(s(900));
        assert_eq!(got(&keys).await, "STS.1");
        script.is_down(true);
        let used = used_for(&keys, 1800).await;
        assert_eq!(used.last().unwrap(), "CredentialsExpired");
        let asked = script.asked();
        assert!((20..=250).contains(&asked), "{asked}");
        script.is_down(false);
        let used = used_for(&keys, 61).await;
        assert_eq!(*used.last().unwrap(), format!("STS.{}", asked + 1), "within the longest pause");
        assert_eq!(script.asked(), asked + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_had_a_key_is_told_what_failed_and_what_is_definite_is_asked_for_slowly() {
        let (script, keys) = Script::of(s(900));
        script.is_down(true);
        assert_eq!(got(&keys).await, "STSUnavailable");
        let refused = Unavailable::until_changed(WaitReason::RoleNotAssumable, "NoPermission");
        *script.outage.lock().unwrap() = Some(refused);
        sleep(s(11)).await;
        assert_eq!(got(&keys).await, "RoleNotAssumable");
        let asked = script.asked();
        let used = used_for(&keys, 299).await;
        assert!(used.iter().all(|reason| reason == "RoleNotAssumable") && script.asked() == asked);
        script.is_down(false);
        sleep(s(2)).await;
        assert!(got(&keys).await.starts_with("STS."));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_goes_on_when_nobody_waits_any_more_and_is_given_up_when_it_takes_too_long() {
        let (script, keys) = Script::of(s(900));
        *script.slowness.lock().unwrap() = s(30);
        assert!(tokio::time::timeout(s(1), got(&keys)).await.is_err());
        sleep(s(30)).await;
        assert_eq!((got(&keys).await.as_str(), script.asked()), ("STS.1", 1));
        let (script, keys) = Script::of(s(900));
        *script.slowness.lock().unwrap() = s(3600);
        let started = Instant::now();
        assert_eq!(got(&keys).await, "STSUnavailable");
        assert_eq!(started.elapsed().as_secs(), RENEWAL.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_breaks_off_leaves_nobody_waiting() {
        struct Broken;
        impl Issue for Broken {
            fn issue<'a>(&'a self, _: &'a Identity) -> BoxFuture<'a, Result<Issued, Unavailable>> {
                async { panic!("a defect") }.boxed()
            }
        }
        let keys = Keys::new(Arc::new(Broken), Arc::new(()));
        assert_eq!(got(&keys).await, "STSUnavailable");
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_shorter_than_a_call_are_not_asked_for_at_each_call() {
        let (script, keys) = Script::of(s(8));
        let why = keys.access_key(&kill(), CALL).await.unwrap_err();
        assert_eq!(why.reason, WaitReason::CredentialsExpired);
        assert!(why.message.contains("lives for 8 s only, and a call may take 10 s"), "{why}");
        assert_eq!((got(&keys).await.as_str(), script.asked()), ("CredentialsExpired", 1));
        // Shorter calls go on, and each lifetime has one renewal.
        let short = async || keys.access_key(&kill(), s(1)).await.map(|key| key.id);
        assert_eq!(short().await.unwrap(), "STS.1");
        let mut used = vec![];
        for _ in 0..80 {
            used.push(short().await.ok());
            sleep(Duration::from_millis(500)).await;
        }
        assert!(used.iter().filter(|id| id.is_none()).count() <= 25, "{used:?}");
        assert!((5..=9).contains(&script.asked()), "{}", script.asked());
    }

    #[tokio::test(start_paused = true)]
    async fn each_refused_key_is_replaced_once_however_many_calls_it_had_signed() {
        let (script, keys) = Script::of(s(3600));
        let first = keys.access_key(&kill(), CALL).await.unwrap();
        sleep(s(600)).await;
        assert!((0..20).all(|_| keys.rejected(&kill(), &first)), "each call may be made anew");
        let second = keys.access_key(&kill(), CALL).await.unwrap();
        assert!(keys.rejected(&kill(), &first), "there is another key by now");
        assert_eq!((second.id.as_str(), got(&keys).await.as_str(), script.asked()), ("STS.2", "STS.2", 2));
        // It works for hours, and the next one, too.
        for expected in ["STS.3", "STS.4"] {
            sleep(s(600)).await;
            let key = keys.access_key(&kill(), CALL).await.unwrap();
            assert!(keys.rejected(&kill(), &key));
            assert_eq!(got(&keys).await, expected);
        }
        assert!(!keys.rejected(&identity("shop", "other"), &first), "nothing is known of it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_key_that_is_refused_at_once_makes_no_storm() {
        let (script, keys) = Script::of(s(3600));
        let mut attempts = 0;
        let until = Instant::now() + s(600);
        while Instant::now() < until {
            if let Ok(key) = keys.access_key(&kill(), CALL).await {
                attempts += 1;
                let _ = keys.rejected(&kill(), &key);
            } else {
                assert_eq!(got(&keys).await, "CredentialsRejected");
            }
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(attempts, script.asked());
        assert!((10..=60).contains(&attempts), "{attempts} in 10 min");
    }

    #[tokio::test(start_paused = true)]
    async fn no_namespace_takes_the_place_of_others_and_what_nobody_needs_is_dropped() {
        let (script, keys) = Script::of(s(900));
        let few = [identity("few", "a"), identity("few", "b")];
        for identity in &few {
            keys.access_key(identity, CALL).await.unwrap();
        }
        for n in 0..2 * MOST {
            advance(Duration::from_millis(1)).await;
            keys.access_key(&identity("many", &n.to_string()), CALL).await.unwrap();
            assert!(keys.len() <= MOST, "{n}");
        }
        let asked = script.asked();
        for identity in &few {
            keys.access_key(identity, CALL).await.unwrap();
        }
        assert_eq!(script.asked(), asked, "those of the other namespace are still there");
        keys.prune();
        assert_eq!(keys.len(), MOST, "they are valid");
        sleep(s(901)).await;
        assert_eq!(keys.least_left(), None, "nobody needs them");
        keys.prune();
        assert!(keys.is_empty());
    }
}
