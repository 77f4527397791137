//! The effects of a call and of what follows it. Each function has one effect.

use jiff::SignedDuration;
use sessionkill_api::{
    Operation, Outcome, SessionKillReceipt, SessionOutcome, SessionReason, SessionStatus, SqlTextPolicy, WaitReason,
};
use sessionkill_core::backend::ROOM_TO_ASK_AGAIN;
use sessionkill_core::kill::conclusion::{Conclusion, dispatch};
use sessionkill_core::kill::outcome::{for_sent, from_answer, rejected, sends_nothing};
use sessionkill_core::kill::sharing::Sharing;
use sessionkill_core::kill::status::{InVerification, finished, verifying};
use sessionkill_core::kill::verification::{Read, follow, is_open};
use sessionkill_core::session::Row;

use super::choosing::chosen;
use super::in_order::InOrder;
use super::live_claims::give_up as give_up_claim;
use super::operator::{Member, Refusal, Stage, Task};
use super::protocol::{Protocol, Rule};
use super::stored::{Stored, made_once};
use super::time::{at, seconds};
use super::world::{Backend, Call, Refused, World, seen};

/// The value of `batch::URGENT`.
const URGENT: SignedDuration = SignedDuration::from_secs(5);
const ROOM: SignedDuration = SignedDuration::from_secs(ROOM_TO_ASK_AGAIN.as_secs().cast_signed());

pub(crate) fn time_left(world: &World, operator: usize, receipt: &SessionKillReceipt) -> SignedDuration {
    let left = receipt.spec.dispatch_deadline_time.0.duration_since(world.time(operator));
    // By the API server's clock, as in `claim::claim`.
    left.min(receipt.spec.not_after_time.0.duration_since(world.known_time(operator).latest()))
}

/// The end of `batch::attempt` and the last check of the clock in `Client::kill`. The members of one urgency share a
/// call. The others are returned as tasks of their own.
pub(crate) fn check(protocol: Protocol, world: &World, operator: usize, task: &mut Task) -> Option<Vec<Task>> {
    let urgency = |member: &Member| {
        let Stage::Claimed { receipt, .. } = &member.stage else { return None };
        let left = time_left(world, operator, receipt);
        Some(if left.is_positive() { u8::from(left >= URGENT) } else { 2 })
    };
    let most = task.members.iter().filter_map(urgency).min()?;
    let is_other = |member: &Member| urgency(member).is_none_or(|urgency| urgency != most);
    let (others, together): (Vec<Member>, Vec<Member>) = task.members.drain(..).partition(is_other);
    task.members = together;
    let claims: Vec<_> = task.members.iter().filter_map(claim).collect();
    let deadline = claims.iter().map(|(receipt, _)| receipt.spec.dispatch_deadline_time.0).min()?;
    let (first, request) = claims.first()?;
    let nonce = (first.spec.attempt_id.clone(), *request);
    let is_unguarded = !protocol.has(Rule::HalvesInTime) && is_half(world, operator, &task.members);
    let now = world.time(operator);
    let stamp = if is_unguarded { seconds(now) } else { protocol.stamp(&nonce.0, deadline, now) };
    let is_late = |(receipt, _): &(Stored<SessionKillReceipt>, u8)| !time_left(world, operator, receipt).is_positive();
    let is_over = protocol.has(Rule::ClockCheck) && !is_unguarded && claims.iter().any(is_late);
    for (member, (receipt, _)) in task.members.iter_mut().zip(claims) {
        member.stage = if is_over {
            Stage::Refused { receipt, kind: Refusal::Deadline }
        } else {
            Stage::Sending { receipt, nonce: nonce.clone(), stamp }
        };
    }
    task.in_order = (world.backend == Backend::Server && !is_over).then(InOrder::default);
    Some(apart(others.into_iter().filter(|member| member.stage != Stage::Done)))
}

/// Whether each of these had its shared call refused before.
fn is_half(world: &World, operator: usize, members: &[Member]) -> bool {
    members.iter().all(|member| world.operators[operator].narrowed.contains(&member.request))
}

/// Puts each member in its own task.
fn apart(members: impl Iterator<Item = Member>) -> Vec<Task> {
    members.map(|one| Task { members: vec![one], is_aside: false, in_order: None }).collect()
}

