//! The clock of each connection's gateway. What it says counts for its own connection only: whoever owns a gateway may have it
//! say anything. No I/O.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::connection_states::ConnectionStates;
use crate::api::OceanBaseConnection;
use crate::clock::ServerClock;

/// The clock of the gateway of one connection.
#[derive(Debug, Default)]
pub(super) struct GatewayClock {
    /// The generation of the connection that it is of: an edited one may name another gateway.
    generation: Option<i64>,
    clock: Arc<ServerClock>,
}

impl GatewayClock {
    /// By how much the operator's clock is ahead of it at the least; negative if it is behind, zero if it may be right. None
    /// while that is not known.
    pub(super) fn lead(&self) -> Option<SignedDuration> {
        self.clock.bounds().map(|bounds| bounds.lead_of(Timestamp::now()))
    }
}

impl ConnectionStates {
    /// The clock of the gateway of `connection`, as it is now.
    pub fn clock(&self, connection: &OceanBaseConnection) -> Arc<ServerClock> {
        let generation = connection.metadata.generation;
        self.with(connection, |state| {
            if state.clock.generation != generation {
                state.clock = GatewayClock { generation, clock: Arc::default() };
            }
            state.clock.clock.clone()
        })
    }
}
