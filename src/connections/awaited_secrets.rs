//! Polls the Secrets that requests wait for, so that a Secret that was created, corrected or labelled is used within a
//! moment. There is no watch on Secrets, as it would read all. Does I/O, within a budget.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use crate::connections::secrets::Secrets;
use crate::kubernetes::lease::leadership::Leadership;

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// The most Secrets read per round, in all and of one namespace: further ones take later rounds, and do not delay those
/// of other namespaces.
const MOST: usize = 16;
const MOST_OF_ONE: usize = 2;
/// The most Secrets read at once.
const AT_ONCE: usize = 4;

/// A namespace, and the name of a Secret in it.
type Named = (String, String);

/// Polls until `shutdown`, while this process leads.
pub async fn look_at_awaited(secrets: Arc<Secrets>, leadership: Arc<Leadership>, shutdown: CancellationToken) {
    let mut turns = Turns::new();
    while tokio::time::timeout(PAUSE, shutdown.cancelled()).await.is_err() {
        if leadership.leads() {
            stream::iter(turns.next(secrets.awaited())).for_each_concurrent(AT_ONCE, |key| look(&secrets, key)).await;
        }
    }
}

async fn look(secrets: &Secrets, (namespace, name): Named) {
    if let Err(error) = secrets.look_again(&namespace, &name).await {
        tracing::debug!(%error, secret = name, namespace, "awaited secret not read");
    }
}

/// Picks the Secrets of each round.
struct Turns<K> {
    /// The round in which each awaited Secret was last read.
    had: HashMap<(String, K), u64>,
    looks: u64,
}

impl<K: Clone + Eq + Hash> Turns<K> {
    fn new() -> Self {
        Self { had: HashMap::new(), looks: 0 }
    }

    /// The least recently read of `awaited`, by namespace and key, within the limits of a round.
    fn next(&mut self, awaited: Vec<(String, K)>) -> Vec<(String, K)> {
        self.looks += 1;
        let had = std::mem::take(&mut self.had);
        self.had = awaited.into_iter().map(|key| (key.clone(), had.get(&key).copied().unwrap_or_default())).collect();
        let mut waiting: Vec<_> = self.had.iter().map(|(key, had)| (*had, key.clone())).collect();
        waiting.sort_by_key(|(had, _)| *had);
        let mut of_namespaces: HashMap<String, usize> = HashMap::new();
        let has_room = |(_, (namespace, _)): &(u64, (String, K))| {
            let of_it = of_namespaces.entry(namespace.clone()).or_default();
            *of_it += 1;
            *of_it <= MOST_OF_ONE
        };
        let next: Vec<_> = waiting.into_iter().filter(has_room).take(MOST).map(|(_, key)| key).collect();
        for key in &next {
            self.had.insert(key.clone(), self.looks);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_has_its_turn_and_those_of_one_namespace_delay_no_others() {
        let of = |namespace: &str, count: usize| (0..count).map(|n| (namespace.to_owned(), n)).collect::<Vec<_>>();
        let awaited = [of("many", 100), of("few", 2)].concat();
        let mut turns = Turns::new();
        let mut seen = HashSet::new();
        for _ in 0..50 {
            let next = turns.next(awaited.clone());
            assert_eq!(next.iter().filter(|(namespace, _)| namespace == "few").count(), 2, "each time");
            assert_eq!(next.len(), 4);
            seen.extend(next);
        }
        assert_eq!(seen.len(), 102);
        assert_eq!(turns.next(vec![]), [] as [(String, usize); 0]);
        assert!(turns.had.is_empty());
    }

    #[test]
    fn a_look_has_a_limit() {
        let mut turns = Turns::new();
        let awaited: Vec<_> = (0..100).map(|n| (format!("ns-{n}"), ())).collect();
        let seen: HashSet<_> = (0..7).flat_map(|_| turns.next(awaited.clone())).collect();
        assert_eq!((turns.next(awaited).len(), seen.len()), (MOST, 100));
    }
}
