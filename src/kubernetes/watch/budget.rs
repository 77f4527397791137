//! The memory budget of the watch cache. No I/O.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A number of bytes shared by all namespaces.
///
/// A share is granted only if the namespace then holds no more than what stays free: a single namespace gets at most
/// half, and two that want everything get a third each. So no namespace can crowd out the others, whoever came first.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Only namespaces that hold bytes.
    namespaces: HashMap<Arc<str>, usize>,
}

/// Bytes of a [`Budget`], returned on drop.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    namespace: Arc<str>,
    bytes: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, held: Mutex::default() })
    }

    /// Reserves `bytes` for `namespace`; `None` if that is more than it may hold.
    pub fn share(self: &Arc<Self>, namespace: &str, bytes: usize) -> Option<Share> {
        let mut held = self.locked();
        let of_namespace = held.namespaces.get(namespace).copied().unwrap_or_default() + bytes;
        let left = self.limit.checked_sub(held.all + bytes)?;
        if of_namespace > left {
            return None;
        }
        held.all += bytes;
        let known = held.namespaces.get_key_value(namespace).map(|(name, _)| name.clone());
        let namespace = known.unwrap_or_else(|| namespace.into());
        held.namespaces.insert(namespace.clone(), of_namespace);
        Some(Share { budget: self.clone(), namespace, bytes })
    }

    /// How many bytes are in use.
    pub fn held(&self) -> usize {
        self.locked().all
    }

    fn locked(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.budget.locked();
        held.all -= self.bytes;
        if let Some(of_namespace) = held.namespaces.get_mut(&self.namespace) {
            *of_namespace -= self.bytes;
            if *of_namespace == 0 {
                held.namespaces.remove(&self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many shares of `bytes` as `namespace` gets.
    fn all(budget: &Arc<Budget>, namespace: &str, bytes: usize) -> Vec<Share> {
        std::iter::from_fn(|| budget.share(namespace, bytes)).collect()
    }

    #[test]
    fn whoever_comes_first_there_is_room_for_the_next() {
        let budget = Budget::new(1200);
        let first = all(&budget, "a", 10);
        assert_eq!(first.len(), 60, "half of all");
        let second = all(&budget, "b", 10);
        assert_eq!(second.len(), 30, "half of what is left");
        assert_eq!(all(&budget, "c", 1).len(), 150);
        assert!(budget.share("a", 1).is_none() && budget.share("d", 1200).is_none());
        // The first namespace gives way as its objects are dropped: then both have a third.
        drop(first);
        let first = all(&budget, "a", 10);
        assert_eq!(first.len(), 45);
        assert_eq!(budget.held(), 750);
        drop((first, second));
    }

    #[test]
    fn what_is_given_back_is_there_again() {
        let budget = Budget::new(100);
        let shares = (0..40).map(|number| budget.share(&format!("n{}", number % 7), 1).unwrap()).collect::<Vec<_>>();
        assert_eq!(budget.held(), 40);
        drop(shares);
        assert_eq!(budget.held(), 0);
        assert!(budget.locked().namespaces.is_empty());
        assert!(budget.share("a", 50).is_some() && budget.share("a", 51).is_none());
        assert!(Budget::new(0).share("a", 1).is_none() && budget.share("a", usize::MAX / 2).is_none());
    }
}
