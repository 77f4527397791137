//! Background work that no kill waits for. Each namespace has its own FIFO and a limit, and namespaces take turns: a
//! chore that hangs in one of them, at a dead gateway or a slow webhook, delays no other namespace. No I/O of its own.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The most chores that may wait or run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Running at once.
    pub at_once: usize,
    /// Running at once for one namespace.
    pub at_once_of_one: usize,
    /// Waiting. Over this limit, a namespace may still queue up to `at_once_of_one`, so that others cannot lock it out.
    pub waiting: usize,
    /// Waiting for one namespace.
    pub waiting_of_one: usize,
}

/// Creates the future only when the chore starts, so that a waiting chore stays small.
type Chore = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// Chores by key, each key at most once. Cheap to clone.
#[derive(Clone)]
pub struct Chores<K> {
    lines: Arc<Mutex<Lines<K>>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl<K: Clone + Eq + Hash + Send + 'static> Chores<K> {
    /// An empty set. Chores run as tasks of `tasks`; none starts after `shutdown`.
    pub fn new(limits: Limits, tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self { lines: Arc::new(Mutex::new(Lines::new(limits))), tasks, shutdown }
    }

    /// Queues `chore` for `namespace`, unless one with the same key waits or runs. Returns false if too many wait: the
    /// caller must then find the work again later.
    pub fn add<F>(&self, namespace: &str, key: K, chore: impl FnOnce() -> F + Send + 'static) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let added = self.lines().add(namespace, key, Box::new(move || Box::pin(chore())));
        self.start();
        added
    }

    /// Starts every chore that may start.
    fn start(&self) {
        while !self.shutdown.is_cancelled() {
            let Some((namespace, key, chore)) = self.lines().next() else { return };
            let under_way = UnderWay { chores: self.clone(), namespace, key };
            self.tasks.spawn(async move {
                chore().await;
                let chores = under_way.chores.clone();
                drop(under_way);
                chores.start();
            });
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines<K>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees the slot on drop, even if the task panics or is aborted.
struct UnderWay<K: Clone + Eq + Hash + Send + 'static> {
    chores: Chores<K>,
    namespace: String,
    key: K,
}

impl<K: Clone + Eq + Hash + Send + 'static> Drop for UnderWay<K> {
    fn drop(&mut self) {
        self.chores.lines().done(&self.namespace, &self.key);
    }
}

struct Lines<K> {
    limits: Limits,
    of_namespaces: HashMap<String, Line<K>>,
    /// Namespaces with waiting chores, the next one first.
    turns: VecDeque<String>,
    /// The keys of waiting and running chores.
    keys: HashSet<K>,
    under_way: usize,
}

struct Line<K> {
    waiting: VecDeque<(K, Chore)>,
    under_way: usize,
}

impl<K: Clone + Eq + Hash> Lines<K> {
    fn new(limits: Limits) -> Self {
        let (of_namespaces, turns, keys) = (HashMap::new(), VecDeque::new(), HashSet::new());
        Self { limits, of_namespaces, turns, keys, under_way: 0 }
    }

    fn add(&mut self, namespace: &str, key: K, chore: Chore) -> bool {
        if self.keys.contains(&key) {
            return true;
        }
        let waiting = self.of_namespaces.get(namespace).map_or(0, |line| line.waiting.len());
        let in_all = self.keys.len() - self.under_way;
        let is_kept_out = in_all >= self.limits.waiting && waiting >= self.limits.at_once_of_one;
        if waiting >= self.limits.waiting_of_one || is_kept_out {
            return false;
        }
        if waiting == 0 {
            self.turns.push_back(namespace.to_owned());
        }
        self.keys.insert(key.clone());
        let none = || Line { waiting: VecDeque::new(), under_way: 0 };
        self.of_namespaces.entry(namespace.to_owned()).or_insert_with(none).waiting.push_back((key, chore));
        true
    }

    /// Takes out the next chore that may start, if any.
    fn next(&mut self) -> Option<(String, K, Chore)> {
        if self.under_way >= self.limits.at_once {
            return None;
        }
        let may_begin = |line: &Line<K>| line.under_way < self.limits.at_once_of_one;
        let turn = self.turns.iter().position(|namespace| self.of_namespaces.get(namespace).is_some_and(may_begin))?;
        let namespace = self.turns.remove(turn)?;
        let line = self.of_namespaces.get_mut(&namespace)?;
        let (key, chore) = line.waiting.pop_front()?;
        line.under_way += 1;
        self.under_way += 1;
        if !line.waiting.is_empty() {
            self.turns.push_back(namespace.clone());
        }
        Some((namespace, key, chore))
    }

