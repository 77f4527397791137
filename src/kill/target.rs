//! The tenant and the sessions of a call. No I/O.

use std::collections::HashSet;
use std::sync::Arc;

use crate::api::{Scope, Session, SessionKill, SessionKillSpec, SessionOutcome};
use crate::domain::backend::{KillTarget, TargetSession, Tenant};
use crate::domain::session::{Meant, Row, Verdict, same_address};
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

/// Whether a kill was sent, or may have been, for a session of `object`, by the rows of a call that was executed in part.
pub fn is_sent(object: &SessionKill, rows: &[Row]) -> bool {
    let is_sent = |row: &&Row| matches!(row.verdict, Verdict::Answered | Verdict::Ambiguous(_));
    rows.iter()
        .filter(is_sent)
        .any(|row| object.spec.sessions.iter().any(|session| is_of(session, object.spec.scope, row)))
}

/// The rows for `object`: another request of the call may name the same session, and mean something else.
pub fn rows_of(object: &SessionKill, rows: &[Row]) -> Vec<Row> {
    let is_meant = |row: &&Row| row.meant.as_ref().is_none_or(|meant| meant.scope == object.spec.scope);
    rows.iter().filter(is_meant).cloned().collect()
}

fn is_of(session: &Session, scope: Scope, row: &Row) -> bool {
    let is_meant = |meant: &Meant| {
        (meant.scope, meant.server_port, &meant.expect) == (scope, session.server_port, &session.expect)
    };
    row.seen.session_id == session.session_id
        && same_address(&row.seen.server_ip, &session.server_ip)
        && row.meant.as_ref().is_none_or(is_meant)
}
