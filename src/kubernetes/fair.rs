//! A bounded queue in which an owner with many items cannot delay or displace an owner with few. No I/O.

use std::collections::{HashMap, VecDeque};

/// Waiting items by owner: owners take turns, and each owner's items are FIFO.
#[derive(Debug)]
pub struct FairQueue<T> {
    of: HashMap<String, VecDeque<T>>,
    /// Each owner with items, once, the next first.
    turns: VecDeque<String>,
    count: usize,
    most: usize,
}

impl<T> FairQueue<T> {
    /// An empty queue for at most `most` items.
    pub fn new(most: usize) -> Self {
        Self { of: HashMap::new(), turns: VecDeque::new(), count: 0, most }
    }

    /// Adds `thing`. In a full queue, the owner with the most items loses its last one; if it has at most one more than
    /// `owner`, `thing` is dropped instead. Returns whether one was lost.
    #[must_use]
    pub fn push(&mut self, owner: &str, thing: T) -> bool {
        let is_full = self.count >= self.most;
        if is_full {
            let own = self.of.get(owner).map_or(0, VecDeque::len);
            let longest = self.of.values_mut().max_by_key(|things| things.len());
            // It keeps at least one item, so that it stays in `turns`.
            let Some(longest) = longest.filter(|longest| longest.len() > own + 1) else { return true };
            longest.pop_back();
            self.count -= 1;
        }
        if !self.of.contains_key(owner) {
            self.turns.push_back(owner.to_owned());
        }
        self.of.entry(owner.to_owned()).or_default().push_back(thing);
        self.count += 1;
        is_full
    }

    /// The first item of the next owner.
    pub fn pop(&mut self) -> Option<T> {
        let owner = self.turns.pop_front()?;
        let things = self.of.get_mut(&owner)?;
        let thing = things.pop_front();
        self.count -= usize::from(thing.is_some());
        if things.is_empty() {
            self.of.remove(&owner);
        } else {
            self.turns.push_back(owner);
        }
        thing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn owners_take_turns() {
        let mut queue = FairQueue::new(100);
        for number in 1..=4 {
            assert!(!queue.push("many", number));
        }
        assert!(!queue.push("one", 10) && !queue.push("two", 20) && !queue.push("two", 21));
        assert_eq!(all(&mut queue), [1, 10, 20, 2, 21, 3, 4]);
        assert!(queue.of.is_empty() && queue.turns.is_empty() && queue.count == 0);
    }

    #[test]
    fn when_it_is_full_whoever_has_most_loses() {
        let mut queue = FairQueue::new(4);
        for number in 1..=4 {
            assert!(!queue.push("many", number));
        }
        assert!(queue.push("many", 5), "its own");
        assert!(queue.push("one", 10) && queue.push("two", 20));
        assert!(queue.push("one", 11), "nobody has two more: what comes is lost");
        assert_eq!(all(&mut queue), [1, 10, 20, 2]);
    }

    #[test]
    fn of_many_owners_of_one_thing_each_nobody_loses_it() {
        let mut queue = FairQueue::new(3);
        for (owner, thing) in [("a", 0), ("b", 1), ("c", 2)] {
            assert!(!queue.push(owner, thing));
        }
        assert!(queue.push("d", 3));
        assert_eq!(all(&mut queue), [0, 1, 2]);
    }
}
