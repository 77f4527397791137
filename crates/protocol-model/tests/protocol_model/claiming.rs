//! The effects of a request before its call, and of a request that finds another claim. Each function has one effect.

use sessionkill_api::{SessionKillReceipt, SessionKillReceiptStatus, WaitReason};
use sessionkill_core::kill::claim::{Judge, Standing};
use sessionkill_core::kill::conclusion::Conclusion;
use sessionkill_core::kill::orphan::conclude;
use sessionkill_core::kill::retention::record_of;

use super::choosing::granted;
use super::live_claims::{give_up, try_again};
use super::operator::{Member, Stage};
use super::protocol::{Protocol, Rule};
use super::stored::Stored;
use super::time::at;
use super::world::{Refused, World};

/// `claim::try_claim`: the POST, and the GET after a conflict. Nothing is changed between the two. The answer to a POST
/// may be lost. Then it is tried again.
pub(crate) fn post(
    protocol: Protocol,
    world: &mut World,
    operator: usize,
    member: &mut Member,
    is_answered: bool,
) -> Option<()> {
    let Stage::Posting { wanted, is_unanswered } = member.stage.clone() else { return None };
    let created = world.create_receipt(&wanted);
    if !is_answered {
        member.stage = Stage::Posting { wanted, is_unanswered: true };
        return Some(());
    }
    if created.is_ok() {
        if is_unanswered {
            try_again(world, operator, &wanted);
        }
        member.stage = granted(wanted, false);
        return Some(());
    }
    let found = world.receipt(wanted.metadata.name.as_deref()?).cloned();
    // This process had given up the claim and has now deleted it, so it tries again.
    let Some(receipt) = stored(world, operator, found) else { return Some(()) };
    member.stage = match standing(protocol, world, operator, member, &receipt, Some(&wanted.spec.attempt_id)) {
        Standing::Ours => {
            try_again(world, operator, &wanted);
            granted(receipt, true)
        }
        standing if is_unanswered && protocol.has(Rule::GiveUpAllTries) => {
            give_up(world, operator, &wanted);
            taken(world, operator, member, receipt, standing)
        }
        standing => taken(world, operator, member, receipt, standing),
    };
    Some(())
}

/// The same, but the POST is still on the way. It may be stored later.
pub(crate) fn post_late(world: &mut World, member: &mut Member) -> Option<()> {
    let Stage::Posting { wanted, .. } = member.stage.clone() else { return None };
    world.posts.push(wanted.clone());
    member.stage = Stage::Posting { wanted, is_unanswered: true };
    Some(())
}

/// `claim::stored`: `None` if this process had given up the claim. Then the claim is deleted.
fn stored(
    world: &mut World,
    operator: usize,
    found: Option<Stored<SessionKillReceipt>>,
) -> Option<Stored<SessionKillReceipt>> {
    found.filter(|receipt| !delete_if_given_up(world, operator, receipt))
}

/// `claim::delete_if_given_up`. A claim that was recorded meanwhile is not deleted.
pub(crate) fn delete_if_given_up(world: &mut World, operator: usize, receipt: &Stored<SessionKillReceipt>) -> bool {
    if receipt.status.is_some() || !world.operators[operator].given_up.contains(&receipt.spec.attempt_id) {
        return false;
    }
    // This cannot be refused, as the receipt was read just now.
    let _ = world.delete_receipt(receipt);
    true
}

/// The end of `claim::claim` without an answer in time, and `claim::withdraw`. Then `Request::put_off`.
pub(crate) fn withdraw(protocol: Protocol, world: &mut World, operator: usize, member: &mut Member) -> Option<()> {
    let Stage::Posting { wanted, is_unanswered: true } = member.stage.clone() else { return None };
    give_up(world, operator, &wanted);
    let found = world.receipt(wanted.metadata.name.as_deref()?).cloned();
    if let Some(others) = stored(world, operator, found)
        && !protocol.has(Rule::WithdrawOnlyOurs)
    {
        let _ = world.delete_receipt(&others);
    }
    member.stage = Stage::Done;
    Some(())
}