fn claim(member: &Member) -> Option<(Stored<SessionKillReceipt>, u8)> {
    let Stage::Claimed { receipt, request, .. } = &member.stage else { return None };
    Some((receipt.clone(), *request))
}

/// `Client::kill` sends its request. Any amount of time may have passed since the last check of the clock.
pub(crate) fn send(world: &mut World, task: &mut Task) -> Option<()> {
    let mut call = None;
    for member in &mut task.members {
        let Stage::Sending { receipt, nonce, stamp } = member.stage.clone() else { continue };
        let named: &mut Call = call.get_or_insert(Call {
            nonce: nonce.clone(),
            members: vec![],
            stamp,
            only: None,
            chosen: chosen(member, &receipt),
        });
        named.members.push((member.request, receipt.spec.attempt_id.clone()));
        member.stage = Stage::Calling { receipt, nonce };
    }
    world.network.push(call?);
    world.network.sort_by(|one, other| one.nonce.cmp(&other.nonce));
    Some(())
}

/// `Called::Ambiguous`, then `Made::unanswered`. The connection broke or the call timed out, but the call may still
/// arrive.
pub(crate) fn give_up(protocol: Protocol, world: &mut World, operator: usize, task: &mut Task) -> Option<()> {
    let called = calling(task);
    if called.is_empty() {
        return None;
    }
    let is_split = called.len() > 1 && !protocol.has(Rule::SplitOnlyUnexecuted);
    if is_split {
        narrow(world, operator, called);
    }
    for member in &mut task.members {
        let Stage::Calling { receipt, nonce } = member.stage.clone() else { continue };
        let sessions = for_sent(&receipt.spec.sessions, SessionOutcome::Unknown, SessionReason::AnswerLost);
        member.stage = if is_split {
            Stage::Refused { receipt, kind: Refusal::Together }
        } else if !protocol.has(Rule::NeverResend) {
            Stage::Claimed { receipt, request: nonce.1 + 1, is_found: false }
        } else if !protocol.has(Rule::ReleaseOnlyUnexecuted) {
            Stage::Refused { receipt, kind: Refusal::Deadline }
        } else {
            made(protocol, world, operator, member, receipt, sessions, false)
        };
    }
    Some(())
}

/// The requests of `task` that wait for the answer to its call.
fn calling(task: &Task) -> Vec<usize> {
    let members = task.members.iter().filter(|member| matches!(member.stage, Stage::Calling { .. }));
    members.map(|member| member.request).collect()
}

/// `Refused::narrow`: from now on each of two requests has its own call.
fn narrow(world: &mut World, operator: usize, requests: Vec<usize>) {
    let narrowed = &mut world.operators[operator].narrowed;
    narrowed.extend(requests);
    narrowed.sort_unstable();
    narrowed.dedup();
}

/// The start of `Made`, with the check in `send::call` whether there is anything to verify.
pub(crate) fn made(
    protocol: Protocol,
    world: &World,
    operator: usize,
    member: &Member,
    receipt: Stored<SessionKillReceipt>,
    sessions: Vec<SessionStatus>,
    is_answered: bool,
) -> Stage {
    let until = protocol.followed_until(&member.object, &receipt, is_answered, world.time(operator));
    let is_open = is_open(&sessions, member.object.spec.verification.policy);
    let sessions = Stored::new(sessions);
    if is_open {
        Stage::Made { receipt, sessions, until: world.moment(operator, until), is_shown: false }
    } else {
        Stage::Told { receipt, sessions }
    }
}

/// `Called::Answered` with a row for each session, all with this `ErrorMessage`. Then `Made::answered`.
pub(crate) fn answer(protocol: Protocol, world: &World, operator: usize, task: &mut Task, error_message: &str) {
    let rows = |session| Row { seen: seen(session), error_message: error_message.to_owned(), ..Row::default() };
    let rows: Vec<Row> = (0..2).map(rows).collect();
    for member in &mut task.members {
        let Stage::Calling { receipt, .. } = member.stage.clone() else { continue };
        let (sessions, planned) = (&member.object.spec.sessions, &receipt.spec.sessions);
        let answer = (true, &rows[..]);
        let outcomes = from_answer(sessions, planned, answer, SqlTextPolicy::None, world.time(operator));
        member.stage = made(protocol, world, operator, member, receipt, outcomes, true);
    }
}

