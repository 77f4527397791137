//! Keeps the calls through a connection within what its gateway allows. Waits; the decisions are `domain::connection::rate`.

use std::time::Duration;

use crate::api::OceanBaseConnection;
use crate::connections::states::ConnectionStates;
use crate::domain::backend::{ANSWER_LOST, CallError, ErrorKind};
use crate::queue::permits::Pace;

/// An answer within this time is a quick one: a permit that is held for as long is not missed.
const QUICK: Duration = Duration::from_secs(1);

/// How a connection answers of which a call took this time.
pub fn pace_of(took: Duration, error: Option<&CallError>) -> Pace {
    match error {
        Some(error) if error.kind == ErrorKind::Unreachable || error.code == ANSWER_LOST => Pace::Silent,
        _ if took < QUICK => Pace::Quick,
        _ => Pace::Slow,
    }
}

impl ConnectionStates {
    /// Waits for the turn of `calls` calls through `connection`, which may then be made one right after the other. Turns are
    /// given in the order in which they are asked for, so that no tenant waits for all of another's.
    pub async fn turn(&self, connection: &OceanBaseConnection, calls: u32) {
        let line = self.with(connection, |state| state.line.clone());
        // Who stands further back takes a turn later: one that was taken now would stay as far off as the limit of now puts it.
        let _next = line.lock().await;
        let wait = self.reserve(connection, calls);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// The same without waiting: the time to wait.
    pub fn reserve(&self, connection: &OceanBaseConnection, calls: u32) -> Duration {
        let wait = self.with(connection, |state| state.rate.take_turn(state.origin.elapsed(), calls));
        Duration::try_from(wait).unwrap_or_default()
    }

    /// Learns from how a call went.
    pub fn pace(&self, connection: &OceanBaseConnection, error: Option<&CallError>) {
        self.with(connection, |state| match error.map(|error| error.kind) {
            Some(ErrorKind::Throttled { retry_after }) => state.rate.throttled(state.origin.elapsed(), retry_after),
            // Nothing was heard of the gateway.
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

    /// Calls through the connection are throttled until they are as slow as can be.
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
        // Two of them had their turns at the limit of before, of one in 5 s.
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
