//! The tenant and the sessions of a call. No I/O.

use std::collections::HashSet;
use std::sync::Arc;

use crate::api::{SessionKill, SessionKillSpec, SessionOutcome};
use crate::domain::backend::{KillTarget, TargetSession, Tenant};
use crate::domain::session::Meant;
use crate::kill::live_claims::LiveReceipt;

/// The tenant of a request.
pub fn tenant(spec: &SessionKillSpec) -> Tenant {
    Tenant { instance_id: spec.instance_id.clone(), tenant_id: spec.tenant_id.clone() }
}

/// The pending sessions of requests under their receipts, all of `tenant`. Those by which the same is meant are named once.
pub fn target<'a>(
    tenant: Tenant,
    claimed: impl Iterator<Item = (&'a SessionKill, &'a Arc<LiveReceipt>)>,
) -> KillTarget {
    let mut named = HashSet::new();
    let mut sessions = vec![];
    for (object, receipt) in claimed {
        // A receipt has the sessions of its request, in the same order.
        for (session, planned) in object.spec.sessions.iter().zip(&receipt.spec.sessions) {
            let (scope, server_port, expect) = (object.spec.scope, session.server_port, session.expect.clone());
            let meant = Meant { scope, server_port, expect };
            let is_pending = planned.outcome == SessionOutcome::Pending;
            if is_pending && named.insert((session.server_ip.clone(), session.session_id, meant.clone())) {
                let (server_ip, session_id) = (session.server_ip.clone(), session.session_id);
                sessions.push(TargetSession { server_ip, session_id, meant, observed: planned.observed.clone() });
            }
        }
    }
    KillTarget { tenant, sessions }
}
