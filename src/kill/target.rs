//! The tenant and the sessions of a call. No I/O.

use std::collections::HashSet;
use std::sync::Arc;

use crate::api::{SessionKillSpec, SessionOutcome};
use crate::domain::backend::{KillTarget, Tenant};
use crate::kill::live_claims::LiveReceipt;

/// The tenant of a request.
pub fn tenant(spec: &SessionKillSpec) -> Tenant {
    Tenant { instance_id: spec.instance_id.clone(), tenant_id: spec.tenant_id.clone() }
}

/// The pending sessions under `receipts`, all of `tenant`, each once.
pub fn target(tenant: Tenant, receipts: &[Arc<LiveReceipt>]) -> KillTarget {
    let planned = receipts.iter().flat_map(|receipt| &receipt.spec.sessions);
    let pending = planned.filter(|session| session.outcome == SessionOutcome::Pending);
    let mut named = HashSet::new();
    let sessions = pending.map(|session| (session.server_ip.clone(), session.session_id));
    KillTarget { tenant, sessions: sessions.filter(|session| named.insert(session.clone())).collect() }
}
