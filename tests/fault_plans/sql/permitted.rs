//! The permitted ends of a plan, for each of the two sessions of its request.

use sessionkill::api::{SessionOutcome, SessionReason};
use testbed::fault_proxy::At;
use testbed::sql_relay::Fate;
use testbed::sql_statements::{COMPARE, KILL, LIST};

use super::plan::{Plan, SETTLE};
use crate::plan::{Step, Strike};

/// What is told of a session.
pub type Told = (SessionOutcome, SessionReason);

const VERIFIED: Told = (SessionOutcome::Killed, SessionReason::Verified);
/// Its kill was executed, and nobody knows that.
const SEEN_GONE: Told = (SessionOutcome::Gone, SessionReason::NotFound);
/// Its kill was not executed, and nobody knows that.
const SEEN_THERE: Told = (SessionOutcome::Failed, SessionReason::StillPresent);
const NOT_SENT: Told = (SessionOutcome::Failed, SessionReason::NotSent);

/// How far the API server had a kill when its operator was killed. A step does not show that: on a slow machine, the first
/// status may say why the request waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reached {
    /// It had no claim.
    #[default]
    Nothing,
    /// It had its claim, and had not told the end.
    Claim,
    /// The end was told.
    End,
}

/// Whether the session number `nth` may end so. `is_executed` says whether a kill of it was executed.
pub fn may_end(plan: &Plan, reached: Reached, nth: usize, told: Told, is_executed: bool) -> bool {
    let seen = if is_executed { SEEN_GONE } else { SEEN_THERE };
    match plan {
        // The kill of this session has no certain answer. Those of others have.
        Plan::Lost(Step { kind, nth: at }, fate) if kind == KILL && *at == nth => {
            told == seen && is_executed == (*fate == Fate::LostAfter)
        }
        // Nothing is executed by another statement, so that it goes on with another connection. It repeats every request to
        // the API server.
        Plan::Lost(..) | Plan::Api(..) | Plan::None => told == VERIFIED && is_executed,
        Plan::Struck { step, at, strike: Strike::Kill, .. } => match reached {
            // After its start it makes the kill.
            Reached::Nothing | Reached::End => told == VERIFIED && is_executed,
            // On a slow machine, a kill that was held comes too late for the server.
            Reached::Claim => told == seen && (is_executed == (nth < executed_at(step)) || is_held(step, *at, nth)),
        },
        // When it goes on, its statements may have timed out. What the server got too late was refused there.
        Plan::Struck { step, at, strike: Strike::Freeze, .. } => {
            let permitted = if is_executed { [VERIFIED, SEEN_GONE] } else { [SEEN_THERE, NOT_SENT] };
            // It is made again under another claim, or not at all.
            permitted.contains(&told) && !(is_held(step, *at, nth) && told == SEEN_GONE)
        }
    }
}

/// Whether the kill of the session number `nth` was held before the server.
fn is_held(step: &Step, at: At, nth: usize) -> bool {
    step.kind == KILL && step.nth == nth && at == At::Request
}

/// How many kills were executed if an operator was killed here. A statement that is on its way is executed.
fn executed_at(Step { kind, nth }: &Step) -> usize {
    match kind.as_str() {
        COMPARE => *nth,
        KILL => nth + 1,
        LIST | SETTLE => 2,
        _ => 0,
    }
}
