//! Values that take turns. No I/O.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Values by key, and the order in which those that wait have their turns.
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

    /// Something of `key` begins to wait.
    pub fn waits(&mut self, key: &K, had_turn: bool) -> &mut V {
        if !had_turn {
            self.turns.push_back(key.clone());
        }
        self.value(key)
    }

    /// The first of those that wait for which `take` takes something; it has its next turn after the others, if it still waits.
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
