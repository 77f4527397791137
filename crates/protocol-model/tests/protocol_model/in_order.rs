//! A call by SQL: its sessions are ended one after the other, each by a kill of its own, and it may end before its last
//! session. Each function has one effect. The order is that of `Calling::kill_all` and `Database::kill`.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use sessionkill_api::{SessionOutcome, SessionReason, SqlTextPolicy};
use sessionkill_core::kill::outcome::from_answer;
use sessionkill_core::kill::rows::{is_sent, rows_of};
use sessionkill_core::session::{Meant, Row, Verdict};

use super::calling::{made, time_left};
use super::model::Arrival;
use super::operator::{Refusal, Stage, Task};
use super::protocol::{Protocol, Rule};
use super::time::seconds;
use super::world::{Call, World, seen};

/// The value of `compare_and_kill::MOST_LOST`.
const MOST_LOST: u8 = 2;

/// A call that is under way.
#[derive(Clone, Debug, Default, Hash, PartialEq)]
pub(crate) struct InOrder {
    /// What is known of its first sessions.
    known: Vec<(usize, Known)>,
    /// Whether the kill of the next session was sent and has no answer yet.
    pub(crate) is_waiting: bool,
    /// How many connections were lost.
    pub(crate) lost: u8,
    /// How many kills were sent.
    sent: u8,
}

/// What is known of one session: see [`Verdict`].
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Known {
    Taken,
    Refused,
    Gone,
    Ambiguous,
    NotSent,
}

impl Known {
    fn row(self, session: usize) -> Row {
        let why = || "why".to_owned();
        let verdict = match self {
            Self::Taken | Self::Refused => Verdict::Answered,
            Self::Gone => Verdict::Gone(SessionReason::NotFound),
            Self::Ambiguous => Verdict::Ambiguous(why()),
            Self::NotSent => Verdict::NotSent(why()),
        };
        let error_message = if self == Self::Refused { "not your session".to_owned() } else { String::new() };
        Row { seen: seen(session), error_message, verdict, meant: Some(Meant::default()) }
    }
}

/// Why a call ended before its last session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its time is over.
    Late,
    /// There is no connection.
    Unreachable,
}

/// `target::target`: the sessions of the call in order, each once.
fn target(world: &World, task: &Task) -> Vec<usize> {
    let mut named = BTreeSet::new();
    let mut sessions = vec![];
    for member in &task.members {
        let (Stage::Sending { receipt, .. } | Stage::Calling { receipt, .. }) = &member.stage else { continue };
        for (session, planned) in world.requests[member.request].sessions.iter().zip(&receipt.spec.sessions) {
            if planned.outcome == SessionOutcome::Pending && named.insert(*session) {
                sessions.push(*session);
            }
        }
    }
    sessions
}

/// The members that the call is for now name the kill with this number.
fn number(task: &mut Task, number: u8) {
    for member in &mut task.members {
        if let Stage::Sending { receipt, nonce, .. } | Stage::Calling { receipt, nonce } = member.stage.clone() {
            member.stage = Stage::Calling { receipt, nonce: (nonce.0, number) };
        }
    }
}

/// `Calling::kill_one`: the server compares the next session, and the kill is sent if it is there. Any amount of time may
/// pass until the kill arrives.
pub(crate) fn kill(protocol: Protocol, world: &mut World, operator: usize, task: &mut Task) -> Option<()> {
    let call = task.in_order.clone()?;
    number(task, call.sent);
    let session = *target(world, task).get(call.known.len())?;
    let left = task.members.iter().filter_map(|member| match &member.stage {
        Stage::Calling { receipt, .. } => Some(time_left(world, operator, receipt)),
        _ => None,
    });
    let left = left.min()?;
    if !left.is_positive() {
        return finish(protocol, world, operator, task, Some(Ended::Late));
    }
    if call.lost >= MOST_LOST {
        return finish(protocol, world, operator, task, Some(Ended::Unreachable));
    }
    if !world.sessions[session] {
        return know(protocol, world, operator, task, Known::Gone);
    }
    let named = task.members.iter().filter_map(|member| match &member.stage {
        Stage::Calling { receipt, nonce } if world.requests[member.request].sessions.contains(&session) => {
            Some((nonce.clone(), (member.request, receipt.spec.attempt_id.clone())))
        }
        _ => None,
    });
    let (nonces, members): (Vec<_>, Vec<_>) = named.unzip();
    // In the condition of `KILL`. It has the server's clock, which is compared with its clock at the look.
    let until = if protocol.has(Rule::Fence) { left } else { SignedDuration::from_mins(10) };
    let stamp = seconds(world.time(operator) + until) + world.clocks.gateway - world.clocks.operators[operator];
    world.network.push(Call { nonce: nonces.into_iter().next()?, members, stamp, only: Some(session), chosen: None });
    world.network.sort_by(|one, other| one.nonce.cmp(&other.nonce));
    task.in_order = Some(InOrder { is_waiting: true, sent: call.sent + 1, ..call });
    Some(())
}

