//! Keeps calls through a connection within its gateway's limit. Waits, no I/O; `domain::connection::rate` decides.

use std::sync::Arc;
use std::time::Duration;

use crate::connections::connection::Connection;
use crate::connections::states::ConnectionStates;
use crate::domain::backend::{ANSWER_LOST, CallError, ErrorKind};
use crate::domain::tenant::TenantKey;
use crate::queue::permits::Pace;

/// An answer within 1 s is quick: a permit held no longer than that is not missed.
const QUICK: Duration = Duration::from_secs(1);

/// The pace of a connection, from a call that took this time.
pub fn pace_of(took: Duration, error: Option<&CallError>) -> Pace {
    match error {
        Some(error) if error.kind == ErrorKind::Unreachable || error.code == ANSWER_LOST => Pace::Silent,
        _ if took < QUICK => Pace::Quick,
        _ => Pace::Slow,
    }
}

impl ConnectionStates {
    /// Waits for a rate slot for `calls` back-to-back calls for `key` through `connection`. Slots are given in turn, to
    /// namespaces and then to tenants, so that nobody waits for all of another's calls.
    pub async fn turn(&self, connection: &Connection, key: &Arc<TenantKey>, calls: u32) {
        let line = self.with(connection, |state| state.line.clone());
        // Only the head of the line reserves: a slot reserved now would keep today's wait even if the limit rises.
        let _next = line.0.acquire(key).await;
        let wait = self.reserve(connection, calls);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Reserves a rate slot without waiting, and returns the time to wait for it.
    pub fn reserve(&self, connection: &Connection, calls: u32) -> Duration {
        let wait = self.with(connection, |state| state.rate.take_turn(state.origin.elapsed(), calls));
        Duration::try_from(wait).unwrap_or_default()
    }

    /// Whether its gateway has throttled calls through `connection`.
    pub fn is_limited(&self, connection: &Connection) -> bool {
        self.with(connection, |state| state.rate.limit().is_some())
    }

    /// Adjusts the limit to the result of a call.
    pub fn pace(&self, connection: &Connection, error: Option<&CallError>) {
        self.with(connection, |state| match error.map(|error| error.kind) {
            Some(ErrorKind::Throttled { retry_after }) => state.rate.throttled(state.origin.elapsed(), retry_after),
            // No answer: it says nothing about the gateway's limit.
            Some(ErrorKind::Unreachable | ErrorKind::DeadlinePassed | ErrorKind::Ambiguous) => {}
            _ => state.rate.answered(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::domain::test_objects::{cluster_connection, of_cluster, request};

    fn connection() -> Connection {
        Connection::Cluster(Arc::new(cluster_connection(&json!({}))), "system".into())
    }

    fn key(namespace: &str, tenant: usize) -> Arc<TenantKey> {
        let mut object = of_cluster(request());
        object.metadata.namespace = Some(namespace.to_owned());
        object.spec.tenant_id = format!("t{tenant}");
        Arc::new(TenantKey::of(&object))
    }

    /// Throttles calls through the connection down to the lowest limit.
    async fn throttled() -> ConnectionStates {
        let states = ConnectionStates::default();
        for _ in 0..10 {
            states.reserve(&connection(), 1);
            states.with(&connection(), |state| state.rate.throttled(state.origin.elapsed(), None));
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
        states
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_stand_in_line_have_their_turns_as_the_limit_is_then() {
        let states = Arc::new(throttled().await);
        let began = Instant::now();
        let waiting: Vec<_> = (0..20)
            .map(|tenant| {
                let states = states.clone();
                tokio::spawn(async move { states.turn(&connection(), &key("dba", tenant), 1).await })
            })
            .collect();
        tokio::task::yield_now().await;
        while states.with(&connection(), |state| state.rate.limit()).is_some() {
            states.pace(&connection(), None);
        }
        for turn in waiting {
            turn.await.unwrap();
        }
        let took = began.elapsed();
        // Two of them got their slots at the old limit, 1 call in 5 s.
        assert!(took < Duration::from_secs(11), "at that limit all would have taken 95 s: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_no_closer_than_the_limit_allows() {
        let states = throttled().await;
        states.turn(&connection(), &key("dba", 0), 1).await;
        let began = Instant::now();
        states.turn(&connection(), &key("dba", 0), 2).await;
        states.turn(&connection(), &key("dba", 0), 1).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(15), "after one call and after two, at one in 5 s: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_all_the_turns_of_another_namespace() {
        let states = Arc::new(throttled().await);
        let turn = |namespace: &'static str, tenant| {
            let states = states.clone();
            tokio::spawn(async move {
                states.turn(&connection(), &key(namespace, tenant), 1).await;
                Instant::now()
            })
        };
        let many: Vec<_> = (0..20).map(|tenant| turn("many", tenant)).collect();
        tokio::task::yield_now().await;
        let few = turn("few", 0).await.unwrap();
        let mut before = 0;
        for turn in many {
            before += usize::from(turn.await.unwrap() < few);
        }
        assert!(before <= 3, "one that found no line, the one at its turn, and the next: {before}");
    }
}