/// `Called::NotExecuted`. A throttled call is made again under the same claims if `goes_on` and there is time left
/// (`call::dispatch`). Otherwise the claims are released. If the call of one request was rejected, its claim becomes
/// the record. If a shared call was rejected, its claims are released and the requests are tried again.
pub(crate) fn refuse(
    protocol: Protocol,
    world: &mut World,
    operator: usize,
    task: &mut Task,
    (kind, goes_on): (Refusal, bool),
) -> Vec<Task> {
    let left = task.members.iter().filter_map(|member| match &member.stage {
        Stage::Calling { receipt, .. } => Some(time_left(world, operator, receipt)),
        _ => None,
    });
    let has_room = left.min().is_some_and(|left| left >= ROOM);
    let called = calling(task);
    let is_narrowed = kind == Refusal::Rejected
        && protocol.has(Rule::NarrowDown)
        && Sharing::after_refusal(called.len()).is_some_and(|sharing| sharing.requests() == 1);
    if is_narrowed {
        narrow(world, operator, called);
    }
    let keeps_claim = kind == Refusal::Rejected && protocol.has(Rule::KeepRejected);
    world.is_fence_given_up |= has_room && kind == Refusal::TimeStamp;
    for member in &mut task.members {
        let Stage::Calling { receipt, nonce } = member.stage.clone() else { continue };
        member.stage = if goes_on && has_room {
            Stage::Claimed { receipt, request: nonce.1 + 1, is_found: false }
        } else if is_narrowed && !protocol.has(Rule::ClaimHalvesAgain) {
            Stage::Claimed { receipt, request: nonce.1, is_found: false }
        } else if is_narrowed {
            Stage::Refused { receipt, kind: Refusal::Together }
        } else if keeps_claim {
            made(protocol, world, operator, member, receipt.clone(), rejected(&receipt.spec.sessions, "refused"), true)
        } else {
            Stage::Refused { receipt, kind }
        };
    }
    let stays = if is_narrowed && !protocol.has(Rule::ClaimHalvesAgain) { 1 } else { task.members.len() };
    apart(task.members.drain(stays..))
}

/// `claim::release`, then `Request::not_executed`. A rejected call gets here only if the rule `KeepRejected` is left
/// out. If the receipt was changed meanwhile, it is read again.
pub(crate) fn release(protocol: Protocol, world: &mut World, operator: usize, member: &mut Member) -> Option<()> {
    let Stage::Refused { receipt, kind } = member.stage.clone() else { return None };
    if world.delete_receipt(&receipt) == Err(Refused::Conflict) && protocol.has(Rule::ReleaseWhatWasEdited) {
        let found = world.receipt(receipt.metadata.name.as_deref()?).cloned();
        let same = found.filter(|it| it.spec.attempt_id == receipt.spec.attempt_id && it.status.is_none());
        if let Some(receipt) = same {
            member.stage = Stage::Refused { receipt, kind };
            return Some(());
        }
    }
    if protocol.has(Rule::GiveUpAllTries) && world.operators[operator].tried_again.contains(&receipt.spec.attempt_id) {
        give_up_claim(world, operator, &receipt);
    }
    not_executed(world, operator, member, &receipt, kind);
    Some(())
}

/// The same if the API server does not delete the claim: the claim is given up.
pub(crate) fn give_claim_up(protocol: Protocol, world: &mut World, operator: usize, member: &mut Member) -> Option<()> {
    let Stage::Refused { receipt, kind } = member.stage.clone() else { return None };
    if protocol.has(Rule::RememberGivenUp) {
        give_up_claim(world, operator, &receipt);
    }
    not_executed(world, operator, member, &receipt, kind);
    Some(())
}

fn not_executed(
    world: &World,
    operator: usize,
    member: &mut Member,
    receipt: &Stored<SessionKillReceipt>,
    kind: Refusal,
) {
    member.stage = match kind {
        Refusal::Deadline | Refusal::Together | Refusal::Unsent => Stage::Done,
        Refusal::Unreachable => member.waits(WaitReason::EndpointUnreachable, world, operator),
        Refusal::Throttled => member.waits(WaitReason::Throttled, world, operator),
        Refusal::TimeStamp => member.waits(WaitReason::TimeStampRefused, world, operator),
        Refusal::Rejected => {
            let sessions = rejected(&receipt.spec.sessions, "refused");
            let conclude = || Conclusion::uncalled(Outcome::KillFailed, "refused".to_owned(), sessions);
            member.ends(&"refused", conclude)
        }
    };
}

