//! The clock of each connection's gateway. Use it for its own connection only: the gateway's owner may make it show any
//! time. No I/O.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::clock::ServerClock;
use crate::connections::connection::Connection;
use crate::connections::state::GatewayClock;
use crate::connections::states::ConnectionStates;
use crate::oceanbase::Dates;

impl Dates for ServerClock {
    fn answered(&self, date: Timestamp, asked: Instant) {
        Self::answered(self, date, asked);
    }
}

impl ConnectionStates {
    /// The clock of the gateway of `connection` in its present generation.
    pub fn clock(&self, connection: &Connection) -> Arc<ServerClock> {
        let generation = connection.generation();
        self.with(connection, |state| {
            if state.clock.generation != generation {
                state.clock = GatewayClock { generation, clock: Arc::default() };
            }
            state.clock.clock.clone()
        })
    }
}
