//! A mutex per object, so that only one task at a time does the same work on it. Waits; no I/O.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

type Turn = tokio::sync::Mutex<()>;

/// The mutexes in use, by object UID. Unused ones are removed when another is added.
#[derive(Debug, Default)]
pub struct Alone(Mutex<HashMap<String, Weak<Turn>>>);

impl Alone {
    /// Waits until no other task holds the object with this `uid`; the guard holds it.
    pub async fn with(&self, uid: &str) -> OwnedMutexGuard<()> {
        self.turn(uid).lock_owned().await
    }

    fn turn(&self, uid: &str) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(uid).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::<Turn>::default();
        turns.insert(uid.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_object_waits_and_others_do_not() {
        let alone = Arc::new(Alone::default());
        let first = alone.with("a").await;
        let _other = alone.with("b").await;
        let second = tokio::spawn({
            let alone = alone.clone();
            async move { drop(alone.with("a").await) }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap();
        let _third = alone.with("c").await;
        assert_eq!(alone.0.lock().unwrap().len(), 2, "those that nobody works on are forgotten");
    }
}
