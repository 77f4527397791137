//! A round robin over keys. No I/O.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Values by key, and the waiting keys in the order of their turns.
#[derive(Debug)]
pub struct Ring<K, V> {
    pub values: HashMap<K, V>,
    pub turns: VecDeque<K>,
}

impl<K, V> Default for Ring<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V: Default> Ring<K, V> {
    pub fn value(&mut self, key: &K) -> &mut V {
        self.values.entry(key.clone()).or_default()
    }

    /// Marks `key` as waiting; `had_turn` says that it is in the order already.
    pub fn waits(&mut self, key: &K, had_turn: bool) -> &mut V {
        if !had_turn {
            self.turns.push_back(key.clone());
        }
        self.value(key)
    }

    /// Takes from the first waiting key for which `take` returns something; a key that still waits moves to the end.
    pub fn take<T>(&mut self, mut take: impl FnMut(&K, &mut V) -> Option<T>, waits: impl Fn(&V) -> bool) -> Option<T> {
        for index in 0..self.turns.len() {
            let key = self.turns.get(index)?.clone();
            let Some(value) = self.values.get_mut(&key) else { continue };
            let Some(taken) = take(&key, value) else { continue };
            self.turns.remove(index);
            if waits(value) {
                self.turns.push_back(key);
            }
            return Some(taken);
        }
        None
    }
}
