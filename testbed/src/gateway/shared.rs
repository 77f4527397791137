//! Everything that calls share.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    actions::Actions, admission::Admission, in_force::Faults, ledger::Ledger, metadata::Metadata, quota::Meter,
    sts::Sts,
};

/// The parts of a gateway.
pub struct Shared {
    /// Who may call.
    pub admission: Admission,
    /// How much may be called. Calls of STS do not count.
    pub meter: Meter,
    /// How long an admitted call takes before it is executed. Calls of STS take no time.
    pub delay: Duration,
    /// What can be called.
    pub actions: Actions,
    /// Who hands out temporary keys, if anybody.
    pub sts: Option<Sts>,
    /// The metadata service, if there is one.
    pub metadata: Option<Arc<Metadata>>,
    /// How the gateway misbehaves.
    pub faults: Arc<Faults>,
    /// What was called.
    pub ledger: Ledger,
    /// Cancelled when the gateway stops.
    pub stop: CancellationToken,
}
