//! Keeps calls through a connection within its gateway's limit. Waits, no I/O; `domain::connection::rate` decides.

use std::time::Duration;

use crate::api::OceanBaseConnection;
use crate::connections::states::ConnectionStates;
use crate::domain::backend::{ANSWER_LOST, CallError, ErrorKind};
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
    /// Waits for a rate slot for `calls` back-to-back calls through `connection`. Slots are given in the order of
    /// asking, so that no tenant waits for all of another's calls.
    pub async fn turn(&self, connection: &OceanBaseConnection, calls: u32) {
        let line = self.with(connection, |state| state.line.clone());
        // Only the head of the line reserves: a slot reserved now would keep today's wait even if the limit rises.
        let _next = line.lock().await;
        let wait = self.reserve(connection, calls);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Reserves a rate slot without waiting, and returns the time to wait for it.
    pub fn reserve(&self, connection: &OceanBaseConnection, calls: u32) -> Duration {
        let wait = self.with(connection, |state| state.rate.take_turn(state.origin.elapsed(), calls));
        Duration::try_from(wait).unwrap_or_default()
    }

    /// Adjusts the limit to the result of a call.
    pub fn pace(&self, connection: &OceanBaseConnection, error: Option<&CallError>) {
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
    use std::sync::Arc;

    use super::*;
    use crate::domain::test_objects::connection;
    use tokio::time::Instant;

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
            .map(|_| {
                let states = states.clone();
                tokio::spawn(async move { states.turn(&connection(), 1).await })
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
        states.turn(&connection(), 1).await;
        let began = Instant::now();
        states.turn(&connection(), 2).await;
        states.turn(&connection(), 1).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(15), "after one call and after two, at one in 5 s: {took:?}");
    }
}
