//! Ends a tenant's requests in the order of their calls. Waits; no I/O.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::domain::tenant::TenantKey;

/// How long the ends of one call may delay those of the next: an end that the API server does not store must not block
/// all later ones.
const PATIENCE: Duration = Duration::from_secs(5);

type Turn = tokio::sync::Mutex<()>;

/// A mutex per tenant whose requests are ending. Without it, a small call would overtake a larger one before it.
#[derive(Debug, Default)]
pub struct Endings(Mutex<HashMap<TenantKey, Weak<Turn>>>);

impl Endings {
    /// Waits, in FIFO order, until the ends of the earlier calls are written. `None` after 5 s: proceed without an
    /// order.
    pub async fn in_order(&self, key: TenantKey) -> Option<OwnedMutexGuard<()>> {
        tokio::time::timeout(PATIENCE, self.turn(key).lock_owned()).await.ok()
    }

    fn turn(&self, key: TenantKey) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::<Turn>::default();
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::test_objects::request;

    fn key(tenant: &str) -> TenantKey {
        let mut request = request();
        tenant.clone_into(&mut request.spec.tenant_id);
        TenantKey::of(&request)
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_of_a_tenant_wait_for_those_before_and_others_do_not() {
        let endings = Arc::new(Endings::default());
        let first = endings.in_order(key("a")).await;
        assert!(first.is_some() && endings.in_order(key("b")).await.is_some());
        let second = tokio::spawn({
            let endings = endings.clone();
            async move { endings.in_order(key("a")).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap());
        assert!(endings.in_order(key("c")).await.is_some());
        assert_eq!(endings.0.lock().unwrap().len(), 1, "tenants without any are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_is_not_stored_holds_nobody_up_for_long() {
        let endings = Endings::default();
        let _stuck = endings.in_order(key("a")).await;
        let began = tokio::time::Instant::now();
        assert!(endings.in_order(key("a")).await.is_none());
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