/// `claim::find`, for a request that makes no claim. If its content has no receipt, it ends with `otherwise`.
pub(crate) fn find(
    protocol: Protocol,
    world: &mut World,
    operator: usize,
    member: &Member,
    (cause, otherwise): (&str, impl FnOnce() -> Conclusion),
) -> Stage {
    let found = world.receipt_of(protocol, member.request);
    match stored(world, operator, found) {
        None => member.ends(&cause, otherwise),
        Some(receipt) => {
            let standing = standing(protocol, world, operator, member, &receipt, None);
            taken(world, operator, member, receipt, standing)
        }
    }
}

fn standing(
    protocol: Protocol,
    world: &World,
    operator: usize,
    member: &Member,
    receipt: &SessionKillReceipt,
    attempt_id: Option<&str>,
) -> Standing {
    let uid = member.object.metadata.uid.as_deref();
    let judge = Judge { uid, attempt_id, is_at_work: protocol.is_at_work(world, operator, receipt) };
    protocol.standing(judge, receipt, protocol.now(world, operator).earliest())
}

/// `Request::taken`.
fn taken(
    world: &World,
    operator: usize,
    member: &Member,
    receipt: Stored<SessionKillReceipt>,
    standing: Standing,
) -> Stage {
    match standing {
        Standing::Recorded(record) => copies(member, &receipt, &Stored::new(record)),
        Standing::Orphaned => Stage::Resolving { receipt },
        Standing::InFlight { own: true, .. } => Stage::Done,
        Standing::InFlight { own: false, .. } | Standing::Ours => {
            member.waits(WaitReason::Dispatching, world, operator)
        }
    }
}

/// `Request::copy`.
fn copies(member: &Member, receipt: &Stored<SessionKillReceipt>, record: &Stored<SessionKillReceiptStatus>) -> Stage {
    let same_object = Some(&receipt.spec.session_kill_ref.uid) == member.object.metadata.uid.as_ref();
    let conclude = || Conclusion::recorded(receipt, record, same_object);
    member.ends(&(receipt, record), conclude)
}

/// The reads of `orphan::resolve`. `is_read` is false if the process list cannot be read.
pub(crate) fn resolve(world: &mut World, operator: usize, member: &mut Member, is_read: bool) -> Option<()> {
    let Stage::Resolving { receipt } = member.stage.clone() else { return None };
    if delete_if_given_up(world, operator, &receipt) {
        member.stage = member.waits(WaitReason::Verifying, world, operator);
        return Some(());
    }
    member.stage = match record_for(world, operator, &receipt, is_read) {
        Some(record) => Stage::Resolved { receipt, record },
        None => member.waits(WaitReason::Verifying, world, operator),
    };
    Some(())
}

/// What `orphan::resolve` records: the outcome in the request's status if it has ended, otherwise what the process list
/// shows.
pub(crate) fn record_for(
    world: &World,
    operator: usize,
    receipt: &SessionKillReceipt,
    is_read: bool,
) -> Option<Stored<SessionKillReceiptStatus>> {
    let request = world.stored(&receipt.spec.session_kill_ref.name);
    if let Some(record) = request.and_then(|request| record_of(request, receipt)) {
        return Some(Stored::new(record));
    }
    let (list, now) = (is_read.then(|| world.list(operator)), world.known_time(operator).earliest());
    let conclusion = conclude(receipt, request, list.as_ref(), now)?;
    Some(Stored::new(conclusion.record(at(0))))
}

/// The write of `orphan::resolve`. The first record counts. If the API server refuses the record, the request uses it
/// all the same.
pub(crate) fn record_once(protocol: Protocol, world: &mut World, member: &mut Member) -> Option<()> {
    let Stage::Resolved { receipt, record } = member.stage.clone() else { return None };
    let recorded = match world.write_record(&receipt, &record) {
        Ok(()) => record,
        // The receipt was removed meanwhile: the request is tried again later.
        Err(Refused::NotFound) => {
            member.stage = Stage::Done;
            return Some(());
        }
        Err(_) => match &world.receipt(receipt.metadata.name.as_deref()?)?.status {
            Some(status) => Stored::new(status.clone()),
            None if protocol.has(Rule::EndWithoutRecord) => record,
            None => {
                member.stage = Stage::Done;
                return Some(());
            }
        },
    };
    member.stage = copies(member, &receipt, &recorded);
    Some(())
}
