//! The effects of a request before its call, and of one that meets the claim of another: one effect each.

use sessionkill::api::{SessionKillReceipt, SessionKillReceiptStatus, WaitReason};
use sessionkill::domain::claim::{Judge, Standing};
use sessionkill::domain::conclusion::Conclusion;
use sessionkill::domain::orphan::conclude;
use sessionkill::domain::retention::record_of;

use super::operator::{Member, Stage, is_at_work};
use super::protocol::{Protocol, Rule};
use super::stored::Stored;
use super::world::{Refused, World};

/// `claim::try_claim`: the POST, and the GET after a conflict, before which nothing is changed. The answer to a POST may be
/// lost; then it is tried again.
pub(crate) fn post(
    protocol: Protocol,
    world: &mut World,
    operator: usize,
    member: &mut Member,
    is_answered: bool,
) -> Option<()> {
    let Stage::Posting { wanted, .. } = member.stage.clone() else { return None };
    let created = world.create_receipt(&wanted);
    if !is_answered {
        member.stage = Stage::Posting { wanted, is_unanswered: true };
        return Some(());
    }
    if created.is_ok() {
        member.stage = Stage::Claimed { receipt: wanted, request: 0, is_found: false };
        return Some(());
    }
    let receipt = world.receipt(wanted.metadata.name.as_deref()?).cloned()?;
    member.stage = match standing(protocol, world, operator, member, &receipt, &wanted.spec.attempt_id) {
        Standing::Ours => Stage::Claimed { receipt, request: 0, is_found: true },
        standing => taken(world, operator, member, receipt, standing),
    };
    Some(())
}

/// `claim::withdraw`, after the dispatch deadline passed without an answer; then `Request::put_off`.
pub(crate) fn withdraw(protocol: Protocol, world: &mut World, operator: usize, member: &mut Member) -> Option<()> {
    let Stage::Posting { wanted, is_unanswered: true } = member.stage.clone() else { return None };
    if world.time(operator) < wanted.spec.dispatch_deadline_time.0 {
        return None;
    }
    if let Some(found) = world.receipt(wanted.metadata.name.as_deref()?).cloned()
        && (found.spec.attempt_id == wanted.spec.attempt_id || !protocol.has(Rule::WithdrawOnlyOurs))
    {
        world.delete_receipt(&found);
    }
    member.stage = Stage::Done;
    Some(())
}

/// `claim::find`, for a request that makes no claim; it ends with `otherwise` if there is no receipt of its content.
pub(crate) fn find(
    protocol: Protocol,
    world: &World,
    operator: usize,
    member: &Member,
    (cause, otherwise): (&str, impl FnOnce() -> Conclusion),
) -> Stage {
    match world.receipt_of(protocol, member.request) {
        None => member.ends(&cause, otherwise, world, operator),
        Some(receipt) => {
            let standing = standing(protocol, world, operator, member, &receipt, "");
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
    attempt_id: &str,
) -> Standing {
    let uid = member.object.metadata.uid.as_deref().unwrap_or_default();
    let judge = Judge { uid, attempt_id, is_at_work: is_at_work(world, operator, receipt) };
    protocol.standing(judge, receipt, world.time(operator))
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
        Standing::Recorded(record) => copies(world, operator, member, &receipt, &Stored::new(record)),
        Standing::Orphaned => Stage::Resolving { receipt },
        Standing::InFlight { own: true, .. } => Stage::Done,
        Standing::InFlight { own: false, .. } | Standing::Ours => {
            member.waits(WaitReason::Dispatching, world, operator)
        }
    }
}

/// The end of `Request::taken`.
fn copies(
    world: &World,
    operator: usize,
    member: &Member,
    receipt: &Stored<SessionKillReceipt>,
    record: &Stored<SessionKillReceiptStatus>,
) -> Stage {
    let same_object = Some(&receipt.spec.session_kill_ref.uid) == member.object.metadata.uid.as_ref();
    let conclude = || Conclusion::recorded(receipt, record, same_object);
    member.ends(&(receipt, record), conclude, world, operator)
}

/// The reads of `orphan::resolve`. `is_read` is false if the process list cannot be read.
pub(crate) fn resolve(world: &mut World, operator: usize, member: &mut Member, is_read: bool) -> Option<()> {
    let Stage::Resolving { receipt } = member.stage.clone() else { return None };
    member.stage = match record_for(world, operator, &receipt, is_read) {
        Some(record) => Stage::Resolved { receipt, record },
        None => member.waits(WaitReason::Verifying, world, operator),
    };
    Some(())
}

/// What `orphan::resolve` records: as the request says, if that was settled, else as the process list says.
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
    let (list, now) = (is_read.then(|| world.list(operator)), world.time(operator));
    let conclusion = conclude(receipt, request, list.as_ref(), now)?;
    Some(Stored::new(conclusion.record(now)))
}

/// The write of `orphan::resolve`: whoever records first decides.
pub(crate) fn record_once(world: &mut World, operator: usize, member: &mut Member) -> Option<()> {
    let Stage::Resolved { receipt, record } = member.stage.clone() else { return None };
    let recorded = match world.write_record(&receipt, &record) {
        Ok(()) => record,
        // Removed meanwhile: the request is put off.
        Err(Refused::NotFound) => {
            member.stage = Stage::Done;
            return Some(());
        }
        Err(_) => Stored::new(world.receipt(receipt.metadata.name.as_deref()?)?.status.clone()?),
    };
    member.stage = copies(world, operator, member, &receipt, &recorded);
    Some(())
}