/// The answer to the kill that the call waits for.
pub(crate) fn answer(protocol: Protocol, world: &mut World, operator: usize, task: &mut Task, how: Arrival) {
    let answered = match how {
        Arrival::Executed => know(protocol, world, operator, task, Known::Taken),
        Arrival::RefusedByRow => know(protocol, world, operator, task, Known::Refused),
        Arrival::RefusedWith(..) => finish(protocol, world, operator, task, Some(Ended::Late)),
    };
    answered.expect("it waits for this answer");
}

/// The connection breaks, or the server gives no certain answer. The kill may still be executed.
pub(crate) fn give_up(protocol: Protocol, world: &mut World, operator: usize, task: &mut Task) -> Option<()> {
    let call = task.in_order.as_mut().filter(|call| call.is_waiting)?;
    call.lost += 1;
    if !protocol.has(Rule::NeverResend) {
        call.is_waiting = false;
        return Some(());
    }
    know(protocol, world, operator, task, Known::Ambiguous)
}

/// No connection is to be had for the next session.
pub(crate) fn end(protocol: Protocol, world: &mut World, operator: usize, task: &mut Task) -> Option<()> {
    let sent = task.in_order.as_ref()?.sent;
    number(task, sent);
    finish(protocol, world, operator, task, Some(Ended::Unreachable))
}

fn know(protocol: Protocol, world: &mut World, operator: usize, task: &mut Task, known: Known) -> Option<()> {
    let sessions = target(world, task);
    let call = task.in_order.as_mut()?;
    call.known.push((*sessions.get(call.known.len())?, known));
    call.is_waiting = false;
    if call.known.len() == sessions.len() {
        return finish(protocol, world, operator, task, None);
    }
    // The answer to an earlier kill is for nobody.
    let sent = call.sent;
    number(task, sent);
    Some(())
}

/// The end of `Database::kill`, then what `send::call` makes of it: answered, executed in part, or not executed.
fn finish(protocol: Protocol, world: &mut World, operator: usize, task: &mut Task, ended: Option<Ended>) -> Option<()> {
    let sessions = target(world, task);
    let mut known = task.in_order.take()?.known;
    let rest = sessions.into_iter().skip(known.len());
    known.extend(rest.map(|session| (session, Known::NotSent)));
    let is_in_part = ended.is_some() && known.iter().any(|(_, known)| *known != Known::NotSent);
    let rows: Vec<Row> = known.iter().map(|(session, known)| known.row(*session)).collect();
    let unless = |rule, verdict: &dyn Fn(&Verdict) -> bool| {
        let altered = |row: &Row| match &row.verdict {
            it if !protocol.has(rule) && verdict(it) => {
                Row { verdict: Verdict::NotSent("why".to_owned()), ..row.clone() }
            }
            _ => row.clone(),
        };
        rows.iter().map(altered).collect::<Vec<_>>()
    };
    let is_ambiguous = |verdict: &Verdict| matches!(verdict, Verdict::Ambiguous(_));
    let taken_for_sent = unless(Rule::AmbiguousIsSent, &is_ambiguous);
    let told = unless(Rule::AmbiguousIsUnknown, &is_ambiguous);
    for member in &mut task.members {
        let Stage::Calling { receipt, .. } = member.stage.clone() else { continue };
        let is_released = is_in_part && !is_sent(&member.object, &taken_for_sent);
        member.stage = match ended {
            Some(Ended::Late) if !is_in_part => Stage::Refused { receipt, kind: Refusal::Deadline },
            Some(Ended::Unreachable) if !is_in_part => Stage::Refused { receipt, kind: Refusal::Unreachable },
            Some(_) if is_released || !protocol.has(Rule::KeepSent) => {
                Stage::Refused { receipt, kind: Refusal::Unsent }
            }
            _ => {
                let rows = rows_of(&member.object, &told);
                let (sessions, planned) = (&member.object.spec.sessions, &receipt.spec.sessions);
                let now = world.time(operator);
                let outcomes = from_answer(sessions, planned, (true, &rows), SqlTextPolicy::None, now);
                // `Made::answered`.
                let is_answered = outcomes.iter().all(|session| session.reason != SessionReason::AnswerLost);
                made(protocol, world, operator, member, receipt, outcomes, is_answered)
            }
        };
    }
    Some(())
}
