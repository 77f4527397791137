//! Keeps the calls through a connection within what its gateway allows. Waits; the decisions are `domain::rate`.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use super::connection_states::ConnectionStates;
use crate::api::OceanBaseConnection;
use crate::oceanbase::{CallError, ErrorKind};

/// The fixed moment from which time is counted: monotonic, as a clock that is set must not stop calls.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl ConnectionStates {
    /// Waits for the turn of `calls` calls through `connection`, which may then be made one right after the other. Turns are
    /// given in the order in which they are asked for, so that no tenant waits for all of another's.
    pub async fn turn(&self, connection: &OceanBaseConnection, calls: u32) {
        let wait = self.reserve(connection, calls);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// The same without waiting: the time to wait.
    pub fn reserve(&self, connection: &OceanBaseConnection, calls: u32) -> Duration {
        let wait = self.with(connection, |state| state.rate.take_turn(uptime(), calls));
        Duration::try_from(wait).unwrap_or_default()
    }

    /// Learns from how a call went.
    pub fn pace(&self, connection: &OceanBaseConnection, error: Option<&CallError>) {
        self.with(connection, |state| match error.map(|error| error.kind) {
            Some(ErrorKind::Throttled { retry_after }) => state.rate.throttled(uptime(), retry_after),
            // Nothing was heard of the gateway.
            Some(ErrorKind::Unreachable | ErrorKind::DeadlinePassed | ErrorKind::Ambiguous) => {}
            _ => state.rate.answered(),
        });
    }
}

fn uptime() -> SignedDuration {
    SignedDuration::try_from(START.elapsed()).unwrap_or(SignedDuration::MAX)
}