    fn done(&mut self, namespace: &str, key: &K) {
        self.keys.remove(key);
        self.under_way -= 1;
        let Some(line) = self.of_namespaces.get_mut(namespace) else { return };
        line.under_way -= 1;
        if line.under_way == 0 && line.waiting.is_empty() {
            self.of_namespaces.remove(namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    const LIMITS: Limits = Limits { at_once: 5, at_once_of_one: 2, waiting: 12, waiting_of_one: 10 };

    /// Chores that report their start, and run until they are allowed to end.
    struct Scene {
        chores: Chores<&'static str>,
        begun: (mpsc::UnboundedSender<&'static str>, mpsc::UnboundedReceiver<&'static str>),
        may_end: Arc<Semaphore>,
        shutdown: CancellationToken,
    }

    impl Scene {
        fn new() -> Self {
            let (shutdown, may_end) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
            let chores = Chores::new(LIMITS, TaskTracker::new(), shutdown.clone());
            Self { chores, begun: mpsc::unbounded_channel(), may_end, shutdown }
        }

        /// The first letter of `key` is its namespace.
        fn add(&self, key: &'static str) -> bool {
            let (begun, may_end) = (self.begun.0.clone(), self.may_end.clone());
            self.chores.add(&key[..1], key, move || async move {
                begun.send(key).unwrap();
                may_end.acquire().await.unwrap().forget();
            })
        }

        /// The chores started since the last call, once no more can start.
        async fn begun(&mut self) -> Vec<&'static str> {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            std::iter::from_fn(|| self.begun.1.try_recv().ok()).collect()
        }
    }

    #[tokio::test]
    async fn namespaces_take_turns_and_none_has_more_than_its_share() {
        let mut scene = Scene::new();
        for key in ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "c1", "c2"] {
            assert!(scene.add(key));
        }
        assert_eq!(scene.begun().await, ["a1", "a2", "b1", "b2", "c1"], "what hangs in one holds up no other");
        scene.may_end.add_permits(1);
        assert_eq!(scene.begun().await, ["a3"], "its own line had waited longest");
        scene.may_end.add_permits(4);
        assert_eq!(scene.begun().await.len(), 3, "all that were left");
        scene.may_end.add_permits(4);
        assert_eq!(scene.begun().await, [""; 0]);
        assert!(
            scene.chores.lines().of_namespaces.is_empty() && scene.chores.lines().keys.is_empty(),
            "nothing is kept"
        );
        assert!(scene.add("a1"), "and it can come again");
        assert_eq!(scene.begun().await, ["a1"]);
    }

    #[tokio::test]
    async fn what_waits_is_there_once_and_bounded() {
        let scene = Scene::new();
        assert!(scene.add("a1") && scene.add("a1"));
        assert_eq!(scene.chores.lines().keys.len(), 1);
        for key in ["a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "aa", "ab", "ac"] {
            assert!(scene.add(key), "{key}");
        }
        assert!(!scene.add("ad"), "ten of one wait");
        assert!(scene.add("b1") && scene.add("b2") && scene.add("b3") && scene.add("b4"));
        assert!(!scene.add("b5"), "twelve of all wait");
        // A namespace may still queue `at_once_of_one` chores.
        assert!(scene.add("c1") && scene.add("c2") && scene.add("c3") && !scene.add("c4"), "others' lines are theirs");
    }

    #[tokio::test]
    async fn after_a_shutdown_none_begins() {
        let mut scene = Scene::new();
        for key in ["a1", "a2", "a3"] {
            scene.add(key);
        }
        assert_eq!(scene.begun().await, ["a1", "a2"]);
        scene.shutdown.cancel();
        scene.may_end.add_permits(2);
        assert_eq!(scene.begun().await, [""; 0]);
    }

    #[tokio::test]
    async fn one_that_ends_in_a_panic_gives_its_turn_back() {
        let scene = Scene::new();
        for key in ["a1", "a2"] {
            scene.chores.add("a", key, || async { panic!("of the test") });
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.chores.lines().under_way, 0);
    }
}