/// One round of `verify::verify`. `is_read` is false if the list cannot be read.
pub(crate) fn verify(world: &World, operator: usize, member: &mut Member, is_read: bool) -> Option<()> {
    let Stage::Made { receipt, sessions, until, is_shown } = member.stage.clone() else { return None };
    let list = is_read.then(|| world.list(operator));
    let read = list.as_ref().map_or(Read::NotYet, Read::List);
    let policy = member.object.spec.verification.policy;
    let looked = follow(&sessions, read, policy, world.time_at(until, operator), world.time(operator));
    let sessions = Stored::new(looked.sessions);
    member.stage = if looked.is_open {
        Stage::Made { receipt, sessions, until, is_shown }
    } else {
        Stage::Told { receipt, sessions }
    };
    Some(())
}

/// `Made::show`.
pub(crate) fn show(protocol: Protocol, world: &mut World, operator: usize, member: &mut Member) -> Option<()> {
    let Stage::Made { receipt, sessions, until, is_shown: false } = member.stage.clone() else { return None };
    let call = InVerification {
        dispatch: dispatch(&receipt, Operation::KillProcessList, "R"),
        sessions: (*sessions).clone(),
        target_mismatch: None,
        until: world.time_at(until, operator),
    };
    let status = verifying(&member.object, &call, world.time(operator));
    // A refusal is ignored, as the request may be deleted, created again or finished. The receipt gets the outcome.
    let _ = world.write_status(protocol, member.request, &member.object, status);
    member.stage = Stage::Made { receipt, sessions, until, is_shown: true };
    Some(())
}

/// `Made::settle`, or `Request::end` for a request without a call. Both use `settle::settle`.
pub(crate) fn settle(protocol: Protocol, world: &mut World, member: &mut Member) -> Option<()> {
    let (status, then) = match member.stage.clone() {
        Stage::Ending { status } => (status, Stage::Done),
        Stage::Told { receipt, sessions } => {
            let call = dispatch(&receipt, Operation::KillProcessList, "R");
            let conclusion = if sends_nothing(&receipt.spec) {
                Conclusion::unsendable(&receipt)
            } else {
                Conclusion::called((*sessions).clone(), call, "no certain answer")
            };
            // The time is fixed, as in `Member::ends`.
            let end = || finished(&member.object, &conclusion, at(0));
            let status = made_once(&(&member.object, &receipt, &sessions), end);
            let record = Stored::new(conclusion.record(at(0)));
            (status, Stage::Recording { receipt, record })
        }
        _ => return None,
    };
    let written = world.write_status(protocol, member.request, &member.object, (*status).clone());
    if written == Err(Refused::Unstorable) && then != Stage::Done && !protocol.has(Rule::RecordWhatIsNotTold) {
        // The operator tries again without end.
        return Some(());
    }
    if written == Err(Refused::Invalid) {
        let object = world.requests[member.request].object.clone()?;
        let stored = object.status.clone().unwrap_or_default();
        if stored.completion_time.is_none() {
            // The last report was newer than the version in the watch cache.
            let mut status = (*status).clone();
            status.start_time = stored.start_time.or(status.start_time);
            world.write_status(protocol, member.request, &object, status).unwrap();
        }
    }
    member.stage = then;
    Some(())
}

/// `settle::record`.
pub(crate) fn record(world: &mut World, member: &mut Member) -> Option<()> {
    let Stage::Recording { receipt, record } = member.stage.clone() else { return None };
    // A refusal is ignored: the receipt is gone, or another operator has recorded it after the settle deadline. The
    // record is write-once.
    let _ = world.write_record(&receipt, &record);
    member.stage = Stage::Done;
    Some(())
}

/// `report::report_waiting`.
pub(crate) fn report(protocol: Protocol, world: &mut World, member: &mut Member) -> Option<()> {
    let Stage::Reporting { status } = member.stage.clone() else { return None };
    // A refusal is ignored: the next try writes the status again.
    let _ = world.write_status(protocol, member.request, &member.object, (*status).clone());
    member.stage = Stage::Done;
    Some(())
}
